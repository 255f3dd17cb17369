#include "cuda/norm.h"

#include "cuda/layer.cuh"
#include "machine/cuda/elements.cuh"
#include "machine/cuda/team.cuh"

namespace relprop::cuda {

namespace {

// ── over groups of values ──

// All runs of values that are normalised by themselves. Place i of a sample has weight and bias i / apart % channels.
struct Runs {
  Index samples;
  int groups, length, apart, channels;

  HD Index count() const { return samples * groups; }
  HD Index sample_size() const { return Index(groups) * length; }
  HD int channel(int place) const {
    const int c = static_cast<int>(quotient(place, apart));
    return static_cast<int>(remainder(c, channels));
  }
  // The choice does not depend on the number of samples.
  Teams teams() const { return teams_for(length, groups, false); }
};

Runs runs_of(const NormSize& size) {
  const Index channels = size.apart ? size.groups * size.apart : size.length / size.run;
  return {size.samples, static_cast<int>(size.groups), static_cast<int>(size.length), static_cast<int>(size.run), static_cast<int>(channels)};
}

// One run and the team whose members share its values among them. All threads of the block take part in its sums.
template <class T>
class Run {
  const Runs& of_;
  const Teams& teams_;
  Tile<T> scratch_;
  Index run_;
  int member_;

 public:
  __device__ Run(const Runs& of, const Teams& teams, Tile<T> scratch) : of_(of), teams_(teams), scratch_(scratch) {
    const int thread = static_cast<int>(threadIdx.x);
    run_ = Index(blockIdx.x) * teams.across() + teams.team(thread);
    member_ = teams.member(thread);
  }
  __device__ bool is_there() const { return run_ < of_.count(); }
  __device__ Index index() const { return run_; }
  __device__ Index sample() const { return quotient(run_, of_.groups); }
  __device__ int first() const { return static_cast<int>(remainder(run_, of_.groups)) * of_.length; }  // place in the sample
  __device__ T length() const { return static_cast<T>(of_.length); }
  __device__ bool is_first_member() const { return member_ == 0; }

  // f(element of an array, its channel) for the member's own values
  template <class F>
  __device__ void each(F&& f) const {
    if (!is_there()) return;
    const int from = first();
    const Index offset = sample() * of_.sample_size();
    for (int j = member_; j < of_.length; j += teams_.size) f(offset + from + j, of_.channel(from + j));
  }

