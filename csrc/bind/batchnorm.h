// Batch normalisation at inference, of pyref/layers/batchnorm.py, at the door of any device.
#pragma once

#include "door.h"
#include "relprop/batchnorm.h"

namespace relprop::bind {

// A Door has the kernels of relprop/batchnorm.h, and takes arrays and computes with them as door.h says.
template <class Door>
struct BatchNormalization {
  using Array = typename Door::Array;

  // A layer with its input, or with a signal that takes its place.
  struct Scaled {
    Array x, scale, shift;
    cpu::BatchNormSize size;
  };

  static Scaled layer(const Array& x, const py::object& scale, const py::object& shift) {
    const auto shape = shape_of(x);
    Door::check_sample("x", shape);
    cpu::BatchNormSize size{1, 1, 1};
    for (std::size_t d = 0; d < shape.size(); ++d) (d == 0 ? size.samples : d == 1 ? size.channels : size.positions) *= shape[d];
    const auto channels = shape.size() > 1 ? std::vector<Index>{size.channels} : std::vector<Index>{};
    return {x, Door::array("scale", scale, channels), Door::or_none("shift", shift, channels), size};
  }

  static py::object scaled(const char* operation, const Array& x, const py::object& scale, const py::object& shift) {
    const Scaled given = layer(x, scale, shift);
    const auto fill = [size = given.size](const auto& on, auto in, auto out) {
      Door::batchnorm_forward(on, size, in[0], in[1], in[2], out[0]);
    };
    return Door::filled(operation, {&given.x, &given.scale, &given.shift}, {shape_of(x)}, fill)[0];
  }

  static py::object forward(const py::object& x, const py::object& scale, const py::object& shift) {
    return scaled("batchnorm_forward", Door::array("x", x), scale, shift);
  }
  static py::object gradient(const py::object& x, const py::object& scale, const py::object&, const py::object& G) {
    return scaled("batchnorm_gradient", Door::array("G", G, shape_of(Door::array("x", x))), scale, py::none());
  }
  static py::object tangent(const py::object& x, const py::object& scale, const py::object&, const py::object& dx) {
    return scaled("batchnorm_tangent", Door::array("dx", dx, shape_of(Door::array("x", x))), scale, py::none());
  }
  static py::object relevance(const py::object& x, const py::object& scale, const py::object& shift, const py::object& R,
                              const py::object& rule, const py::object& z, const py::object& account) {
    const Scaled given = layer(Door::array("x", x), scale, shift);
    const auto kernel = [size = given.size](const auto& on, const auto&... of) { Door::batchnorm_relevance(on, size, of...); };
    return Door::relevance("batchnorm_relevance", given.x, given.scale, given.shift, shape_of(given.x), {R, rule, z, account}, kernel);
  }
};

template <class Door>
void def_batchnorm(py::module_& module) {
  using Of = BatchNormalization<Door>;
  def(module, "batchnorm_forward", &Of::forward);
  def(module, "batchnorm_gradient", &Of::gradient);
  def(module, "batchnorm_tangent", &Of::tangent);
  def(module, "batchnorm_relevance", &Of::relevance);
}

}  // namespace relprop::bind
