#include "recurrent.h"

namespace relprop::cpu {
namespace {

using math::Part;

// The sums that a rule asks for, and the way back, without the rule's arithmetic.
template <class Isa, class T>
class StepParts : public StepRule<Isa, T> {
 public:
  StepParts(const StepMap<T>& map, Index steps, const std::vector<Part>& parts, const Constants<T>& constants,
            const StepAccount<T>& account)
      : map_(map), steps_(steps), parts_(parts), constants_(constants), account_(account), z_(parts.size()),
        sums_(parts.size()), places_(parts.size(), -1) {
    for (std::size_t p = 0; p < parts.size(); ++p) {
      if (!parts[p].is_carried || parts[p].input == Factor::none) continue;
      is_even_ |= is_even(parts[p]);
      if (!is_even(parts[p])) group_of(parts[p].input).parts.push_back(p);
    }
    for (Group& group : groups_) {
      for (std::size_t p : group.parts) {
        places_[p] = row_;
        row_ += map.columns;
      }
      group.columns = static_cast<Index>(group.parts.size()) * map.columns;
      group.w_x = form(map.w_x, group, group.formed);
      if (map.is_elementwise()) continue;
      Buffer<T> formed;
      group.w_y = Panels<Isa, T>(form(map.w_y, group, formed).flipped());
    }
    even_ = row_;
    row_ += is_even_;
    for (std::size_t p = 0; p < parts.size(); ++p) {
      const Part& part = parts[p];
      if (!part.is_summed || is_known(part)) continue;
      if (part.input == Factor::none || part.input == Factor::one) {
        sums_[p] = Buffer<T>(map.columns);
        sum_ones(part, sums_[p].data());
        z_[p] = {sums_[p].data(), 0, 0};
      } else {
        elements_ += map.columns;
      }
    }
  }

  Index elements() const override { return elements_ + row_; }

  void begin(Index first, Index count) override {
    first_ = first;
    count_ = count;
    const Index rows = count * steps_;
    if (shares_.size() < rows * row_) shares_ = Buffer<T>(rows * row_);
    if (apart_.size() < count * map_.states()) apart_ = Buffer<T>(count * map_.states());
    for (std::size_t p = 0; p < parts_.size(); ++p) {
      const Part& part = parts_[p];
      if (!part.is_summed || part.input == Factor::none || part.input == Factor::one) continue;
      if (is_known(part)) {
        z_[p] = map_.z;
        continue;
      }
      if (sums_[p].size() < rows * map_.columns) sums_[p] = Buffer<T>(rows * map_.columns);
      T* z = sums_[p].data();
      z_[p] = {z - first * steps_ * map_.columns, steps_ * map_.columns, map_.columns};
      sum(part, z);
    }
  }

  void skip(Index n, Index t) override { std::fill_n(row(n, t), row_, T(0)); }

  void carry_y(Index from, Index to, Index t, T* r, bool add) const override {
    const Index states = map_.states(), count = (to - from) * states;
    if (map_.is_elementwise()) return carry_elements(from, to, t, r, add);
    T* apart = apart_.data() + (from - first_) * states;
    if (!add && groups_.empty()) std::fill_n(r, count, T(0));
    for (const Group& group : groups_) {
      const bool adds = add || &group != &groups_.front(), is_plain = group.input == Factor::one;
      T* sum = adds && !is_plain ? apart : r;
      group.w_y.multiply(row(from, t) + places_[group.parts.front()], steps_ * row_, to - from, sum, states, adds && is_plain);
      if (is_plain) continue;
      for (Index n = from; n < to; ++n) {
        T* out = r + (n - from) * states;
        const T* in = sum + (n - from) * states;
        Constants<T> here = constants_;
        here.bounds = map_.y_bounds;
        for_each_input(group.input, here, map_.y.at(n, t), 0, states, [&](Index j, T v) {
          if (adds)
            out[j] += v * in[j];
          else
            out[j] = v * in[j];
        });
      }
    }
    for (Index n = from; n < to && is_even_; ++n)
      for (Index j = 0; j < states; ++j) r[(n - from) * states + j] += row(n, t)[even_];
  }

