#include "relprop/pool.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <type_traits>
#include <vector>

#include "machine/registers.h"
#include "machine/threads.h"

namespace relprop::cpu {
namespace {

using machine::Buffer;
using machine::Counted;
using machine::part;
using machine::read;
using machine::Run;
using machine::weave;
using machine::write;
using math::Ties;

constexpr Index grain = 1 << 14;

// An offset in a plane, as wide as T so that both fill a register alike.
template <class T>
using Offset = std::conditional_t<sizeof(T) == 4, std::int32_t, std::int64_t>;

// Rows of windows, one after the other along the last axis, and what they see of a plane.
class Rows {
 public:
  const Index count, width, stride, lengths, places;  // rows, windows of a row, numbers of a plane, windows of a plane

  explicit Rows(const Windows& w)
      : count(w.counts[0] * w.counts[1]),
        width(w.counts[2]),
        stride(w.stride[2]),
        lengths(w.lengths[0] * w.lengths[1] * w.lengths[2]),
        places(count * width),
        windows_(w) {
    for (Index k = 0; k < w.kernel[2]; ++k) {
      const Index reach = k * w.dilation[2] - w.before[2];  // window o sees o · stride + reach
      const Index from = reach < 0 ? (-reach + stride - 1) / stride : 0;
      const Index to = reach < w.lengths[2] ? (w.lengths[2] - 1 - reach) / stride + 1 : 0;
      inside_.push_back({std::min(from, width), std::min(to, width)});
    }
  }

  // f(offset, from, to) for each tap in row-major order: window o of the row, from <= o < to, sees through it the
  // number at offset + o · stride of the plane; the other windows see padding.
  template <class F>
  void for_each_tap(Index row, F&& f) const {
    const Windows& w = windows_;
    const Index first[] = {row / w.counts[1] * w.stride[0] - w.before[0], row % w.counts[1] * w.stride[1] - w.before[1]};
    for (Index k0 = 0; k0 < w.kernel[0]; ++k0) {
      const Index i0 = first[0] + k0 * w.dilation[0];
      if (i0 < 0 || i0 >= w.lengths[0]) continue;
      for (Index k1 = 0; k1 < w.kernel[1]; ++k1) {
        const Index i1 = first[1] + k1 * w.dilation[1];
        if (i1 < 0 || i1 >= w.lengths[1]) continue;
        const Index begin = (i0 * w.lengths[1] + i1) * w.lengths[2] - w.before[2];
        for (Index k2 = 0; k2 < w.kernel[2]; ++k2) {
          const Range& range = inside_[static_cast<std::size_t>(k2)];
          if (range.from < range.to) f(begin + k2 * w.dilation[2], range.from, range.to);
        }
      }
    }
  }

 private:
  struct Range {
    Index from, to;
  };
  const Windows windows_;
  std::vector<Range> inside_;
};

// f(stride), a constant where it is a usual one.
template <class F>
void with_stride(Index stride, F&& f) {
  if (stride == 1) return f(std::integral_constant<Index, 1>{});
  if (stride == 2) return f(std::integral_constant<Index, 2>{});
  f(stride);
}

// The maximum of each window of a row, and where it was first met: at `winner` + o · stride of the plane.
template <class T>
class Maxima {
 public:
  explicit Maxima(const Rows& rows) : rows_(rows), y_(rows.width), winner_(rows.width) {}

  void look(const T* plane, Index row) {
    plane_ = plane;
    row_ = row;
    constexpr Offset<T> nowhere = std::numeric_limits<Offset<T>>::min();
    T* y = y_.data();
    Offset<T>* winner = winner_.data();
    std::fill_n(y, rows_.width, -std::numeric_limits<T>::infinity());
    std::fill_n(winner, rows_.width, nowhere);
    rows_.for_each_tap(row, [&](Index offset, Index from, Index to) {
      with_stride(rows_.stride, [&](auto stride) {
        const T* seen = plane + offset;
        const auto here = static_cast<Offset<T>>(offset);
        for (Index o = from; o < to; ++o) {
          const T v = seen[o * stride], so_far = y[o];
          const bool takes = math::pool_takes(v, so_far);
          y[o] = takes ? v : so_far;
          winner[o] = takes ? here : winner[o];
        }
      });
    });
    bool is_found = true;
    for (Index o = 0; o < rows_.width; ++o) is_found &= winner[o] != nowhere;
    if (is_found) return;
    rows_.for_each_tap(row, [&](Index offset, Index from, Index to) {  // a window of nothing but -inf
      for (Index o = from; o < to; ++o)
        if (winner[o] == nowhere) winner[o] = static_cast<Offset<T>>(offset);
    });
  }

