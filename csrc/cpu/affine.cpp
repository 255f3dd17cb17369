#include "affine.h"

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

// Sums that are there, of parts as they are summed.
template <class T>
struct KnownSum {
  Part part;
  Sum<T> sum;
};
template <class T>
using KnownSums = std::vector<KnownSum<T>>;

// What began with sample 0, from another on.
template <class T>
Sum<T> from_sample(Sum<T> sum, Index first) {
  if (sum.data) sum.data += first * sum.per_sample;
  return sum;
}
template <class T>
KnownSums<T> from_sample(KnownSums<T> sums, Index first) {
  for (KnownSum<T>& one : sums) one.sum = from_sample(one.sum, first);
  return sums;
}

template <class T>
const Sum<T>* find(const KnownSums<T>& sums, const Part& part, bool has_bias) {
  for (const KnownSum<T>& one : sums)
    if (one.part.input == part.input && one.part.weight == part.weight && (!has_bias || one.part.bias == part.bias)) return &one.sum;
  return nullptr;
}

// One of so many units is looked at before sums are made that may be made in vain; at most so many.
constexpr Index units_of_a_look = 64, most_units = 16;

// Of each sample whether a guarded lowering is accurate at the first few units that have relevance.
template <class Isa, class T, class Rule>
std::vector<bool> look_accurate(const AffineMap<Isa, T>& map, Samples at, const T* b, const T* R, const Rule& rule,
                                const Constants<T>& constants, bool is_nonnegative, const KnownSums<T>& known) {
  const AffineSize& size = map.size;
  const Index outputs = size.outputs(), units = std::min(most_units, outputs / units_of_a_look);
  std::vector<bool> answers;
  for (Index n = 0; n < at.count; ++n) {
    bool all = true;
    for (Index k = 0, from = 0; k < units && all; ++k) {
      const Index end = outputs * (k + 1) / units;
      Index o = std::max(from, outputs * k / units);
      while (o < end && R[n * outputs + o] == 0) ++o;
      if (o == end) continue;
      T z[Rule::max_parts] = {};
      for (int p = 0; p < Rule::judged; ++p) {
        const Part part = is_nonnegative ? where_nonnegative(rule.part(p)) : rule.part(p);
        const T b_o = b ? b[size.bias_along ? o % size.length : o / size.length] : T(0);
        const Sum<T>* sum = find(known, part, b);
        if (sum) {
          z[p] = sum->data ? sum->data[n * sum->per_sample + o / size.length * sum->per_segment + o % size.length] : T(0);
          z[p] += math::apply(sum->bias, b_o);
        } else {
          const std::optional<T> one = map.sum_at(at.first + n, o, part.input, part.weight, constants);
          if (!one) return std::vector<bool>(static_cast<std::size_t>(at.count), true);
          z[p] = *one + math::apply(part.bias, b_o);
        }
      }
      all = rule.is_accurate(z);
      from = o + 1;
    }
    answers.push_back(all);
  }
  return answers;
}

// How far a guarded lowering has been asked whether it is accurate.
enum class Judged { not_yet, at_a_look, everywhere };

// The relevance of some samples by a lowering; R, what is known and account begin with theirs.
template <class Isa, class T, class Rule>
void run(const AffineMap<Isa, T>& map, Samples at, const T* b, const T* R, const Rule& rule, const Constants<T>& constants,
         bool is_nonnegative, const KnownSums<T>& known, const Account<T>* account, Judged judged = Judged::not_yet) {
  constexpr int max_parts = Rule::max_parts;
  const AffineSize& size = map.size;
  const Samples of_x = size.one_x ? Samples{0, 1} : at;
  const Index all = at.count * size.outputs(), summed = of_x.count * size.outputs(), per_sample = size.one_x ? 0 : size.outputs();
  // Whether samples went their ways by the answers, which is so where one is no.
  const auto went_apart = [&](const std::vector<bool>& answers, const KnownSums<T>& sums, Judged by) {
    if (std::find(answers.begin(), answers.end(), false) == answers.end()) return false;
    for_each_run(size, answers, [&](Samples some, bool is_accurate) {
      const Samples here{at.first + some.first, some.count};
      const Index first = some.first * size.outputs();
      const auto kept = from_sample(account, some.first, size.outputs());
      const Account<T>* account_here = kept ? &*kept : nullptr;
      const KnownSums<T> sums_here = from_sample(sums, some.first);
      if constexpr (Rule::is_guarded) {
        if (is_accurate)
          run(map, here, b, R + first, rule, constants, is_nonnegative, sums_here, account_here, by);
        else
          run(map, here, b, R + first, rule.otherwise(), constants, is_nonnegative, sums_here, account_here);
      }
    });
    return true;
  };
  if constexpr (Rule::is_wasted)
    if (judged == Judged::not_yet) {
      const auto accurate = look_accurate(map, at, b, R, rule, constants, is_nonnegative, known);
      if (went_apart(accurate, known, Judged::at_a_look)) return;
    }
  Splitter<T, Rule> splitter(rule, size, b, R);
  Buffer<T> sums[max_parts], shares[max_parts];
  Carry<T> carried[max_parts];
  KnownSums<T> made = known;
  int count = 0;
  for (int p = 0; p < rule.parts(); ++p) {
    const Part part = is_nonnegative ? where_nonnegative(rule.part(p)) : rule.part(p);
    bool has_room = false;
    if (part.is_summed) {
      if (const Sum<T>* sum = find(known, part, b)) {
        splitter.z[p] = *sum;
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
      made.push_back({part, splitter.z[p]});
    }
    if constexpr (Rule::is_guarded)
      if (p + 1 == Rule::judged && judged != Judged::everywhere &&
          went_apart(splitter.are_accurate(at.count), made, Judged::everywhere))
        return;
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
        KnownSums<T> known;
        if (z) {
          const Sum<T> sum{one_x ? z : z + at.first * outputs, one_x ? 0 : outputs, map.size.length, Factor::none};
          known.push_back({{Factor::plain, Factor::plain, Factor::plain}, sum});
        }
        rule.lower(math::Known{is_nonnegative, z != nullptr, b != nullptr}, [&](const auto& lowering) {
          run(map, at, b, R + at.first * outputs, lowering, constants, is_nonnegative, known, kept ? &*kept : nullptr);
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