  void carry_x(T* R_x, bool add) const override {
    const Index inputs = map_.w_x.rows, rows = count_ * steps_;
    T* r = R_x + first_ * steps_ * inputs;
    if (!add && groups_.empty()) std::fill_n(r, rows * inputs, T(0));
    Buffer<T> apart(add || groups_.size() > 1 ? rows * inputs : 0);
    Constants<T> here = constants_;
    here.bounds = map_.x_bounds;
    for (const Group& group : groups_) {
      const bool adds = add || &group != &groups_.front();
      T* sum = adds ? apart.data() : r;
      const Matrix<T> s{shares_.data() + places_[group.parts.front()], rows, group.columns, row_};
      product(s, group.w_x.flipped(), sum, inputs);
      over_rows(rows, inputs, [&](Index i) {
        for_each_input(group.input, here, map_.x.at(first_ + i / steps_, i % steps_), 0, inputs, [&](Index j, T v) {
          if (adds)
            r[i * inputs + j] += v * sum[i * inputs + j];
          else
            r[i * inputs + j] = v * sum[i * inputs + j];
        });
      });
    }
    if (is_even_)
      over_rows(rows, inputs, [&](Index i) {
        for (Index j = 0; j < inputs; ++j) r[i * inputs + j] += shares_.data()[i * row_ + even_];
      });
  }

 protected:
  T* row(Index n, Index t) const { return shares_.data() + ((n - first_) * steps_ + t) * row_; }
  // Whether a part's shares go evenly to all inputs: then their sum is enough.
  bool is_even(const Part& part) const { return part.weight == Factor::one && !map_.is_elementwise(); }

  const StepMap<T> map_;
  const Index steps_;
  const std::vector<Part> parts_;
  const Constants<T> constants_;
  const StepAccount<T> account_;
  std::vector<Steps<const T>> z_;  // of each part, null where it is 0
  std::vector<Buffer<T>> sums_;
  std::vector<Index> places_;  // of a part's shares in a row of shares, -1 for none
  Index row_ = 0, even_ = 0, elements_ = 0, first_ = 0, count_ = 0;
  bool is_even_ = false;

 private:
  // Parts that meet the same input part: they are added up before they do.
  struct Group {
    Factor input;
    std::vector<std::size_t> parts;
    Index columns = 0;
    Matrix<T> w_x{nullptr, 0, 0, 0};
    Buffer<T> formed;
    Panels<Isa, T> w_y;
  };

  Group& group_of(Factor input) {
    for (Group& group : groups_)
      if (group.input == input) return group;
    groups_.push_back({});
    groups_.back().input = input;
    return groups_.back();
  }

  bool is_known(const Part& part) const {
    return map_.z.data && part.input == Factor::plain && part.weight == Factor::plain &&
           (!map_.b || part.bias == Factor::plain);
  }

  template <class F>
  static void over_rows(Index rows, Index length, F&& f) {
    machine::parallel(rows, std::max<Index>(1, (1 << 14) / std::max<Index>(1, length)), [&](Index from, Index to) {
      for (Index i = from; i < to; ++i) f(i);
    });
  }

  // The weight parts of a group side by side: w's own numbers where it is one plain part.
  Matrix<T> form(const Matrix<T>& w, const Group& group, Buffer<T>& room) const {
    if (group.parts.size() == 1 && parts_[group.parts.front()].weight == Factor::plain) return w;
    room = Buffer<T>(w.rows * group.columns);
    for (Index i = 0; i < w.rows; ++i)
      for (std::size_t k = 0; k < group.parts.size(); ++k)
        form_weights(parts_[group.parts[k]].weight, constants_.gamma, w.data + i * w.stride, map_.columns,
                     room.data() + i * group.columns + static_cast<Index>(k) * map_.columns);
    return {room.data(), w.rows, group.columns, group.columns};
  }