  const T* y() const { return y_.data(); }

  // Whether window o's number at a place of the plane takes part in what goes back.
  bool wins(Ties ties, Index o, Index place) const {
    if (ties == Ties::first) return winner_.data()[o] + o * rows_.stride == place;
    return math::pool_is_maximum(plane_[place], y_.data()[o]);
  }

  // f(o, place) for each number that wins a window of the row.
  template <class F>
  void for_each_winner(Ties ties, F&& f) const {
    if (ties == Ties::first) {
      for (Index o = 0; o < rows_.width; ++o) f(o, winner_.data()[o] + o * rows_.stride);
      return;
    }
    rows_.for_each_tap(row_, [&](Index offset, Index from, Index to) {
      for (Index o = from; o < to; ++o)
        if (wins(ties, o, offset + o * rows_.stride)) f(o, offset + o * rows_.stride);
    });
  }

  // Among how many each window splits what goes back: 1 unless ties split it.
  void count(Ties ties, T* shares) const {
    std::fill_n(shares, rows_.width, ties == Ties::split ? T(0) : T(1));
    if (ties == Ties::split) for_each_winner(ties, [&](Index o, Index) { shares[o] += 1; });
  }

 private:
  const Rows& rows_;
  const Buffer<T> y_;
  const Buffer<Offset<T>> winner_;
  const T* plane_ = nullptr;
  Index row_ = 0;
};

// f(plane, scratch) for every plane, with a scratch of its own for each thread.
template <class Scratch, class F>
void for_each_plane(const PoolSize& size, const Rows& rows, F&& f) {
  const Index least = std::max<Index>(1, grain / std::max<Index>(1, rows.lengths));
  machine::parallel(size.samples * size.channels, least, [&](Index from, Index to) {
    Scratch scratch(rows);
    for (Index plane = from; plane < to; ++plane) f(plane, scratch);
  });
}

// ---- windows of two by two that tile an image, as in most networks: a row of them is one loop ----

bool are_quads(const Windows& w) {
  bool fits = w.kernel[0] == 1 && w.stride[0] == 1 && w.before[0] == 0 && w.counts[0] == w.lengths[0];
  for (int a = 1; a < 3; ++a)
    fits &= w.kernel[a] == 2 && w.stride[a] == 2 && w.dilation[a] == 1 && w.before[a] == 0 && 2 * w.counts[a] <= w.lengths[a];
  return fits;
}

// f(above, below, row) for each row of windows: the two rows of x that it sees, and its place among all rows.
template <class F>
void for_each_row_of_quads(const PoolSize& size, F&& f) {
  const Windows& w = size.windows;
  const Index images = size.samples * size.channels * w.counts[0], area = w.lengths[1] * w.lengths[2];
  machine::parallel(images, std::max<Index>(1, grain / std::max<Index>(1, area)), [&](Index from, Index to) {
    for (Index i = from; i < to; ++i)
      for (Index r = 0; r < w.counts[1]; ++r) {
        const Index above = i * area + 2 * r * w.lengths[2];
        f(above, above + w.lengths[2], i * w.counts[1] + r);
      }
  });
}

// Zeros where no window of a row looks: beyond its last one, and below the last row.
template <class T>
void clear_rest(const Windows& w, Index row, T* above, T* below) {
  const Index seen = 2 * w.counts[2];
  for (T* end : {above, below}) std::fill_n(end + seen, w.lengths[2] - seen, T(0));
  if ((row + 1) % w.counts[1] == 0) std::fill_n(below + w.lengths[2], (w.lengths[1] - 2 * w.counts[1]) * w.lengths[2], T(0));
}

// f(first, length) for runs of `length` windows, a constant, that cover a row of `width`: the last one reaches back
// rather than leave a rest.
template <class T, Index length = machine::longest_run<T>, class F>
void for_each_run(Index width, F&& f) {
  if constexpr (length > 1)
    if (width < length) return for_each_run<T, length / 2>(width, f);
  for (Index first = 0; first < width; first += length) f(std::min(first, width - length), std::integral_constant<Index, length>{});
}

// What `length` windows next to one another see through their four taps: the maximum, and which of them was it first.
template <class T, Index length>
struct Quad {
  using Many = typename Run<T, length>::type;
  using Which = typename Run<Offset<T>, length>::type;
  Many tap[4], y;
  Which winner = {};

