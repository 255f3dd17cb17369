// The dense layer, of pyref/layers/dense.py, at the door of any device.
#pragma once

#include <memory>

#include "affine.h"
#include "relprop/dense.h"

namespace relprop::bind {

struct Dense {
  static constexpr const char *names[] = RELPROP_AFFINE_NAMES("dense"), *weights = "w", *what = "a dense layer";
  static constexpr int channels = -1;

  static auto layer(const std::vector<Index>& x, const std::vector<Index>& w) {
    if (x.empty()) throw py::index_error("tuple index out of range");
    check_shape("w", w, {x.back(), any});
    Layer<cpu::DenseSize> made{{1, 1, x.back(), w[1]}, x};
    for (std::size_t d = 0; d + 1 < x.size(); ++d) (d == 0 ? made.size.samples : made.size.positions) *= x[d];
    made.z.back() = w[1];
    return std::make_shared<const Layer<cpu::DenseSize>>(made);
  }
};

}  // namespace relprop::bind