  Matrix<T> form(const Matrix<T>& w, Factor weight, Buffer<T>& room) const {
    if (weight == Factor::plain) return w;
    room = Buffer<T>(w.rows * map_.columns);
    for (Index i = 0; i < w.rows; ++i)
      form_weights(weight, constants_.gamma, w.data + i * w.stride, map_.columns, room.data() + i * map_.columns);
    return {room.data(), w.rows, map_.columns, map_.columns};
  }

  void add_bias(Factor factor, T* row) const {
    if (!map_.b || factor == Factor::none) return;
    with_factor(factor, [&](auto constant) {
      for (Index o = 0; o < map_.columns; ++o) row[o] += math::apply(decltype(constant)::value, map_.b[o], constants_.gamma);
    });
  }

  // Σ_i weight part of w_io, where every input part is 1 or there is none, and the bias part.
  void sum_ones(const Part& part, T* z) const {
    std::fill_n(z, map_.columns, T(0));
    if (part.input == Factor::one) {
      for (const Matrix<T>& w : {map_.w_x, map_.w_y}) {
        if (!w.data) continue;
        Buffer<T> room;
        const Matrix<T> formed = form(w, part.weight, room);
        for (Index i = 0; i < w.rows; ++i)
          for (Index o = 0; o < map_.columns; ++o) z[o] += formed.data[i * formed.stride + o];
      }
      for (Index o = 0; o < map_.columns && map_.is_elementwise(); ++o) z[o] += math::apply(part.weight, T(1), constants_.gamma);
    }
    add_bias(part.bias, z);
  }

  // Input parts as rows without gaps: the sequence's own where it is plain and has none.
  Matrix<T> rows_of(const Steps<const T>& v, Index length, Factor input, const Bounds<T>& bounds, Buffer<T>& room) const {
    const Index rows = count_ * steps_;
    if (input == Factor::plain && v.step == length && v.sample == steps_ * length) return {v.at(first_, 0), rows, length, length};
    room = Buffer<T>(rows * length);
    Constants<T> here = constants_;
    here.bounds = bounds;
    over_rows(rows, length, [&](Index i) {
      for_each_input(input, here, v.at(first_ + i / steps_, i % steps_), 0, length,
                     [to = room.data() + i * length](Index j, T part) { to[j] = part; });
    });
    return {room.data(), rows, length, length};
  }

  void sum(const Part& part, T* z) const {
    const Index columns = map_.columns, rows = count_ * steps_;
    Buffer<T> x_room, y_room, w_room;
    if (map_.w_x.rows == 0)
      std::fill_n(z, rows * columns, T(0));
    else
      product(rows_of(map_.x, map_.w_x.rows, part.input, map_.x_bounds, x_room), form(map_.w_x, part.weight, w_room), z, columns);
    const Matrix<T> y = rows_of(map_.y, map_.states(), part.input, map_.y_bounds, y_room);
    if (!map_.is_elementwise()) product(y, form(map_.w_y, part.weight, w_room), z, columns, true);
    const T weight = math::apply(part.weight, T(1), constants_.gamma);
    over_rows(rows, columns, [&](Index i) {
      T* row = z + i * columns;
      for (Index o = 0; o < columns && map_.is_elementwise(); ++o) row[o] += y.data[i * columns + o] * weight;
      add_bias(part.bias, row);
    });
  }

  void carry_elements(Index from, Index to, Index t, T* r, bool add) const {
    const Index columns = map_.columns;
    if (!add) std::fill_n(r, (to - from) * columns, T(0));
    Constants<T> here = constants_;
    here.bounds = map_.y_bounds;
    for (Index n = from; n < to; ++n)
      for (const Group& group : groups_)
        for (std::size_t p : group.parts) {
          const T weight = math::apply(parts_[p].weight, T(1), constants_.gamma);
          const T* s = row(n, t) + places_[p];
          for_each_input(group.input, here, map_.y.at(n, t), 0, columns,
                         [&, out = r + (n - from) * columns](Index j, T v) { out[j] += v * (weight * s[j]); });
        }
  }