  Quad(const T* above, const T* below) {
    part(above, tap[0], tap[1], Counted<length>{});
    part(below, tap[2], tap[3], Counted<length>{});
    y = tap[0];
    for (int k = 1; k < 4; ++k) {
      const Which here = Which{} + Offset<T>(k);
      winner = math::pool_choice(tap[k], y, here, winner);
      y = math::pool_choice(tap[k], y, tap[k], y);
    }
  }
};

// Maxima of a row, and among how many they are split.
template <class T>
struct Split {
  Maxima<T> maxima;
  Buffer<T> shares;

  explicit Split(const Rows& rows) : maxima(rows), shares(rows.width) {}
  void look(const T* plane, Index row, Ties ties) {
    maxima.look(plane, row);
    maxima.count(ties, shares.data());
  }
};

// A sum over the planes of each sample, in double and in order.
template <class T>
void add_planes(const PoolSize& size, const double* of_plane, T* of_sample) {
  for (Index n = 0; n < size.samples; ++n) {
    double sum = 0;
    for (Index c = 0; c < size.channels; ++c) sum += of_plane[n * size.channels + c];
    of_sample[n] = static_cast<T>(sum);
  }
}

}  // namespace

template <class Isa, class T>
void for_isa::max_pool_forward(Isa, const PoolSize& size, const T* x, T* y) {
  if (are_quads(size.windows)) {
    const Index width = size.windows.counts[2];
    return for_each_row_of_quads(size, [=](Index above, Index below, Index row) {
      for_each_run<T>(width, [&](Index o, auto length) {
        write(Quad<T, length>(x + above + 2 * o, x + below + 2 * o).y, y + row * width + o);
      });
    });
  }
  const Rows rows(size.windows);
  for_each_plane<Maxima<T>>(size, rows, [&](Index plane, Maxima<T>& maxima) {
    for (Index row = 0; row < rows.count; ++row) {
      maxima.look(x + plane * rows.lengths, row);
      std::copy_n(maxima.y(), rows.width, y + plane * rows.places + row * rows.width);
    }
  });
}

template <class Isa, class T>
void for_isa::max_pool_gradient(Isa, const PoolSize& size, Ties ties, const T* x, const T* G, T* dropped, T* G_x) {
  if (are_quads(size.windows) && ties == Ties::first && !dropped) {
    const Index width = size.windows.counts[2];
    return for_each_row_of_quads(size, [=, &size](Index above, Index below, Index row) {
      T *to_a = G_x + above, *to_b = G_x + below;
      for_each_run<T>(width, [&](Index o, auto length) {
        const Quad<T, length> quad(x + above + 2 * o, x + below + 2 * o);
        using Many = typename Run<T, length>::type;
        const auto g = read<Many>(G + row * width + o);
        Many back[4];
        for (int k = 0; k < 4; ++k) back[k] = quad.winner == Offset<T>(k) ? g : Many{};
        weave(back[0], back[1], to_a + 2 * o, Counted<length>{});
        weave(back[2], back[3], to_b + 2 * o, Counted<length>{});
      });
      clear_rest(size.windows, row, to_a, to_b);
    });
  }
  const Rows rows(size.windows);
  Buffer<double> surplus(dropped ? size.samples * size.channels : 0);
  for_each_plane<Split<T>>(size, rows, [&](Index plane, Split<T>& split) {
    T* out = G_x + plane * rows.lengths;
    const T* shares = split.shares.data();
    double beyond = 0;
    std::fill_n(out, rows.lengths, T(0));
    for (Index row = 0; row < rows.count; ++row) {
      const T* in = G + plane * rows.places + row * rows.width;
      split.look(x + plane * rows.lengths, row, ties);
      split.maxima.for_each_winner(ties, [&](Index o, Index place) { out[place] += in[o] / shares[o]; });
      if (!dropped) continue;
      for (Index o = 0; o < rows.width; ++o) beyond += static_cast<double>(in[o]);
      split.maxima.for_each_winner(ties, [&](Index o, Index) { beyond -= static_cast<double>(in[o] / shares[o]); });
    }
    if (dropped) surplus.data()[plane] = beyond;
  });
  if (dropped) add_planes(size, surplus.data(), dropped);
}

template <class Isa, class T>
void for_isa::max_pool_tangent(Isa, const PoolSize& size, Ties ties, const T* x, const T* dx, T* dy) {
  const Rows rows(size.windows);
  for_each_plane<Split<T>>(size, rows, [&](Index plane, Split<T>& split) {
    const T* change = dx + plane * rows.lengths;
    for (Index row = 0; row < rows.count; ++row) {
      T* out = dy + plane * rows.places + row * rows.width;
      split.look(x + plane * rows.lengths, row, ties);
      std::fill_n(out, rows.width, T(0));
      split.maxima.for_each_winner(ties, [&](Index o, Index place) { out[o] += change[place]; });
      for (Index o = 0; o < rows.width; ++o) out[o] /= split.shares.data()[o];
    }
  });
}

namespace {

// Maxima of a row of x and of x0, and whether nothing that a window sees differs.
template <class T>
struct Pair {
  Split<T> x, x0;
  Buffer<Offset<T>> is_still;

