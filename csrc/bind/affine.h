// Affine layers: the questions to one with weights, at the door of any device, and any of them in host memory.
#pragma once

#include "door.h"

namespace relprop::bind {

// What kernels take as the size of an affine layer, and the shape of z.
template <class Size>
struct Layer {
  Size size;
  std::vector<Index> z;
  bool is_compiled = true;
};

// A Stem says which layer x and w make, layer(shape of x, shape of w, options…), and has names: of the functions, of w, and of
// itself. What is added to z has a number for each of its channels, along the axis `channels`.
//
// A Door takes arrays as door.h says and answers for a layer, with null for w and b where it has none:
//
//   forward(operation, layer, x, w, b)   gradient(…, x, w, G)   relevance(…, x, w, b, {R, rule, z, account})
//   rectified(operation, layer, x, w, b), of a Stem that has a name for it
template <class Door, class Stem, class... Options>
struct Affine {
  using Array = typename Door::Array;

  static py::object forward(const py::object& x_, const py::object& w_, const py::object& b_, const Options&... options) {
    const Array x = Door::array("x", x_), w = Door::array(Stem::weights, w_);
    const auto layer = layer_of(x, w, options...);
    if (!layer->is_compiled) return reference(Stem::names[0], x_, w_, b_, options...);
    return Door::forward(Stem::names[0], *layer, x, w, bias(b_, *layer));
  }

  static py::object rectified(const py::object& x_, const py::object& w_, const py::object& b_, const Options&... options) {
    const Array x = Door::array("x", x_), w = Door::array(Stem::weights, w_);
    const auto layer = layer_of(x, w, options...);
    if (!layer->is_compiled) return reference(Stem::rectified, x_, w_, b_, options...);
    return Door::rectified(Stem::rectified, *layer, x, w, bias(b_, *layer));
  }

  static py::object gradient(const py::object& x_, const py::object& w_, const py::object& b, const py::object& G_,
                             const Options&... options) {
    const Array x = Door::array("x", x_), w = Door::array(Stem::weights, w_);
    const auto layer = layer_of(x, w, options...);
    if (!layer->is_compiled) return reference(Stem::names[1], x_, w_, b, G_, options...);
    return Door::gradient(Stem::names[1], *layer, x, w, Door::array("G", G_, layer->z));
  }

  static py::object tangent(const py::object& x, const py::object& w, const py::object&, const py::object& dx,
                            const Options&... options) {
    Door::array("dx", dx, shape_of(Door::array("x", x)));
    return forward(dx, w, py::none(), options...);
  }

  static py::object relevance(const py::object& x_, const py::object& w_, const py::object& b_, const py::object& R,
                              const py::object& rule, const Options&... options, const py::object& z, const py::object& account) {
    const Array x = Door::array("x", x_), w = Door::array(Stem::weights, w_);
    const auto layer = layer_of(x, w, options...);
    if (!layer->is_compiled) return reference(Stem::names[3], x_, w_, b_, R, rule, options..., z, account);
    return Door::relevance(Stem::names[3], *layer, x, w, bias(b_, *layer), {R, rule, z, account});
  }

  static void def_all(py::module_& module) {
    def(module, Stem::names[0], &forward);
    def(module, Stem::names[1], &gradient);
    def(module, Stem::names[2], &tangent);
    def(module, Stem::names[3], &relevance);
  }
  static void def_rectified(py::module_& module) { def(module, Stem::rectified, &rectified); }

 private:
  static auto layer_of(const Array& x, const Array& w, const Options&... options) {
    const auto layer = Stem::layer(shape_of(x), shape_of(w), options...);
    Door::check_compiled(layer->is_compiled, Stem::what, shape_of(x).size() - 2);
    Door::check_sample("x", shape_of(x));
    Door::check_sample("z", layer->z);
    return layer;
  }
  template <class Made>
  static Array bias(const py::object& b, const Made& layer) {
    return Door::or_none("b", b, {Stem::channels < 0 ? layer.z.back() : layer.z[Stem::channels]});
  }
};

// A Door of layers as one of those without weights, which come with their x.
template <class Door>
struct Unweighted : Door {
  using Array = typename Door::Array;
  template <class Size>
  static py::object forward(const char* operation, const Array& x, const Layer<Size>& layer) {
    return Door::forward(operation, layer, x, Door::nothing(), Door::nothing());
  }
  template <class Size>
  static py::object gradient(const char* operation, const Array& x, const Layer<Size>& layer, const py::object& G) {
    return Door::gradient(operation, layer, x, Door::nothing(), Door::array("G", G, layer.z));
  }
  template <class Size>
  static py::object relevance(const char* operation, const Array& x, const Layer<Size>& layer, const py::object& R,
                              const py::object& rule, const py::object& z, const py::object& account) {
    return Door::relevance(operation, layer, x, Door::nothing(), Door::nothing(), {R, rule, z, account});
  }
};

#define RELPROP_AFFINE_NAMES(stem) {stem "_forward", stem "_gradient", stem "_tangent", stem "_relevance"}

// A Door of layers in host memory, by Kernels:
//
//   forward(size, x, w, b, z)   gradient(size, w, G, G_x)   relevance(size, x, w, b, R, rule, bounds, z, account, r)
//   rectified(size, x, w, b, a), where it is asked for
//
// `arranged` may put w in another order, and answers the size that says so.
struct AsGiven {
  static constexpr bool takes_one = false;  // whether size.one_x says that x and z are one sample's
  template <class Size>
  static const Size& arranged(const Size& size, const py::array&) {
    return size;
  }
};
template <class Kernels>
struct LayersInHostMemory : InHostMemory {
  template <class Size>
  static py::object forward(const char* operation, const Layer<Size>& layer, const Array& x, Array w, const Array& b) {
    const auto fill = [size = Kernels::arranged(layer.size, w)](const auto&, auto in, auto out) {
      Kernels::forward(size, in[0], in[1], in[2], out[0]);
    };
    return filled(operation, {&x, &w, &b}, {layer.z}, fill)[0];
  }
  template <class Size>
  static py::object rectified(const char* operation, const Layer<Size>& layer, const Array& x, const Array& w, const Array& b) {
    const auto fill = [size = layer.size](const auto&, auto in, auto out) { Kernels::rectified(size, in[0], in[1], in[2], out[0]); };
    return filled(operation, {&x, &w, &b}, {layer.z}, fill)[0];
  }
  template <class Size>
  static py::object gradient(const char* operation, const Layer<Size>& layer, const Array& x, Array w, const Array& G) {
    const auto fill = [size = Kernels::arranged(layer.size, w)](const auto&, auto in, auto out) {
      Kernels::gradient(size, in[0], in[1], out[0]);
    };
    return filled(operation, {&w, &G}, {shape_of(x)}, fill, {x})[0];
  }
  template <class Size>
  static py::object relevance(const char* operation, const Layer<Size>& layer, const Array& x, Array w, const Array& b,
                              const Arriving& given) {
    const auto kernel = [size = Kernels::arranged(layer.size, w)](const auto& on, const auto&... of) {
      auto acting = size;
      if constexpr (Kernels::takes_one) acting.one_x = on.one_x;
      Kernels::relevance(acting, of...);
    };
    return InHostMemory::relevance(operation, x, w, b, layer.z, given, kernel, Kernels::takes_one);
  }
};

}  // namespace relprop::bind
