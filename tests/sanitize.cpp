// Kernels of the CPU on arrays of exactly their size and random shapes, for tests/sanitize.sh: a read or write beyond
// an array, or undefined behaviour, ends the program. What they compute is judged by the parity tests.
#include <cstdio>
#include <memory>
#include <random>
#include <vector>

#include "relprop/activation.h"
#include "relprop/aggregate.h"
#include "relprop/batchnorm.h"
#include "relprop/conv.h"
#include "relprop/conv_transpose.h"
#include "relprop/dense.h"
#include "relprop/embedding.h"
#include "relprop/gru.h"
#include "relprop/lstm.h"
#include "relprop/merge.h"
#include "relprop/norm.h"
#include "relprop/occlusion.h"
#include "relprop/pool.h"
#include "relprop/reduce.h"
#include "relprop/softmax.h"
#include "relprop/upsample.h"

using namespace relprop;
using namespace relprop::cpu;

namespace {

std::mt19937 generator(1);

Index draw(Index least, Index most) { return std::uniform_int_distribution<Index>(least, most)(generator); }

// Quarters, so that ties and zeros are common.
template <class T>
std::unique_ptr<T[]> array(Index size) {
  std::unique_ptr<T[]> v(new T[static_cast<std::size_t>(size)]);
  for (Index i = 0; i < size; ++i) v[static_cast<std::size_t>(i)] = static_cast<T>(draw(-4, 4)) / 4;
  return v;
}

// Every rule, and of some those options that run other code.
template <class T>
std::vector<AnyRule<T>> every_rule() {
  std::vector<AnyRule<T>> rules;
  for (const auto bias : {math::Bias::neuron, math::Bias::ignore, math::Bias::uniform, math::Bias::proportional}) {
    math::Epsilon<T> epsilon{};
    epsilon.bias = bias;
    epsilon.absorb_epsilon = bias == math::Bias::uniform;
    epsilon.stabilizer = static_cast<math::Stabilizer>(draw(0, 2));
    rules.emplace_back(epsilon);
  }
  for (const auto form : {math::GammaForm::generalised, math::GammaForm::weight}) {
    math::Gamma<T> gamma{};
    gamma.gamma = 1;
    gamma.form = form;
    rules.emplace_back(gamma);
  }
  math::AlphaBeta<T> alpha_beta{};
  alpha_beta.alpha = 2;
  alpha_beta.beta = 1;
  rules.emplace_back(alpha_beta);
  math::ZBox<T> z_box{};
  z_box.out_of_range = math::OutOfRange::clip;
  rules.emplace_back(z_box);
  math::Norm<T> norm{};
  norm.mode = math::NormMode::abs;
  rules.emplace_back(norm);
  const AnyRule<T> others[] = {math::ZPlus<T>{}, math::WSquare<T>{}, math::Flat<T>{}, math::Norm<T>{}};
  rules.insert(rules.end(), std::begin(others), std::end(others));
  return rules;
}

template <class T>
AnyRule<T> draw_rule() {
  const auto rules = every_rule<T>();
  return rules[static_cast<std::size_t>(draw(0, static_cast<Index>(rules.size()) - 1))];
}

// The bounds of a box for samples of a size.
template <class T>
struct Box {
  std::unique_ptr<T[]> low, high;
  explicit Box(Index size) : low(array<T>(size)), high(array<T>(size)) {}
  Bounds<T> get() const { return {low.get(), high.get()}; }
};

// What a relevance function may write for the ledger.
template <class T>
struct Kept {
  std::unique_ptr<T[]> bias, stabilizer, dropped;
  Account<T> account;

