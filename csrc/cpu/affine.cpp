#include "affine.h"

#include <optional>
#include <vector>

namespace relprop::cpu {
namespace {

using math::Part;

// The sum of one part: `data` over the outputs, null where it is 0; without a sample's or a run's own
// numbers the strides are 0.
template <class T>
struct Sum {
  const T* data = nullptr;
  Index per_sample = 0, per_segment = 0;
  Factor bias = Factor::none;  // still to be added
};

// The sum in double, in lanes that do not wait for one another.
template <class T>
double sum_of(const T* v, Index count) {
  constexpr Index lanes = 16;
  double sums[lanes] = {};
  Index i = 0;
  for (; i + lanes <= count; i += lanes)
    for (Index k = 0; k < lanes; ++k) sums[k] += static_cast<double>(v[i + k]);
  for (Index k = 0; i < count; ++i, ++k) sums[k] += static_cast<double>(v[i]);
  double sum = 0;
  for (Index k = 0; k < lanes; ++k) sum += sums[k];
  return sum;
}

// Shares and what is kept, for the outputs of some samples.
template <class T, class Rule>
class Splitter {
  static constexpr int max_parts = Rule::max_parts, denominators = Rule::denominators;
  static constexpr Index block = 256, chunk = 1 << 14;

 public:
  Splitter(const Rule& rule, const AffineSize& size, const T* b, const T* R) : rule_(rule), size_(size), b_(b), R_(R) {}

  Sum<T> z[max_parts];
  T* s[max_parts] = {};           // null where a part carries nothing
  Factor bias_of[max_parts] = {};  // of carried parts

  // Of each sample whether the lowering may be used, by its own judgement of every unit that has relevance.
  std::vector<bool> are_accurate(Index samples) const {
    const Index size = size_.outputs(), chunks = (size + chunk - 1) / chunk;
    Buffer<T> votes(samples * chunks);
    for_each_chunk(samples, [&](Index c, Index sample, Index first, Index last) {
      bool all = true;
      for_each_block(sample, first, last, [&](Index at, Index count, const Block& here) {
        const T* R = R_ + sample * size + at;
        for (Index i = 0; i < count; ++i) {
          T z_i[max_parts];
          for (int p = 0; p < max_parts; ++p) z_i[p] = here.z[p][i];
          all &= R[i] == 0 || rule_.is_accurate(z_i);
        }
      });
      votes.data()[c] = T(all);
    });
    std::vector<bool> accurate;
    for (const T* of = votes.data(); of < votes.data() + votes.size(); of += chunks)
      accurate.push_back(std::all_of(of, of + chunks, [](T vote) { return vote == 1; }));
    if (chunks == 0) accurate.assign(static_cast<std::size_t>(samples), true);
    return accurate;
  }

  void run(Index samples, const Account<T>* account) const {
    const Index size = size_.outputs(), chunks = (size + chunk - 1) / chunk;
    const bool rms = rule_.stabilizer == math::Stabilizer::rms;
    Buffer<T> squares(rms ? samples * chunks * denominators : 0), mean_squares(rms ? samples * denominators : 0);
    Buffer<double> kept(account ? samples * chunks * 2 : 0);
    if (rms) {
      for_each_chunk(samples, [&](Index c, Index sample, Index first, Index last) {
        add_squares(sample, first, last, squares.data() + c * denominators);
      });
      for (Index n = 0; n < samples; ++n)
        for (int k = 0; k < denominators; ++k) {
          T sum(0);
          for (Index c = 0; c < chunks; ++c) sum += squares.data()[(n * chunks + c) * denominators + k];
          mean_squares.data()[n * denominators + k] = sum / static_cast<T>(std::max<Index>(size, 1));
        }
    }
    for_each_chunk(samples, [&](Index c, Index sample, Index first, Index last) {
      T e[denominators];
      for (int k = 0; k < denominators; ++k)
        e[k] = math::acting_epsilon(rule_.epsilon, rule_.stabilizer, rms ? mean_squares.data()[sample * denominators + k] : T(0));
      split(sample, first, last, e, account, account ? kept.data() + c * 2 : nullptr);
    });
    if (!account) return;
    for (Index n = 0; n < samples; ++n) {
      double stabilizer = 0, dropped = 0;
      for (Index c = n * chunks; c < (n + 1) * chunks; ++c) {
        stabilizer += kept.data()[c * 2];
        dropped += kept.data()[c * 2 + 1];
      }
      account->stabilizer[n] = static_cast<T>(stabilizer);
      account->dropped[n] = static_cast<T>(dropped);
    }
  }