  explicit Pair(const Rows& rows) : x(rows), x0(rows), is_still(rows.width) {}
};

}  // namespace

template <class Isa, class T>
void for_isa::max_pool_multiplier(Isa, const PoolSize& size, Ties ties, const T* x, const T* x0, bool one_x0, const T* M, T* M_x) {
  if (are_quads(size.windows) && ties == Ties::first) {
    const Windows& w = size.windows;
    const Index width = w.counts[2], sample = size.channels * w.lengths[0] * w.lengths[1] * w.lengths[2];
    return for_each_row_of_quads(size, [=, &w](Index above, Index below, Index row) {
      const T* seen0 = x0 - (one_x0 ? above / sample * sample : 0);
      T *to_a = M_x + above, *to_b = M_x + below;
      for_each_run<T>(width, [&](Index o, auto length) {
        const Quad<T, length> quad(x + above + 2 * o, x + below + 2 * o), quad0(seen0 + above + 2 * o, seen0 + below + 2 * o);
        using Many = typename Run<T, length>::type;
        const auto arrived = read<Many>(M + row * width + o);
        const Many rise = math::pool_rise(quad.y, quad0.y), fall = math::pool_fall(quad.y, quad0.y);
        auto is_still = quad.winner * 0 + Offset<T>(1);  // whether nothing that a window sees differs
        for (int k = 0; k < 4; ++k) is_still = quad.tap[k] - quad0.tap[k] == Many{} ? is_still : is_still * 0;
        Many back[4];
        for (int k = 0; k < 4; ++k) {
          const Many of_x = quad.winner == Offset<T>(k) ? rise : Many{}, of_x0 = quad0.winner == Offset<T>(k) ? fall : Many{};
          const Many still = quad.winner == Offset<T>(k) ? arrived : Many{};
          const Many moved = math::pool_multiplier(of_x, of_x0, quad.tap[k] - quad0.tap[k], arrived);
          back[k] = is_still == Offset<T>(1) ? still : moved;
        }
        weave(back[0], back[1], to_a + 2 * o, Counted<length>{});
        weave(back[2], back[3], to_b + 2 * o, Counted<length>{});
      });
      clear_rest(w, row, to_a, to_b);
    });
  }
  const Rows rows(size.windows);
  for_each_plane<Pair<T>>(size, rows, [&](Index plane, Pair<T>& pair) {
    const T* in = x + plane * rows.lengths;
    const T* in0 = x0 + (one_x0 ? plane % size.channels : plane) * rows.lengths;
    T* out = M_x + plane * rows.lengths;
    Offset<T>* is_still = pair.is_still.data();
    std::fill_n(out, rows.lengths, T(0));
    for (Index row = 0; row < rows.count; ++row) {
      const T* arrived = M + plane * rows.places + row * rows.width;
      pair.x.look(in, row, ties);
      pair.x0.look(in0, row, ties);
      std::fill_n(is_still, rows.width, Offset<T>(1));
      rows.for_each_tap(row, [&](Index offset, Index from, Index to) {
        with_stride(rows.stride, [&](auto stride) {
          const T *seen = in + offset, *seen0 = in0 + offset;
          for (Index o = from; o < to; ++o) is_still[o] &= seen[o * stride] - seen0[o * stride] == 0;
        });
      });
      const T *y = pair.x.maxima.y(), *y0 = pair.x0.maxima.y();
      const T *shares = pair.x.shares.data(), *shares0 = pair.x0.shares.data();
      const auto rise = [&](Index o) { return math::pool_rise(y[o], y0[o]) / shares[o]; };
      const auto fall = [&](Index o) { return math::pool_fall(y[o], y0[o]) / shares0[o]; };
      pair.x.maxima.for_each_winner(ties, [&](Index o, Index place) {
        const T of_x0 = pair.x0.maxima.wins(ties, o, place) ? fall(o) : T(0);
        out[place] += is_still[o] ? arrived[o] / shares[o]
                                  : math::pool_multiplier(rise(o), of_x0, in[place] - in0[place], arrived[o]);
      });
      pair.x0.maxima.for_each_winner(ties, [&](Index o, Index place) {
        if (!is_still[o] && !pair.x.maxima.wins(ties, o, place))
          out[place] += math::pool_multiplier(T(0), fall(o), in[place] - in0[place], arrived[o]);
      });
    }
  });
}

template <class Isa, class T>
void for_isa::max_pool_ray(Isa, const PoolSize& size, const T* x, const T* dx, T* dy, T* t) {
  const Rows rows(size.windows);
  const Index planes = size.samples * size.channels;
  Buffer<T> first(planes);
  for_each_plane<Maxima<T>>(size, rows, [&](Index plane, Maxima<T>& maxima) {
    const T *in = x + plane * rows.lengths, *change = dx + plane * rows.lengths;
    T soonest = std::numeric_limits<T>::infinity();
    for (Index row = 0; row < rows.count; ++row) {
      T* out = dy + plane * rows.places + row * rows.width;
      maxima.look(in, row);
      std::fill_n(out, rows.width, -std::numeric_limits<T>::infinity());
      maxima.for_each_winner(Ties::all, [&](Index o, Index place) {
        if (math::pool_takes(change[place], out[o])) out[o] = change[place];
      });
      rows.for_each_tap(row, [&](Index offset, Index from, Index to) {
        for (Index o = from; o < to; ++o) {
          const Index place = offset + o * rows.stride;
          if (change[place] > out[o])
            soonest = math::smaller(soonest, math::pool_meeting(maxima.y()[o], in[place], out[o], change[place]));
        }
      });
    }
    first.data()[plane] = soonest;
  });
  for (Index n = 0; n < size.samples; ++n) {
    t[n] = std::numeric_limits<T>::infinity();
    for (Index c = 0; c < size.channels; ++c) t[n] = math::smaller(t[n], first.data()[n * size.channels + c]);
  }
}

#define RELPROP_INSTANTIATE(T)                                                                                              \
  template void for_isa::max_pool_forward(machine::RELPROP_ISA, const PoolSize&, const T*, T*);                             \
  template void for_isa::max_pool_gradient(machine::RELPROP_ISA, const PoolSize&, Ties, const T*, const T*, T*, T*);        \
  template void for_isa::max_pool_tangent(machine::RELPROP_ISA, const PoolSize&, Ties, const T*, const T*, T*);             \
  template void for_isa::max_pool_multiplier(machine::RELPROP_ISA, const PoolSize&, Ties, const T*, const T*, bool, const T*, T*); \
  template void for_isa::max_pool_ray(machine::RELPROP_ISA, const PoolSize&, const T*, const T*, T*, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cpu