  Kept(Index samples, Index outputs)
      : bias(array<T>(samples * outputs)), stabilizer(array<T>(samples)), dropped(array<T>(samples)),
        account{bias.get(), stabilizer.get(), dropped.get()} {}
  const Account<T>* get() const { return draw(0, 1) ? &account : nullptr; }
};

template <class T>
const T* read(const std::unique_ptr<T[]>& v) {
  return v.get();
}

template <class T>
void pool() {
  PoolSize size{draw(0, 3), draw(0, 3), {}};
  Windows& w = size.windows;
  Index lengths = 1, counts = 1;
  for (int a = 0; a < window_axes; ++a) {
    w.kernel[a] = draw(1, 4);
    w.stride[a] = draw(1, 4);
    w.dilation[a] = draw(1, 3);
    w.before[a] = draw(0, (w.kernel[a] - 1) / 2);
    const Index span = (w.kernel[a] - 1) * w.dilation[a] + 1;
    w.lengths[a] = span + draw(0, 5);
    w.counts[a] = (w.lengths[a] + w.before[a] - span) / w.stride[a] + 1;
    lengths *= w.lengths[a];
    counts *= w.counts[a];
  }
  const Index planes = size.samples * size.channels;
  const auto ties = static_cast<math::Ties>(draw(0, 2));
  const auto x = array<T>(planes * lengths), x0 = array<T>(size.channels * lengths), G = array<T>(planes * counts);
  const auto to_x = array<T>(planes * lengths), to_y = array<T>(planes * counts), of_sample = array<T>(size.samples);
  max_pool_forward(size, read(x), to_y.get());
  max_pool_gradient(size, ties, read(x), read(G), of_sample.get(), to_x.get());
  max_pool_tangent(size, ties, read(x), read(x), to_y.get());
  max_pool_multiplier(size, ties, read(x), read(x0), true, read(G), to_x.get());
  max_pool_ray(size, read(x), read(x), to_y.get(), of_sample.get());
}

template <class T>
void reduce() {
  const int rank = static_cast<int>(draw(1, 3));
  std::vector<BoxAxis> axes;
  std::vector<std::vector<Index>> start(3), stop(3);
  Index lengths = 1, counts = 1;
  for (std::size_t a = 0; a < static_cast<std::size_t>(rank); ++a) {
    const Index length = draw(1, 40);
    const bool is_one_place = draw(0, 3) == 0;
    const Index count = is_one_place ? length : draw(1, 7);
    for (Index o = 0; o < count; ++o) {
      start[a].push_back(draw(0, length - 1));
      stop[a].push_back(draw(start[a].back() + 1, length));
    }
    axes.push_back({length, count, is_one_place ? nullptr : start[a].data(), is_one_place ? nullptr : stop[a].data()});
    lengths *= length;
    counts *= count;
  }
  const BoxSize size{draw(0, 2), draw(0, 2), rank, axes.data()};
  const Index channels = size.samples * size.channels;
  const auto x = array<T>(channels * lengths), w = array<T>(counts), z = array<T>(channels * counts), r = array<T>(channels * lengths);
  const Kept<T> kept(size.samples, 0);
  const Box<T> box(size.channels * lengths);
  reduce_forward(size, read(x), read(w), z.get());
  reduce_gradient(size, read(w), read(z), r.get());
  reduce_relevance(size, read(x), read(w), read(z), draw_rule<T>(), box.get(), read(z), kept.get(), r.get());
}

template <class T>
void merge() {
  const SumSize size{draw(0, 3), draw(0, 600)};
  const Index all = size.samples * size.size;
  const auto x = array<T>(all), y = array<T>(all), R = array<T>(all), r = array<T>(all), s = array<T>(all), one = array<T>(1),
             each = array<T>(size.size), bias = array<T>(size.size), dropped = array<T>(size.samples);
  const Kept<T> kept(size.samples, size.size);
  const Box<T> box(size.size);
  const SumTerm<T> terms[] = {{x.get(), one.get(), std::max<Index>(1, size.size), r.get()}, {y.get(), each.get(), 1, s.get()}};
  const SumTerm<T>* first = terms;
  for (const bool is_rectified : {true, false}) merge_forward(size, first, 2, read(bias), is_rectified, s.get());
  merge_relevance(size, first, 2, read(bias), read(R), draw_rule<T>(), box.get(), static_cast<const T*>(nullptr), kept.get());
  multiply_relevance(size, read(x), read(y), read(R), static_cast<math::Gate>(draw(0, 4)), dropped.get(), r.get(), s.get());
}

template <class T>
void batchnorm() {
  const BatchNormSize size{draw(0, 3), draw(0, 5), draw(0, 400)};
  const Index outputs = size.channels * size.positions, all = size.samples * outputs;
  const auto x = array<T>(all), R = array<T>(all), r = array<T>(all), scale = array<T>(size.channels), shift = array<T>(size.channels);
  const Kept<T> kept(size.samples, outputs);
  const Box<T> box(outputs);
  batchnorm_forward(size, read(x), read(scale), read(shift), r.get());
  batchnorm_relevance(size, read(x), read(scale), read(shift), read(R), draw_rule<T>(), box.get(), static_cast<const T*>(nullptr),
                      kept.get(), r.get());
}

template <class T>
void rows() {
  const SoftmaxSize size{draw(0, 3), draw(1, 70), draw(0, 1) ? draw(0, 130) : 1};
  const Index all = size.outer * size.length * size.inner;
  const auto x = array<T>(all), G = array<T>(all), y = array<T>(all);
  softmax_forward(size, read(x), y.get());
  softmax_gradient(size, read(x), read(G), y.get());
  log_softmax_forward(size, read(x), y.get());
  log_softmax_gradient(size, read(x), read(G), y.get());
  log_softmax_tangent(size, read(x), read(G), y.get());

  const AggregateSize graph{draw(0, 3), draw(0, 6), draw(0, 6), draw(0, 6)};
  const auto nodes = array<T>(graph.samples * graph.nodes * graph.channels), A = array<T>(graph.after * graph.nodes),
             z = array<T>(graph.samples * graph.after * graph.channels), r = array<T>(graph.samples * graph.nodes * graph.channels);
  const Kept<T> kept(graph.samples, 0);
  const Box<T> box(graph.nodes * graph.channels);
  aggregate_forward(graph, read(nodes), read(A), z.get());
  aggregate_gradient(graph, read(A), read(z), r.get());
  aggregate_relevance(graph, read(nodes), read(A), read(z), draw_rule<T>(), box.get(), read(z), kept.get(), r.get());

  const Index count = draw(0, 9), words = draw(1, 5), width = draw(0, 5);
  const auto table = array<T>(words * width), found = array<T>(count * width);
  std::vector<Index> ids(static_cast<std::size_t>(count));
  for (Index& id : ids) id = draw(-1, words);
  embedding_forward(count, words, width, ids.data(), read(table), found.get());

  const ActivationOf<T> of{draw(0, 3), draw(0, 3), draw(0, 50), math::GELU<T>{}};
  const auto v = array<T>(of.size()), v0 = array<T>(of.channels * of.positions), a = array<T>(of.size());
  activation_forward(of, read(v), a.get());
  activation_quotient(of, read(v), read(v0), true, read(v), a.get());
}

template <class T>
void norms() {
  const bool by_channel = draw(0, 1);
  const Index groups = draw(0, 4), run = by_channel ? draw(1, 40) : 1, apart = draw(1, 5), length = run * apart;
  const NormSize size{draw(0, 3), groups, length, run, by_channel ? apart : 0};
  const Index outputs = groups * length, all = size.samples * outputs, weights = by_channel ? groups * apart : length;
  const T eps = T(1) / 16;
  const auto x = array<T>(all), x0 = array<T>(all), weight = array<T>(weights), bias = array<T>(weights), R = array<T>(all), r = array<T>(all);
  const Kept<T> kept(size.samples, outputs);
  const Box<T> box(outputs);
  norm_forward(size, read(x), read(weight), draw(0, 1) ? read(bias) : nullptr, eps, r.get());
  norm_gradient(size, read(x), read(weight), eps, read(R), r.get());
  norm_tangent(size, read(x), read(weight), eps, read(R), r.get());
  norm_multiplier(size, read(x), read(x0), read(weight), eps, read(R), math::Product::symmetric, r.get());
  norm_relevance(size, read(x), read(weight), read(bias), eps, read(R), draw_rule<T>(), box.get(), static_cast<const T*>(nullptr), kept.get(), r.get());

  const LocalResponseSize local{draw(0, 2), draw(0, 5), draw(0, 130), draw(0, 6), draw(0, 6)};
  const math::LocalResponse<T> f{T(1), T(0.75), T(1)};
  const Index elements = local.samples * local.channels * local.positions;
  const auto y = array<T>(elements), y0 = array<T>(elements), G = array<T>(elements), out = array<T>(elements);
  local_response_norm_forward(local, f, read(y), out.get());
  local_response_norm_gradient(local, f, read(y), read(G), out.get());
  local_response_norm_tangent(local, f, read(y), read(G), out.get());
  local_response_norm_multiplier(local, f, read(y), read(y0), read(G), math::Product::gradient, out.get());
}

// One or two taps of every place, and their adjoint.
template <class T>
struct Stretched {
  std::vector<Index> begin{0}, from;
  std::vector<T> weight;