 private:
  struct Block {
    T z[max_parts][block], b[block];
  };

  // f(c, sample, first, last) for chunk c, outputs [first, last) of a sample.
  template <class F>
  void for_each_chunk(Index samples, F&& f) const {
    const Index size = size_.outputs(), chunks = (size + chunk - 1) / chunk;
    machine::parallel(samples * chunks, std::max<Index>(1, chunk / std::max<Index>(size, 1)), [&](Index begin, Index end) {
      for (Index c = begin; c < end; ++c) f(c, c / chunks, c % chunks * chunk, std::min(size, (c % chunks + 1) * chunk));
    });
  }

  // f(offset in the sample, count, z of each part) for runs of at most `block` outputs, in order.
  template <class F>
  void for_each_block(Index sample, Index first, Index last, F&& f) const {
    Block here{};
    const int parts = rule_.parts();
    for (Index at = first, count; at < last; at += count) {
      const Index segment = at / size_.length, j = at % size_.length;
      count = std::min({block, size_.length - j, last - at});
      if (b_ && size_.bias_along) std::copy_n(b_ + j, count, here.b);
      if (b_ && !size_.bias_along) std::fill_n(here.b, count, b_[segment]);
      for (int p = 0; p < parts; ++p) {
        T* out = here.z[p];
        if (z[p].data)
          std::copy_n(z[p].data + sample * z[p].per_sample + segment * z[p].per_segment + j, count, out);
        else
          std::fill_n(out, count, T(0));
        if (b_ && z[p].bias != Factor::none)
          with_factor(z[p].bias, [&](auto constant) {
            for (Index i = 0; i < count; ++i) out[i] += math::apply(decltype(constant)::value, here.b[i], gamma(rule_));
          });
      }
      f(at, count, here);
    }
  }

  void add_squares(Index sample, Index first, Index last, T* sums) const {
    std::fill_n(sums, denominators, T(0));
    for_each_block(sample, first, last, [&](Index, Index count, const Block& here) {
      for (int k = 0; k < denominators; ++k) {
        T sum(0);
        for (Index i = 0; i < count; ++i) {
          T z_i[max_parts];
          for (int p = 0; p < max_parts; ++p) z_i[p] = here.z[p][i];
          const T d = rule_.denominator(k, z_i);
          sum += d * d;
        }
        sums[k] += sum;
      }
    });
  }

  void split(Index sample, Index first, Index last, const T* e, const Account<T>* account, double* kept) const {
    const Rule rule = rule_;  // its own copy: what is written cannot be its fields
    const int parts = rule.parts();
    double by_stabilizer = 0, dropped = 0;
    for_each_block(sample, first, last, [&](Index at, Index count, const Block& here) {
      const Index offset = sample * size_.outputs() + at;
      T shares[max_parts][block];
      for (Index i = 0; i < count; ++i) {
        T z_i[max_parts], s_i[max_parts] = {};
        for (int p = 0; p < max_parts; ++p) z_i[p] = here.z[p][i];
        rule.split(R_[offset + i], z_i, e, s_i);
        for (int p = 0; p < max_parts; ++p) shares[p][i] = s_i[p];
      }
      for (int p = 0; p < parts; ++p)
        if (s[p]) std::copy_n(shares[p], count, s[p] + offset);
      if (!account) return;
      T by_stabilizer_of[block], dropped_of[block];
      for (Index i = 0; i < count; ++i) {
        T z_i[max_parts], stabilizer_i, dropped_i;
        for (int p = 0; p < max_parts; ++p) z_i[p] = here.z[p][i];
        rule.kept(R_[offset + i], z_i, e, stabilizer_i, dropped_i);
        by_stabilizer_of[i] = stabilizer_i;
        dropped_of[i] = dropped_i;
      }
      by_stabilizer += sum_of(by_stabilizer_of, count);
      dropped += sum_of(dropped_of, count);
      if (!b_) return;
      T* bias = account->bias + offset;
      std::fill_n(bias, count, T(0));
      for (int p = 0; p < parts; ++p)
        if (bias_of[p] != Factor::none)
          with_factor(bias_of[p], [&](auto constant) {
            for (Index i = 0; i < count; ++i)
              bias[i] += math::apply(decltype(constant)::value, here.b[i], gamma(rule)) * shares[p][i];
          });
    });
    if (kept) {
      kept[0] = by_stabilizer;
      kept[1] = dropped;
    }
  }

