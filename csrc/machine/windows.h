// Windows cut out of images and put into them: numbers that move, and nothing that is computed.
#pragma once

#include <algorithm>

#include "machine/threads.h"

namespace relprop::machine {

// Images (count, channels, *lengths) with three axes, the first of which may have length 1.
struct Images {
  Index channels, lengths[3];
  Index size() const { return channels * lengths[0] * lengths[1] * lengths[2]; }
};

// f(offset in an image, offset in a window, how many numbers in a row), for each row of a window of this size that lies
// inside of the image when the window begins at `start`.
template <class F>
void rows_inside(const Images& of, const Index* start, const Index* size, F&& f) {
  Index low[3], high[3];
  for (int a = 0; a < 3; ++a) {
    low[a] = std::max<Index>(0, -start[a]);
    high[a] = std::min(size[a], of.lengths[a] - start[a]);
    if (low[a] >= high[a]) return;
  }
  for (Index c = 0; c < of.channels; ++c)
    for (Index i = low[0]; i < high[0]; ++i)
      for (Index j = low[1]; j < high[1]; ++j)
        f(((c * of.lengths[0] + start[0] + i) * of.lengths[1] + start[1] + j) * of.lengths[2] + start[2] + low[2],
          ((c * size[0] + i) * size[1] + j) * size[2] + low[2], high[2] - low[2]);
}

inline Index window_grain(const Images& of, const Index* size) {
  return std::max<Index>(1, (1 << 15) / std::max<Index>(1, of.channels * size[0] * size[1] * size[2]));
}

// Window k (channels, *size) of image rows[k] from start[3k …] on; `outside` where it reaches over an edge.
template <class T>
void crop(const Images& of, const T* images, Index count, const Index* rows, const Index* start, const Index* size, T outside,
          T* windows) {
  const Index each = of.channels * size[0] * size[1] * size[2];
  parallel(count, window_grain(of, size), [&](Index from, Index to) {
    for (Index k = from; k < to; ++k) {
      T* window = windows + k * each;
      bool inside = true;
      for (int a = 0; a < 3; ++a) inside &= start[3 * k + a] >= 0 && start[3 * k + a] + size[a] <= of.lengths[a];
      if (!inside) std::fill_n(window, each, outside);
      const T* image = images + rows[k] * of.size();
      rows_inside(of, start + 3 * k, size, [&](Index in, Index out, Index n) { std::copy_n(image + in, n, window + out); });
    }
  });
}

// Puts window k into image k from start[3k …] on, as far as it lies inside.
template <class T>
void paste(const Images& of, T* images, Index count, const Index* start, const Index* size, const T* windows) {
  const Index each = of.channels * size[0] * size[1] * size[2];
  parallel(count, window_grain(of, size), [&](Index from, Index to) {
    for (Index k = from; k < to; ++k) {
      T* image = images + k * of.size();
      rows_inside(of, start + 3 * k, size, [&](Index in, Index out, Index n) { std::copy_n(windows + k * each + out, n, image + in); });
    }
  });
}

}  // namespace relprop::machine