  Taps<T> there(Index length, Index count) {
    for (Index p = 0; p < count; ++p) {
      for (Index t = draw(1, 2); t > 0; --t) {
        from.push_back(draw(0, length - 1));
        weight.push_back(static_cast<T>(draw(1, 4)) / 4);
      }
      begin.push_back(static_cast<Index>(from.size()));
    }
    return {length, count, begin.data(), from.data(), weight.data()};
  }
  Taps<T> back(const Taps<T>& taps) {
    for (Index i = 0; i < taps.length; ++i) {
      for (Index p = 0; p < taps.count; ++p)
        for (Index t = taps.begin[p]; t < taps.begin[p + 1]; ++t)
          if (taps.from[t] == i) {
            from.push_back(p);
            weight.push_back(taps.weight[t]);
          }
      begin.push_back(static_cast<Index>(from.size()));
    }
    return {taps.count, taps.length, begin.data(), from.data(), weight.data()};
  }
};

template <class T>
void upsample() {
  const int rank = static_cast<int>(draw(0, 3));
  Stretched<T> ways[6];
  Taps<T> there[3], back[3];
  Index lengths = 1, counts = 1;
  for (int a = 0; a < rank; ++a) {
    there[a] = ways[2 * a].there(draw(1, 5), draw(1, 7));
    back[a] = ways[2 * a + 1].back(there[a]);
    lengths *= there[a].length;
    counts *= there[a].count;
  }
  const UpsampleSize<T> size{draw(0, 2), draw(0, 3), rank, there, back};
  const Index channels = size.samples * size.channels;
  const auto x = array<T>(channels * lengths), R = array<T>(channels * counts), z = array<T>(channels * counts), r = array<T>(channels * lengths);
  const Kept<T> kept(size.samples, 0);
  const Box<T> box(size.channels * lengths);
  upsample_forward(size, read(x), z.get());
  upsample_gradient(size, read(R), r.get());
  upsample_relevance(size, read(x), read(R), draw_rule<T>(), box.get(), read(z), kept.get(), r.get());
}

// ---- layers whose sums are matrix products, under every rule ----

template <class T>
void dense() {
  const DenseSize size{draw(0, 5), draw(0, 3), draw(0, 37), draw(0, 19)};
  const auto x = array<T>(size.rows() * size.inputs), w = array<T>(size.inputs * size.outputs), b = array<T>(size.outputs),
             R = array<T>(size.rows() * size.outputs), z = array<T>(size.rows() * size.outputs), r = array<T>(size.rows() * size.inputs);
  const Kept<T> kept(size.samples, size.positions * size.outputs);
  const Box<T> box(size.positions * size.inputs);
  const DenseWeights<T> weights{w.get(), draw(0, 1) == 1};
  const T* bias = draw(0, 1) ? b.get() : nullptr;
  dense_forward(size, read(x), weights, bias, z.get());
  dense_gradient(size, weights, read(R), r.get());
  for (const auto& rule : every_rule<T>())
    dense_relevance(size, read(x), weights, bias, read(R), rule, box.get(), draw(0, 1) ? read(z) : nullptr, kept.get(), r.get());
}

template <class T>
void windows() {
  WindowSize size{draw(0, 3), 0, 0, draw(1, 3), {}};
  const Index inside = draw(1, 3), outside = draw(0, 1) ? draw(1, 4) : draw(8, 17);  // channels of a group
  size.image_channels = size.groups * inside;
  size.window_channels = size.groups * outside;
  Windows& w = size.windows;
  Index lengths = 1, counts = 1, taps = 1;
  const int first = static_cast<int>(draw(0, window_axes - 1));
  for (int a = 0; a < window_axes; ++a) {
    const bool is_there = a >= first;
    w.kernel[a] = is_there ? draw(1, 4) : 1;
    w.stride[a] = is_there ? draw(1, 3) : 1;
    w.dilation[a] = is_there ? draw(1, 3) : 1;
    w.before[a] = is_there ? draw(0, 3) : 0;
    const Index span = (w.kernel[a] - 1) * w.dilation[a] + 1, after = is_there ? draw(0, 3) : 0;
    w.lengths[a] = is_there ? std::max<Index>(1, span - w.before[a] - after) + draw(0, 9) : 1;
    w.counts[a] = (w.lengths[a] + w.before[a] + after - span) / w.stride[a] + 1;
    lengths *= w.lengths[a];
    counts *= w.counts[a];
    taps *= w.kernel[a];
  }
  const Index image = size.image_channels * lengths, seen = size.window_channels * counts;
  const auto x = array<T>(size.samples * image), z = array<T>(size.samples * seen), R = array<T>(size.samples * seen),
             R_image = array<T>(size.samples * image), r = array<T>(size.samples * image), r_seen = array<T>(size.samples * seen),
             weights = array<T>(size.window_channels * inside * taps), b = array<T>(size.window_channels), b_image = array<T>(size.image_channels);
  const Kept<T> kept(size.samples, seen), kept_image(size.samples, image);
  const Box<T> box(image), box_seen(seen);
  for (const bool is_rectified : {true, false})
    conv_forward(size, read(x), read(weights), read(b), is_rectified, z.get());
  conv_gradient(size, read(weights), read(R), r.get());
  conv_transpose_forward(size, read(z), read(weights), read(b_image), r.get());
  conv_transpose_gradient(size, read(weights), read(R_image), r_seen.get());
  for (const auto& rule : every_rule<T>()) {
    conv_relevance(size, read(x), read(weights), read(b), read(R), rule, box.get(), draw(0, 1) ? read(z) : nullptr, kept.get(), r.get());
    conv_transpose_relevance(size, read(z), read(weights), read(b_image), read(R_image), rule, box_seen.get(),
                             draw(0, 1) ? read(x) : nullptr, kept_image.get(), r_seen.get());
  }
}

// Windows over an image, with less padding than a kernel has places.
Windows draw_windows(const Index* lengths) {
  Windows w{};
  for (int a = 0; a < window_axes; ++a) {
    w.lengths[a] = lengths[a];
    w.kernel[a] = draw(1, 3);
    w.stride[a] = draw(1, 3);
    w.dilation[a] = draw(1, 2);
    w.before[a] = draw(0, w.kernel[a] - 1);
    const Index after = draw(0, w.kernel[a] - 1);
    if ((w.kernel[a] - 1) * w.dilation[a] >= lengths[a] + w.before[a] + after) w.kernel[a] = 1;
    w.counts[a] = (lengths[a] + w.before[a] + after - (w.kernel[a] - 1) * w.dilation[a] - 1) / w.stride[a] + 1;
  }
  return w;
}

// Walks of one step and of several, through a convolution, an activation and a maximum; windows reach over edges.
template <class T>
void copies() {
  const Index samples = draw(1, 3), channels[] = {draw(1, 3), draw(1, 19)}, lengths[] = {draw(1, 2), draw(1, 9), draw(1, 9)};
  const Windows conv = draw_windows(lengths), pool = draw_windows(conv.counts);
  const auto places = [](const Index* l) { return l[0] * l[1] * l[2]; };
  const Index inputs = channels[1] * places(pool.counts), outputs = draw(1, 150);
  const auto x = array<T>(samples * channels[0] * places(lengths)), w = array<T>(channels[0] * channels[1] * places(conv.kernel)),
             z = array<T>(samples * channels[1] * places(conv.counts)), a = array<T>(samples * channels[1] * places(conv.counts)),
             y = array<T>(samples * inputs), last = array<T>(inputs * outputs), z_last = array<T>(samples * outputs);
  const auto image = [](const auto& v, Index c, const Index* l) { return Image<T>{v.get(), c, {l[0], l[1], l[2]}}; };
  const CopiedChain<T> chain{samples,
                             {image(x, channels[0], lengths), image(z, channels[1], conv.counts), image(a, channels[1], conv.counts),
                              image(y, channels[1], pool.counts)},
                             {CopiedConv<T>{conv, w.get()}, AnyActivation<T>(math::ReLU<T>{}), CopiedMaxPool{pool}},
                             outputs,
                             last.get(),
                             z_last.get()};
  std::vector<Index> rows, first{0}, start;
  for (Index n = 0; n < samples; ++n) {
    rows.push_back(n);
    first.push_back(first.back() + draw(0, 4));
  }
  for (Index k = 0; k < first.back(); ++k)
    for (const Index length : lengths) start.push_back(draw(-2, length));
  Walks<T> walks{samples, rows.data(), first.data(), start.data(), {draw(1, 2), draw(1, 3), draw(1, 3)}, nullptr};
  const auto values = array<T>(first.back() * channels[0] * places(walks.size)), out = array<T>(first.back() * outputs);
  walks.values = values.get();
  copied_forward(chain, walks, 1e9, out.get());
  const ImageSize size{first.back(), channels[0], {walks.size[0], walks.size[1], walks.size[2]}};
  std::vector<Index> of(static_cast<std::size_t>(size.count), 0), low(3 * of.size()), high(3 * of.size());
  if (size.count > 0) difference_bounds(size, read(values), of.data(), read(values), low.data(), high.data());
  const auto to = array<T>(inputs * outputs);
  turned(inputs, outputs, read(last), to.get());
}

// Sequences (samples, steps, width), and states with one step more.
template <class T>
struct Sequence {
  std::unique_ptr<T[]> numbers;
  Steps<T> all;
  bool reverse;