  // Σ f(element, channel) over the run, for each member
  template <class F>
  __device__ T sum(F&& f) const {
    T own(0);
    each([&](Index i, int channel) { own = own + f(i, channel); });
    return team_join(teams_, own, scratch_, [](T a, T b) { return a + b; });
  }
};

template <class T>
struct Statistics {
  T mean, s;
};

template <class T>
__device__ Statistics<T> statistics(const Run<T>& run, const T* x, T eps) {
  const T mean = run.sum([=](Index i, int) { return x[i]; }) / run.length();
  const T v = run.sum([=](Index i, int) { return (x[i] - mean) * (x[i] - mean); }) / run.length();
  return {mean, math::norm_scale(v, eps)};
}

template <class T>
HD T or_one(const T* weight, int channel) {
  return weight ? weight[channel] : T(1);
}

template <class T>
struct Forward {
  const T *x, *weight, *bias;
  T eps;
  T* y;
  __device__ void operator()(const Run<T>& run) const {
    const auto of = statistics(run, x, eps);
    run.each([&](Index i, int c) {
      const T n = (x[i] - of.mean) * of.s * or_one(weight, c);
      y[i] = bias ? n + bias[c] : n;
    });
  }
};

template <class T>
struct Scales {
  const T* x;
  T eps;
  T* s;
  __device__ void operator()(const Run<T>& run) const {
    const T scale = statistics(run, x, eps).s;
    if (run.is_there() && run.is_first_member()) s[run.index()] = scale;
  }
};

// The derivative of the normalised values times h: the weight comes before it on the way back, and after it on the way
// there.
template <class T, bool back>
struct Derivative {
  const T *x, *weight;
  T eps;
  const T* in;
  T* out;
  __device__ void operator()(const Run<T>& run) const {
    const auto of = statistics(run, x, eps);
    const auto n = [&](Index i) { return (x[i] - of.mean) * of.s; };
    const auto h = [&](Index i, int c) { return back ? or_one(weight, c) * in[i] : in[i]; };
    const T mean_h = run.sum([&](Index i, int c) { return h(i, c); }) / run.length();
    const T mean_nh = run.sum([&](Index i, int c) { return n(i) * h(i, c); }) / run.length();
    run.each([&](Index i, int c) {
      const T d = math::norm_gradient(of.s, n(i), h(i, c), mean_h, mean_nh);
      out[i] = back ? d : d * or_one(weight, c);
    });
  }
};

template <class T>
struct Multiplier {
  const T *x, *x0, *weight;
  T eps;
  const T* M;
  math::Product product;
  T* M_x;
  __device__ void operator()(const Run<T>& run) const {
    const auto of = statistics(run, x, eps), of0 = statistics(run, x0, eps);
    const auto through = [&](Index i) {  // the multipliers of s and u
      return math::multiplier_of_product(of.s, x[i] - of.mean, of0.s, x0[i] - of0.mean, product);
    };
    const T sum = run.sum([&](Index i, int c) { return or_one(weight, c) * M[i] * through(i).gate; });
    const T M_v = math::norm_multiplier_of_v(sum, of.s, of0.s);
    const T mean = run.sum([&](Index i, int c) {
                     const T h = or_one(weight, c) * M[i];
                     return M_x[i] = math::norm_multiplier_of_u(h, through(i).signal, M_v, x[i] - of.mean, x0[i] - of0.mean, run.length());
                   }) /
                   run.length();
    run.each([&](Index i, int) { M_x[i] = M_x[i] - mean; });
  }
};

// A team for each run. Moves what a task reads and writes once to and from memory; a member comes back to its own
// numbers a few times, which a cache holds.
template <class T, class Task>
__global__ void runs_kernel(const Task task, const Runs runs, const Teams teams) {
  Shared shared;
  Tile<T> scratch{};
  if (teams.size > 1) scratch = shared.take<T>(Teams::threads);
  task(Run<T>(runs, teams, scratch));
}

template <class T, class Task>
void for_each_run(const char* operation, Stream stream, const Runs& runs, const Task& task) {
  const Teams teams = runs.teams();
  launch(operation, stream, teams.shape(runs.count(), room<T>(0, Teams::threads)), &runs_kernel<T, Task>, task, runs, teams);
}

// ── relevance, with the scales as constants ──

// An affine map whose weights are made of the layer's and of the scale of each run. `w` of a product is the layer's.
template <class T>
struct NormMap {
  Runs runs;
  Index samples;
  const T* scales;

  Index x_size() const { return runs.sample_size(); }
  Index z_size() const { return runs.sample_size(); }
  int channels() const { return runs.channels; }
  int channel_apart() const { return runs.apart; }
};

// Scales differ from sample to sample.
template <class T>
constexpr bool weights_differ<NormMap<T>> = true;

template <class T, bool back>
struct NormProduct {
  NormMap<T> map;
  Index a_sample, c_sample;
  static constexpr bool edges = false;
};
template <class T>
NormProduct<T, false> sum_of(const NormMap<T>& map) {
  return {map, map.x_size(), map.z_size()};
}
template <class T>
NormProduct<T, true> carry_of(const NormMap<T>& map) {
  return {map, map.z_size(), map.x_size()};
}

// Every output sees its own input by one weight and all of its run by another: two walks over the run in place of a
// matrix. x, or the shares, are read twice, the second time from a cache.
template <class T, int P, bool back, class Task>
__global__ void norm_kernel(const Task task, const Runs runs, const Teams teams, const T* scales, const T* w) {
  Shared shared;
  Tile<Slots<T, P>> scratch{};
  if (teams.size > 1) scratch = shared.take<Slots<T, P>>(Teams::threads);
  const Run<Slots<T, P>> run(runs, teams, scratch);
  const Index sample = run.sample(), offset = sample * runs.sample_size();
  const T s = run.is_there() ? scales[run.index()] : T(0), m = static_cast<T>(runs.length);

  Slots<T, P> sums{};
  run.each([&](Index i, int c) {
    const Slots<T, P> parts = task.read(sample, static_cast<int>(i - offset));
    if constexpr (back) {
      const Slots<T, P> others = task.weights(math::norm_weights(or_one(w, c), s, m).other);
      for (int p = 0; p < P; ++p) sums.at[p] = sums.at[p] + others.at[p] * parts.at[p];
    } else {
      for (int p = 0; p < P; ++p) sums.at[p] = sums.at[p] + parts.at[p];
    }
  });
  sums = team_join(teams, sums, scratch, [](Slots<T, P> a, const Slots<T, P>& b) {
    for (int p = 0; p < P; ++p) a.at[p] = a.at[p] + b.at[p];
    return a;
  });
  run.each([&](Index i, int c) {
    const int place = static_cast<int>(i - offset);
    const auto weights = math::norm_weights(or_one(w, c), s, m);
    const Slots<T, P> parts = task.read(sample, place), own = task.weights(weights.own), other = task.weights(weights.other);
    Slots<T, P> all;
    for (int p = 0; p < P; ++p)
      all.at[p] = back ? math::norm_carry(own.at[p], other.at[p], parts.at[p], sums.at[p])
                       : math::norm_sum(own.at[p], other.at[p], parts.at[p], sums.at[p]);
    task.write(sample, c, place, all);
  });
}

template <class T, int P, bool back, class Task>
void launch_product(const NormProduct<T, back>& g, const char* operation, Stream stream, const Task& task, const T* w) {
  Runs runs = g.map.runs;
  runs.samples = g.map.samples;
  const Teams teams = runs.teams();
  launch(operation, stream, teams.shape(runs.count(), room<Slots<T, P>>(0, Teams::threads)), &norm_kernel<T, P, back, Task>, task, runs,
         teams, g.map.scales, w);
}

// ── over neighbouring channels ──

struct Neighbours {
  LocalResponseSize size;

