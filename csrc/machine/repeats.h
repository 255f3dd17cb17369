// Images whose rows are the same along most of an axis, as a baseline's are: all windows within them see the same.
#pragma once

#include <algorithm>
#include <cstring>

#include "machine/memory.h"
#include "machine/threads.h"
#include "relprop/window.h"

namespace relprop::machine {
namespace {  // each instruction set has its own copy

using cpu::window_axes;
using cpu::Windows;

// Slices next to one another along an axis that are the same, bit for bit: [first, last) of those around the middle.
struct Alike {
  Index first, last;
};

// v (outer, length, inner)
template <class T>
Alike around_the_middle(const T* v, Index outer, Index length, Index inner) {
  Alike alike{0, length};
  const Index middle = length / 2;
  for (Index o = 0; o < outer && alike.last - alike.first > 1; ++o) {
    const T* slices = v + o * length * inner;
    const auto is_next = [&](Index i) {
      return std::memcmp(slices + i * inner, slices + (i + 1) * inner, static_cast<std::size_t>(inner) * sizeof(T)) == 0;
    };
    Index first = middle, last = middle + 1;
    while (first > alike.first && is_next(first - 1)) --first;
    while (last < alike.last && is_next(last - 1)) ++last;
    alike = {first, last};
  }
  return alike;
}

// Windows that see the same along each axis: all of [first, first + more].
struct Repeated {
  Index first[window_axes] = {}, more[window_axes] = {};
};

// An image without the rows that only repeated windows see, so that of these the first is left, and the windows on it.
template <class T>
struct Shortened {
  Windows windows;
  Repeated repeated;
  Buffer<T> image;  // none: as it was

  Shortened(const Windows& all, Index channels, const T* x) : windows(all) {
    for (int a = 0; a < window_axes; ++a) {
      const Index length = windows.lengths[a], stride = windows.stride[a];
      Index outer = channels, inner = 1;
      for (int b = 0; b < window_axes; ++b) (b < a ? outer : inner) *= b == a ? 1 : windows.lengths[b];
      const T* now = image.data() ? image.data() : x;
      const Alike alike = around_the_middle(now, outer, length, inner);
      const Index reach = (windows.kernel[a] - 1) * windows.dilation[a], before = windows.before[a];
      if (alike.last - alike.first <= reach) continue;
      const Index first = (alike.first + before + stride - 1) / stride;
      const Index last = std::min((alike.last - 1 - reach + before) / stride, windows.counts[a] - 1);
      if (last <= first) continue;
      repeated.first[a] = first;
      repeated.more[a] = last - first;
      const Index cut = stride * (last - first), left = length - cut;
      Buffer<T> next(outer * left * inner);
      for (Index o = 0; o < outer; ++o) {
        const T* from = now + o * length * inner;
        T* to = std::copy_n(from, alike.first * inner, next.data() + o * left * inner);
        std::copy_n(from + (alike.first + cut) * inner, (left - alike.first) * inner, to);
      }
      image = std::move(next);
      windows.lengths[a] = left;
      windows.counts[a] -= last - first;
    }
  }

  // How many windows are left.
  Index left() const { return count(windows); }
  static Index count(const Windows& of) { return of.counts[0] * of.counts[1] * of.counts[2]; }

  // z (channels, *all.counts), from that of the windows that are left
  void spread(const Windows& all, Index channels, const T* of_left, T* z) const {
    const auto source = [&](int a, Index p) {
      return p <= repeated.first[a] ? p : std::max(repeated.first[a], p - repeated.more[a]);
    };
    const Index* counts = windows.counts;
    parallel(channels, std::max<Index>(1, (1 << 15) / std::max<Index>(1, count(all))), [&](Index begin, Index end) {
      for (Index c = begin; c < end; ++c)
        for (Index p0 = 0; p0 < all.counts[0]; ++p0)
          for (Index p1 = 0; p1 < all.counts[1]; ++p1) {
            const T* from = of_left + ((c * counts[0] + source(0, p0)) * counts[1] + source(1, p1)) * counts[2];
            T* to = z + ((c * all.counts[0] + p0) * all.counts[1] + p1) * all.counts[2];
            const Index first = repeated.first[2], more = repeated.more[2];
            if (more == 0) {
              std::copy_n(from, counts[2], to);
              continue;
            }
            to = std::copy_n(from, first, to);
            to = std::fill_n(to, more, from[first]);
            std::copy_n(from + first, counts[2] - first, to);
          }
    });
  }
};

}  // namespace
}  // namespace relprop::machine