  Sequence(Index samples, Index steps, Index width) : numbers(array<T>(samples * steps * width)), all{numbers.get(), steps * width, width}, reverse(false) {}
  Steps<const T> get(Index later = 0) const { return {all.data + later * all.step, all.sample, all.step}; }
  Steps<const T> block(Index k, Index width) const { return {all.data + k * width, all.sample, all.step}; }
};

template <class T>
void recurrent() {
  const RecurrentSize size{draw(0, 4), draw(1, 5), draw(0, 9), draw(0, 21)};
  const Index n = size.samples, t = size.steps, w = size.width;
  std::vector<Index> lengths;
  for (Index i = 0; i < n; ++i) lengths.push_back(draw(0, t));
  const Time time{draw(0, 1) == 1, draw(0, 1) ? lengths.data() : nullptr};
  const Index before = time.reverse ? 1 : 0, after = 1 - before;
  const auto x = array<T>(n * t * size.inputs), G = array<T>(n * t * w), last = array<T>(n * w), to_x = array<T>(n * t * size.inputs),
             to_h = array<T>(n * w), to_c = array<T>(n * w), to_all = array<T>(n * t * w), b_n = array<T>(w);
  const Sequence<T> of_x(n, t, size.inputs);
  const Box<T> box_x(size.inputs), box_h(w);
  const RecurrentBounds<T> box{box_x.get(), box_h.get()};
  const auto gate = static_cast<math::Gate>(draw(0, 4));
  {
    const auto w_x = array<T>(size.inputs * 4 * w), w_h = array<T>(w * 4 * w), b = array<T>(4 * w);
    const RecurrentWeights<T> weights{w_x.get(), w_h.get(), draw(0, 1) ? b.get() : nullptr};
    const Sequence<T> z(n, t, 4 * w), c(n, t + 1, w), h(n, t + 1, w);
    lstm_forward(size, time, read(x), weights, LSTMStates<T>{z.all, c.all, h.all});
    const LSTMRecord<T> record{of_x.get(), z.get(), c.get(after), c.get(before), h.get(after), h.get(before)};
    lstm_gradient(size, time, record, weights, read(G), read(last), to_x.get(), to_h.get(), to_c.get());
    lstm_tangent(size, time, record, weights, read(x), read(last), read(last), to_all.get(), to_h.get(), to_c.get());
    lstm_multiplier(size, time, record, record, weights, read(G), read(last), math::Product::symmetric, to_x.get(), to_h.get(), to_c.get());
    const Kept<T> kept(n, 4 * w);
    for (const auto& rule : every_rule<T>())
      lstm_relevance(size, time, record, weights, read(G), read(last), rule, gate, box, kept.get(), to_x.get(), to_h.get(), to_c.get());
  }
  const auto w_x = array<T>(size.inputs * 3 * w), w_h = array<T>(w * 3 * w), b = array<T>(3 * w);
  const bool is_linear = draw(0, 1);
  const GRUWeights<T> weights{{w_x.get(), w_h.get(), draw(0, 1) ? b.get() : nullptr}, is_linear ? b_n.get() : nullptr, is_linear};
  const Sequence<T> z(n, t, 3 * w), gates(n, t, 3 * w), q(n, t, w), h(n, t + 1, w);
  gru_forward(size, time, read(x), weights, GRUStates<T>{z.all, gates.all, q.all, h.all});
  const GRURecord<T> record{of_x.get(), z.get(), gates.block(0, w), gates.block(1, w), gates.block(2, w),
                            is_linear ? q.get() : h.get(before), h.get(after), h.get(before)};
  gru_gradient(size, time, record, weights, read(G), read(last), to_x.get(), to_h.get());
  gru_tangent(size, time, record, weights, read(x), read(last), to_all.get(), to_h.get());
  gru_multiplier(size, time, record, record, weights, read(G), read(last), math::Product::gradient, to_x.get(), to_h.get());
  const Kept<T> kept(n, 5 * w);
  for (const auto& rule : every_rule<T>())
    gru_relevance(size, time, record, weights, read(G), read(last), rule, gate, box, kept.get(), to_x.get(), to_h.get());
}

template <class T>
void once() {
  norms<T>();
  upsample<T>();
  pool<T>();
  reduce<T>();
  merge<T>();
  batchnorm<T>();
  rows<T>();
  copies<T>();
}

// What takes longer: each rule on each layer of matrix products.
template <class T>
void products() {
  dense<T>();
  windows<T>();
  recurrent<T>();
}

}  // namespace

int main() {
  for (int i = 0; i < 1000; ++i) {
    once<float>();
    once<double>();
  }
  for (int i = 0; i < 150; ++i) {
    products<float>();
    products<double>();
  }
  std::puts("clean");
}