  Index count() const { return size.samples * size.channels * size.positions; }

  // Σ of value(element) over the channels from `before` below that of element i to `after` above it
  template <class T, class Value>
  HD T sum(Index i, Index before, Index after, Value&& value) const {
    const Index c = remainder(quotient(i, size.positions), size.channels);
    const Index from = c < before ? -c : -before, to = c + after < size.channels ? after : size.channels - 1 - c;
    T all(0);
    for (Index d = from; d <= to; ++d) all = all + value(i + d * size.positions);
    return all;
  }
  template <class T, class Value>
  HD T seen_from(Index i, Value&& value) const {
    return sum<T>(i, size.before, size.after, value);
  }
  // over those that see it
  template <class T, class Value>
  HD T seeing(Index i, Value&& value) const {
    return sum<T>(i, size.after, size.before, value);
  }
  template <class T>
  HD T denominator(const math::LocalResponse<T>& f, const T* x, Index i) const {
    return f.denominator(seen_from<T>(i, [=](Index j) { return x[j] * x[j]; }));
  }
};

template <class T>
struct LocalForward {
  Neighbours among;
  math::LocalResponse<T> f;
  const T* x;
  T* y;
  HD void operator()(Index i) const { y[i] = x[i] * f.gate(among.denominator(f, x, i)); }
};

template <class T>
struct LocalTangent {
  Neighbours among;
  math::LocalResponse<T> f;
  const T *x, *dx;
  T* dy;
  HD void operator()(Index i) const {
    const T sees = among.template seen_from<T>(i, [this](Index j) { return x[j] * dx[j]; });
    dy[i] = f.tangent(x[i], dx[i], among.denominator(f, x, i), sees);
  }
};

// What a channel sends to those that it sees, and what they make of it. Denominators are summed again where they are
// read: their numbers lie in a cache.
template <class T>
struct LocalGradient {
  Neighbours among;
  math::LocalResponse<T> f;
  const T *x, *G;
  HD T sent(Index i) const { return f.sent(x[i], G[i], among.denominator(f, x, i)); }
  HD T answer(Index i, T seen) const { return f.gradient(x[i], G[i], among.denominator(f, x, i), seen); }
};

template <class T>
struct LocalMultiplier {
  Neighbours among;
  math::LocalResponse<T> f;
  const T *x, *x0, *M;
  math::Product product;
  HD T sent(Index i) const {
    return f.multiplier_of_square(x[i], x0[i], M[i], among.denominator(f, x, i), among.denominator(f, x0, i), product);
  }
  HD T answer(Index i, T seen) const {
    return f.multiplier(x[i], x0[i], M[i], among.denominator(f, x, i), among.denominator(f, x0, i), seen, product);
  }
};

template <class T, class Task>
struct Sender {
  Task task;
  T* sent;
  HD void operator()(Index i) const { sent[i] = task.sent(i); }
};
template <class T, class Task>
struct Receiver {
  Task task;
  const T* sent;
  T* out;
  HD void operator()(Index i) const {
    const T* from = sent;
    out[i] = task.answer(i, task.among.template seeing<T>(i, [=](Index j) { return from[j]; }));
  }
};

template <class T, class Task>
void send_and_receive(const char* operation, Stream stream, const Task& task, T* out) {
  const Index count = task.among.count();
  const Numbers<T> sent(operation, count, stream);
  for_each_element(operation, stream, count, Sender<T, Task>{task, sent.data()});
  for_each_element(operation, stream, count, Receiver<T, Task>{task, sent.data(), out});
}

}  // namespace

template <class T>
void norm_forward(const char* operation, Stream stream, const NormSize& size, const T* x, const T* weight, const T* bias, T eps, T* y) {
  for_each_run<T>(operation, stream, runs_of(size), Forward<T>{x, weight, bias, eps, y});
}

template <class T>
void norm_gradient(const char* operation, Stream stream, const NormSize& size, const T* x, const T* weight, T eps, const T* G, T* G_x) {
  for_each_run<T>(operation, stream, runs_of(size), Derivative<T, true>{x, weight, eps, G, G_x});
}

template <class T>
void norm_tangent(const char* operation, Stream stream, const NormSize& size, const T* x, const T* weight, T eps, const T* dx, T* dy) {
  for_each_run<T>(operation, stream, runs_of(size), Derivative<T, false>{x, weight, eps, dx, dy});
}

template <class T>
void norm_relevance(const char* operation, Stream stream, const NormSize& size, const T* x, const T* weight, const T* bias, T eps,
                    const T* R, const AnyRule<T>& rule, const Bounds<T>& bounds, const T* z, const Account<T>* account, T* r) {
  const Runs runs = runs_of(size);
  const Numbers<T> scales(operation, runs.count(), stream);
  for_each_run<T>(operation, stream, runs, Scales<T>{x, eps, scales.data()});
  layer_relevance<T>(operation, stream, NormMap<T>{runs, size.samples, scales.data()}, x, weight, bias, R, rule, bounds, z, account, r);
}

template <class T>
void norm_multiplier(const char* operation, Stream stream, const NormSize& size, const T* x, const T* x0, const T* weight, T eps,
                     const T* M, math::Product product, T* M_x) {
  for_each_run<T>(operation, stream, runs_of(size), Multiplier<T>{x, x0, weight, eps, M, product, M_x});
}

template <class T>
void local_response_norm_forward(const char* operation, Stream stream, const LocalResponseSize& size, const math::LocalResponse<T>& f,
                                 const T* x, T* y) {
  const Neighbours among{size};
  for_each_element(operation, stream, among.count(), LocalForward<T>{among, f, x, y});
}

template <class T>
void local_response_norm_gradient(const char* operation, Stream stream, const LocalResponseSize& size, const math::LocalResponse<T>& f,
                                  const T* x, const T* G, T* G_x) {
  send_and_receive(operation, stream, LocalGradient<T>{{size}, f, x, G}, G_x);
}

template <class T>
void local_response_norm_tangent(const char* operation, Stream stream, const LocalResponseSize& size, const math::LocalResponse<T>& f,
                                 const T* x, const T* dx, T* dy) {
  const Neighbours among{size};
  for_each_element(operation, stream, among.count(), LocalTangent<T>{among, f, x, dx, dy});
}

template <class T>
void local_response_norm_multiplier(const char* operation, Stream stream, const LocalResponseSize& size,
                                    const math::LocalResponse<T>& f, const T* x, const T* x0, const T* M, math::Product product, T* M_x) {
  send_and_receive(operation, stream, LocalMultiplier<T>{{size}, f, x, x0, M, product}, M_x);
}

#define RELPROP_INSTANTIATE(T)                                                                                                     \
  template void norm_forward(const char*, Stream, const NormSize&, const T*, const T*, const T*, T, T*);                           \
  template void norm_gradient(const char*, Stream, const NormSize&, const T*, const T*, T, const T*, T*);                          \
  template void norm_tangent(const char*, Stream, const NormSize&, const T*, const T*, T, const T*, T*);                           \
  template void norm_relevance(const char*, Stream, const NormSize&, const T*, const T*, const T*, T, const T*, const AnyRule<T>&, \
                               const Bounds<T>&, const T*, const Account<T>*, T*);                                                 \
  template void norm_multiplier(const char*, Stream, const NormSize&, const T*, const T*, const T*, T, const T*, math::Product, T*); \
  template void local_response_norm_forward(const char*, Stream, const LocalResponseSize&, const math::LocalResponse<T>&, const T*, T*); \
  template void local_response_norm_gradient(const char*, Stream, const LocalResponseSize&, const math::LocalResponse<T>&, const T*, \
                                             const T*, T*);                                                                        \
  template void local_response_norm_tangent(const char*, Stream, const LocalResponseSize&, const math::LocalResponse<T>&, const T*, \
                                            const T*, T*);                                                                         \
  template void local_response_norm_multiplier(const char*, Stream, const LocalResponseSize&, const math::LocalResponse<T>&,       \
                                               const T*, const T*, const T*, math::Product, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cuda
