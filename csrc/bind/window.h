// Windows and convolutions at the door: the geometry that pyref gives them, and the questions to such a layer.
#pragma once

#include "affine.h"
#include "geometry.h"
#include "relprop/window.h"

namespace relprop::bind {

using cpu::window_axes;

// The geometry of a pyref.layers.window.Windows; none where it has more axes than kernels have, or numbers that they
// do not count to.
inline std::optional<cpu::Windows> windows_from(const py::object& made) {
  cpu::Windows windows{{1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {0, 0, 0}, {1, 1, 1}};
  const int rank = static_cast<int>(py::len(made.attr("lengths")));
  bool fits = rank <= window_axes;
  const auto read = [&](const char* name, Index* out, bool first_of_pair = false) {
    for (int i = 0; i < rank && fits; ++i) {
      py::object number = py::object(made.attr(name))[py::int_(i)];
      if (first_of_pair) number = number[py::int_(0)];
      int overflow = 0;
      out[window_axes - rank + i] = PyLong_AsLongLongAndOverflow(number.ptr(), &overflow);
      fits &= overflow == 0 && out[window_axes - rank + i] < (Index{1} << 31);
    }
  };
  read("lengths", windows.lengths);
  read("counts", windows.counts);
  read("kernel", windows.kernel);
  read("stride", windows.stride);
  read("padding", windows.before, true);
  read("dilation", windows.dilation);
  if (!fits) return std::nullopt;
  return windows;
}

// (samples, channels, *the last of the lengths), in as many axes as `like` has.
inline std::vector<Index> image_shape(Index samples, Index channels, const Index* lengths, const py::array& like) {
  std::vector<Index> shape{samples, channels};
  shape.insert(shape.end(), lengths + window_axes + 2 - like.ndim(), lengths + window_axes);
  return shape;
}

// The size of the kernels' work, and the shape of the pre-activation.
struct WindowLayer {
  bool is_compiled;
  cpu::WindowSize size;
  std::vector<Index> z_shape;
};

// ---- the questions; `kernel` is relprop::cpu's function ----

template <class Kernel>
py::object window_forward(const WindowLayer& layer, const py::array& x, const py::array& w, const std::optional<py::array>& b,
                          Kernel&& kernel) {
  if (b) check_shape("b", *b, {layer.z_shape[1]});
  return with_widest({x, w, b.value_or(x)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> x_data(x), w_data(w);
    const auto b_data = packed<T>(b);
    auto z = empty<T>(layer.z_shape);
    compute(
        [kernel, size = layer.size, in = x_data.data(), weights = w_data.data(), bias = pointer(b_data),
         out = z.mutable_data()] { kernel(size, in, weights, bias, out); },
        x_data, w_data, b_data, z);
    return z;
  });
}

template <class Kernel>
py::object window_gradient(const WindowLayer& layer, const py::array& x, const py::array& w, const py::array& G, Kernel&& kernel) {
  check_shape("G", G, layer.z_shape);
  return with_widest({w, G}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> G_data(G), w_data(w);
    auto G_x = empty<T>(shape_of(x));
    compute([kernel, size = layer.size, weights = w_data.data(), in = G_data.data(),
             out = G_x.mutable_data()] { kernel(size, weights, in, out); },
            w_data, G_data, G_x, x);
    return G_x;
  });
}

template <class Kernel>
py::object window_relevance(const WindowLayer& layer, const py::array& x, const py::array& w, const std::optional<py::array>& b,
                            const py::object& R, const py::object& rule, const py::object& z, const py::object& account,
                            Kernel&& kernel) {
  auto size = layer.size;
  size.one_x = is_one_sample(x, InHostMemory::or_none("z", z));
  return affine_relevance(
      layer.z_shape, x, w, b, R, rule, z, account, [kernel, size](const auto&... of) { kernel(size, of...); }, size.one_x);
}

}  // namespace relprop::bind
