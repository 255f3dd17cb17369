// Convolutions and their transposes, of pyref/layers/conv.py and pyref/layers/conv_transpose.py, at the door of any device.
#pragma once

#include "affine.h"
#include "window.h"

namespace relprop::bind {

using WindowLayer = Layer<cpu::WindowSize>;

struct Conv {
  static constexpr const char *names[] = RELPROP_AFFINE_NAMES("conv"), *weights = "w", *what = "a convolution",
                              *rectified = "conv_rectified";
  static constexpr int channels = 1;

  // options: stride, padding, dilation, groups
  template <class... Options>
  static std::shared_ptr<const WindowLayer> layer(const std::vector<Index>& x, const std::vector<Index>& w, const Options&... options) {
    return remembered<WindowLayer>(py::make_tuple("conv", shape_tuple(x), shape_tuple(w), options...), [&] {
      const auto of_pyref = py::module_::import("pyref.layers.conv").attr("conv_windows");
      const auto windows = windows_from(of_pyref(stand_in(x), stand_in(w), options...));
      if (!windows) return WindowLayer{{}, {}, false};
      return WindowLayer{{x[0], x[1], w[0], x[1] / w[1], *windows}, image_shape(x[0], w[0], windows->counts, x.size())};
    });
  }
};

struct ConvTranspose {
  static constexpr const char *names[] = RELPROP_AFFINE_NAMES("conv_transpose"), *weights = "w", *what = "a transposed convolution";
  static constexpr int channels = 1;

  // options: stride, padding, output_padding, dilation, groups
  template <class... Options>
  static std::shared_ptr<const WindowLayer> layer(const std::vector<Index>& x, const std::vector<Index>& w, const Options&... options) {
    return remembered<WindowLayer>(py::make_tuple("conv_transpose", shape_tuple(x), shape_tuple(w), options...), [&] {
      const auto of_pyref = py::module_::import("pyref.layers.conv_transpose").attr("conv_transpose_windows");
      const auto windows = windows_from(of_pyref(stand_in(x), stand_in(w), options...));
      if (!windows) return WindowLayer{{}, {}, false};
      const Index groups = py::cast<Index>(py::int_(py::object(py::make_tuple(options...)[4]))), channels = w[1] * groups;
      return WindowLayer{{x[0], channels, w[0], groups, *windows}, image_shape(x[0], channels, windows->lengths, x.size())};
    });
  }
};

using Given = py::object;  // an option
template <class Door>
using Convolution = Affine<Door, Conv, Given, Given, Given, Given>;
template <class Door>
using TransposedConvolution = Affine<Door, ConvTranspose, Given, Given, Given, Given, Given>;

}  // namespace relprop::bind