  template <class R>
  static auto gamma(const R& rule) -> decltype(rule.gamma) {
    return rule.gamma;
  }
  template <class... Any>
  static T gamma(const Any&...) {
    return T(0);
  }

  const Rule& rule_;
  const AffineSize size_;
  const T* b_;
  const T* R_;
};

// What is left of a part where every input is ≥ 0.
Part where_nonnegative(Part part) {
  if (part.input == Factor::pos || part.input == Factor::abs) part.input = Factor::plain;
  if (part.input == Factor::neg) part.input = Factor::none;
  return part;
}

template <class Rule>
bool looks_at_signs(const Rule& rule) {
  for (int p = 0; p < rule.parts(); ++p) {
    const Factor input = rule.part(p).input;
    if (input == Factor::pos || input == Factor::neg || input == Factor::abs) return true;
  }
  return false;
}

// f(the samples, their answer) for runs of samples that have the same answer; for all where they go together, and then it
// is whether all of theirs are true.
template <class F>
void for_each_run(const AffineSize& size, const std::vector<bool>& answers, F&& f) {
  const auto begin = answers.begin(), end = answers.end();
  for (auto first = begin; first != end;) {
    auto last = size.together ? end : std::find(first, end, !*first);
    f(Samples{first - begin, last - first}, std::find(first, last, false) == last);
    first = last;
  }
}

// What begins with some samples of an account.
template <class T>
std::optional<Account<T>> from_sample(const Account<T>* account, Index first, Index outputs) {
  if (!account) return std::nullopt;
  return Account<T>{account->bias ? account->bias + first * outputs : nullptr, account->stabilizer + first, account->dropped + first};
}

// The relevance of some samples by a lowering; R, z and account begin with theirs. judged: the sums by which a guarded
// lowering was found accurate.
template <class Isa, class T, class Rule>
void run(const AffineMap<Isa, T>& map, Samples at, const T* b, const T* R, const Rule& rule, const Constants<T>& constants,
         bool is_nonnegative, const T* z, const Account<T>* account, const Sum<T>* judged = nullptr) {
  constexpr int max_parts = Rule::max_parts;
  const AffineSize& size = map.size;
  const Samples of_x = size.one_x ? Samples{0, 1} : at;
  const Index all = at.count * size.outputs(), summed = of_x.count * size.outputs(), per_sample = size.one_x ? 0 : size.outputs();
  Splitter<T, Rule> splitter(rule, size, b, R);
  Buffer<T> sums[max_parts], shares[max_parts];
  Carry<T> carried[max_parts];
  int count = 0;
  for (int p = 0; p < rule.parts(); ++p) {
    const Part part = is_nonnegative ? where_nonnegative(rule.part(p)) : rule.part(p);
    bool has_room = false;
    bool was_judged = false;
    if constexpr (Rule::is_guarded) was_judged = judged && p < Rule::judged;
    if (part.is_summed && was_judged) {
      splitter.z[p] = judged[p];
    } else if (part.is_summed) {
      const bool is_known = z && part.input == Factor::plain && part.weight == Factor::plain && (!b || part.bias == Factor::plain);
      if (is_known) {
        splitter.z[p] = {z, per_sample, size.length, Factor::none};
      } else if (part.input == Factor::none) {
        splitter.z[p] = {nullptr, 0, 0, part.bias};
      } else if (part.input == Factor::one) {
        sums[p] = Buffer<T>(size.period());
        map.sum_ones(part.weight, constants, sums[p].data());
        splitter.z[p] = {sums[p].data(), 0, size.bias_along ? 0 : size.length, part.bias};
      } else {
        sums[p] = Buffer<T>(summed);
        map.sum(of_x, part.input, part.weight, constants, sums[p].data());
        splitter.z[p] = {sums[p].data(), per_sample, size.length, part.bias};
        has_room = !size.one_x;  // for the shares: each takes its sum's place
      }
    }
    if constexpr (Rule::is_guarded)
      if (p + 1 == Rule::judged && !judged) {
        const auto accurate = splitter.are_accurate(at.count);
        if (std::find(accurate.begin(), accurate.end(), false) != accurate.end())
          return for_each_run(size, accurate, [&](Samples some, bool is_accurate) {
            const Samples here{at.first + some.first, some.count};
            const Index first = some.first * size.outputs();
            const T* z_here = z && !size.one_x ? z + first : z;
            const auto kept = from_sample(account, some.first, size.outputs());
            const Account<T>* account_here = kept ? &*kept : nullptr;
            if (!is_accurate) return run(map, here, b, R + first, rule.otherwise(), constants, is_nonnegative, z_here, account_here);
            Sum<T> of_them[max_parts];
            for (int q = 0; q < Rule::judged; ++q) {
              of_them[q] = splitter.z[q];
              if (of_them[q].data) of_them[q].data += some.first * of_them[q].per_sample;
            }
            run(map, here, b, R + first, rule, constants, is_nonnegative, z_here, account_here, of_them);
          });
      }
    if (!part.is_carried) continue;
    splitter.bias_of[p] = part.bias;
    if (part.input == Factor::none) continue;
    if (!has_room) shares[p] = Buffer<T>(all);
    splitter.s[p] = has_room ? sums[p].data() : shares[p].data();
    carried[count++] = {part.input, part.weight, splitter.s[p]};
  }
  splitter.run(at.count, account);
  map.carry(at, carried, count, constants);
}

template <class Isa, class T, class Rule>
void relevance(const AffineMap<Isa, T>& map, const T* b, const T* R, const Rule& rule, const Bounds<T>& bounds, const T* z,
               const Account<T>* account) {
  if constexpr (Rule::max_parts == 0) {
    map.pass(R);
  } else {
    Constants<T> constants{T(0), bounds, math::OutOfRange::raise};
    if constexpr (std::is_same_v<Rule, math::Gamma<T>>) constants.gamma = rule.gamma;
    if constexpr (std::is_same_v<Rule, math::ZBox<T>>) constants.out_of_range = rule.out_of_range;
    const bool one_x = map.size.one_x;  // then the sums are made once
    const Index step = one_x ? std::max<Index>(1, map.size.samples) : map.samples_at_once(), outputs = map.size.outputs();
    for (Index first = 0; first < map.size.samples; first += step) {
      const Index count = std::min(step, map.size.samples - first);
      std::vector<bool> nonnegative(static_cast<std::size_t>(count), false);
      if (looks_at_signs(rule))
        for (Index n = 0; n < count; ++n) nonnegative[static_cast<std::size_t>(n)] = map.is_nonnegative({one_x ? 0 : first + n, 1});
      for_each_run(map.size, nonnegative, [&](Samples some, bool is_nonnegative) {
        const Samples at{first + some.first, some.count};
        const auto kept = from_sample(account, at.first, outputs);
        rule.lower(math::Known{is_nonnegative}, [&](const auto& lowering) {
          run(map, at, b, R + at.first * outputs, lowering, constants, is_nonnegative, z && !one_x ? z + at.first * outputs : z,
              kept ? &*kept : nullptr);
        });
      });
    }
  }
}

}  // namespace

template <class Isa, class T>
void affine_relevance(const AffineMap<Isa, T>& map, const T* b, const T* R, const AnyRule<T>& rule, const Bounds<T>& bounds,
                      const T* z, const Account<T>* account) {
#define RELPROP_WHERE(Rule) \
  if (const auto* one = std::get_if<math::Rule<T>>(&rule)) return relevance(map, b, R, *one, bounds, z, account);
  FOR_EACH_RULE(RELPROP_WHERE)
#undef RELPROP_WHERE
}

template void affine_relevance(const AffineMap<machine::RELPROP_ISA, float>&, const float*, const float*, const AnyRule<float>&,
                               const Bounds<float>&, const float*, const Account<float>*);
template void affine_relevance(const AffineMap<machine::RELPROP_ISA, double>&, const double*, const double*, const AnyRule<double>&,
                               const Bounds<double>&, const double*, const Account<double>*);

}  // namespace relprop::cpu