  std::vector<Group> groups_;
  Buffer<T> shares_, apart_;
};

// A lowering on a step.
template <class Isa, class T, class Rule>
class StepRuleOf final : public StepParts<Isa, T> {
  static constexpr int max_parts = Rule::max_parts, denominators = Rule::denominators;
  static constexpr Index block = 64;
  using Base = StepParts<Isa, T>;
  using Base::account_;
  using Base::constants_;
  using Base::map_;
  using Base::parts_;
  using Base::places_;
  using Base::z_;

 public:
  StepRuleOf(const StepMap<T>& map, Index steps, const Rule& rule, const Constants<T>& constants, const StepAccount<T>& account)
      : Base(map, steps, parts_of(rule), constants, account), rule_(rule) {}

  void begin(Index first, Index count) override {
    Base::begin(first, count);
    if constexpr (Rule::is_guarded) {
      is_left_ = !is_accurate();
      if (!is_left_) return;
      if (!otherwise_) {
        const auto other = math::unguarded(rule_);
        using Other = std::decay_t<decltype(other)>;
        otherwise_ = std::make_unique<StepRuleOf<Isa, T, Other>>(map_, this->steps_, other, constants_, account_);
      }
      otherwise_->begin(first, count);
    }
  }

  void skip(Index n, Index t) override { is_left_ ? otherwise_->skip(n, t) : Base::skip(n, t); }
  void carry_y(Index from, Index to, Index t, T* r, bool add) const override {
    is_left_ ? otherwise_->carry_y(from, to, t, r, add) : Base::carry_y(from, to, t, r, add);
  }
  void carry_x(T* R_x, bool add) const override { is_left_ ? otherwise_->carry_x(R_x, add) : Base::carry_x(R_x, add); }

  void split(Index n, Index t, const T* R) override {
    if (is_left_) return otherwise_->split(n, t, R);
    const Rule rule = rule_;
    const int parts = rule.parts();
    T* row = this->row(n, t);
    double stabilizer = 0, dropped = 0;
    T even(0);
    for (Index run = 0; run < map_.columns; run += map_.width) {
      T e[denominators];
      acting(rule, n, t, run, e);
      for (Index at = run; at < run + map_.width; at += block) {
        const Index count = std::min(block, run + map_.width - at);
        T z[max_parts][block], shares[max_parts][block];
        load(n, t, at, count, z);
        for (Index i = 0; i < count; ++i) {
          T z_i[max_parts], s_i[max_parts] = {};
          for (int p = 0; p < max_parts; ++p) z_i[p] = z[p][i];
          rule.split(R[at + i], z_i, e, s_i);
          for (int p = 0; p < max_parts; ++p) shares[p][i] = s_i[p];
        }
        for (int p = 0; p < parts; ++p) {
          const auto q = static_cast<std::size_t>(p);
          if (places_[q] >= 0) std::copy_n(shares[p], count, row + places_[q] + at);
          if (places_[q] < 0 && parts_[q].is_carried && parts_[q].input != Factor::none)
            for (Index i = 0; i < count; ++i) even += shares[p][i];
        }
        if (!account_.stabilizer) continue;
        for (Index i = 0; i < count; ++i) {
          T z_i[max_parts], stabilizer_i, dropped_i;
          for (int p = 0; p < max_parts; ++p) z_i[p] = z[p][i];
          rule.kept(R[at + i], z_i, e, stabilizer_i, dropped_i);
          stabilizer += static_cast<double>(stabilizer_i);
          dropped += static_cast<double>(dropped_i);
        }
        for (int p = 0; p < parts && map_.b; ++p) {
          const Part& part = parts_[static_cast<std::size_t>(p)];
          if (!part.is_carried || part.bias == Factor::none) continue;
          T* bias = account_.bias + n * account_.bias_stride + at;
          for (Index i = 0; i < count; ++i)
            bias[i] += math::apply(part.bias, map_.b[at + i], constants_.gamma) * shares[p][i];
        }
      }
    }
    if (this->is_even_) row[this->even_] = even;
    if (!account_.stabilizer) return;
    account_.stabilizer[n] += stabilizer;
    account_.dropped[n] += dropped;
  }

 private:
  static std::vector<Part> parts_of(const Rule& rule) {
    std::vector<Part> parts;
    for (int p = 0; p < rule.parts(); ++p) parts.push_back(rule.part(p));
    return parts;
  }

  void load(Index n, Index t, Index at, Index count, T (*z)[block]) const {
    for (std::size_t p = 0; p < static_cast<std::size_t>(max_parts); ++p)
      if (p < parts_.size() && z_[p].data)
        std::copy_n(z_[p].at(n, t) + at, count, z[p]);
      else
        std::fill_n(z[p], count, T(0));
  }

  // The ε that act on a run: under rms they follow its mean squares.
  void acting(const Rule& rule, Index n, Index t, Index run, T* e) const {
    T squares[denominators] = {};
    if (rule.stabilizer == math::Stabilizer::rms)
      for (Index at = run; at < run + map_.width; at += block) {
        const Index count = std::min(block, run + map_.width - at);
        T z[max_parts][block];
        load(n, t, at, count, z);
        for (Index i = 0; i < count; ++i) {
          T z_i[max_parts];
          for (int p = 0; p < max_parts; ++p) z_i[p] = z[p][i];
          for (int k = 0; k < denominators; ++k) squares[k] += rule.denominator(k, z_i) * rule.denominator(k, z_i);
        }
      }
    for (int k = 0; k < denominators; ++k)
      e[k] = math::acting_epsilon(rule.epsilon, rule.stabilizer, squares[k] / static_cast<T>(std::max<Index>(1, map_.width)));
  }

  // Whether the lowering may be used, by its own judgement of every unit in every step.
  bool is_accurate() const {
    if constexpr (Rule::is_guarded) {
      for (Index n = this->first_; n < this->first_ + this->count_; ++n)
        for (Index t = 0; t < this->steps_; ++t)
          for (Index at = 0; at < map_.columns; at += block) {
            const Index count = std::min(block, map_.columns - at);
            T z[max_parts][block];
            load(n, t, at, count, z);
            bool all = true;
            for (Index i = 0; i < count; ++i) {
              T z_i[max_parts];
              for (int p = 0; p < max_parts; ++p) z_i[p] = z[p][i];
              all &= rule_.is_accurate(z_i);
            }
            if (!all) return false;
          }
    }
    return true;
  }

  const Rule rule_;
  bool is_left_ = false;
  std::unique_ptr<StepRule<Isa, T>> otherwise_;
};

}  // namespace

template <class Isa, class T>
std::unique_ptr<StepRule<Isa, T>> step_rule(Isa, const StepMap<T>& map, Index steps, const AnyRule<T>& rule,
                                            const StepAccount<T>& account) {
  std::unique_ptr<StepRule<Isa, T>> made;
  const auto make = [&](const auto& one) {
    using Rule = std::decay_t<decltype(one)>;
    Constants<T> constants{T(0), {}, math::OutOfRange::raise};
    if constexpr (std::is_same_v<Rule, math::Gamma<T>>) constants.gamma = one.gamma;
    if constexpr (std::is_same_v<Rule, math::ZBox<T>>) constants.out_of_range = one.out_of_range;
    one.lower(math::Known{false}, [&](const auto& lowering) {
      made = std::make_unique<StepRuleOf<Isa, T, std::decay_t<decltype(lowering)>>>(map, steps, lowering, constants, account);
    });
  };
#define RELPROP_WHERE(Rule)                                                     \
  if constexpr (math::Rule<T>::max_parts > 0)                                   \
    if (const auto* one = std::get_if<math::Rule<T>>(&rule)) make(*one);
  FOR_EACH_RULE(RELPROP_WHERE)
#undef RELPROP_WHERE
  return made;
}

#define RELPROP_INSTANTIATE(T)                                                                                          \
  template std::unique_ptr<StepRule<machine::RELPROP_ISA, T>> step_rule(machine::RELPROP_ISA, const StepMap<T>&, Index, \
                                                                        const AnyRule<T>&, const StepAccount<T>&);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
