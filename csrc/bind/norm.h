// Layer, group and local response normalisation, of pyref/layers/norm.py, at the door of any device.
#pragma once

#include "door.h"
#include "relprop/norm.h"

namespace relprop::bind {

inline py::object of_norm(const char* name) { return py::module_::import("pyref.layers.norm").attr(name); }

struct NormGeometry {
  NormSize size;
  std::vector<Index> of_weight;  // the shape of weight and bias
};

// Layer normalisation over the last `rank` axes.
inline std::optional<NormGeometry> layer_norm(const std::vector<Index>& shape, Index rank) {
  const Index axes = static_cast<Index>(shape.size());
  if (rank < 1 || rank >= axes) return std::nullopt;
  NormGeometry made{{shape[0], 1, 1, 1, 0}, {shape.end() - rank, shape.end()}};
  for (Index d = 1; d < axes; ++d) (d < axes - rank ? made.size.groups : made.size.length) *= shape[static_cast<std::size_t>(d)];
  return made;
}

// Group normalisation over all positions of each of the equal runs of channels.
inline std::optional<NormGeometry> group_norm(const std::vector<Index>& shape, Index groups) {
  if (shape.size() < 2 || groups < 1 || shape[1] % groups) return std::nullopt;
  NormGeometry made{{shape[0], groups, 0, 1, shape[1] / groups}, {shape[1]}};
  for (std::size_t d = 2; d < shape.size(); ++d) made.size.run *= shape[d];
  made.size.length = made.size.run * made.size.apart;
  return made;
}

// The two kinds, with pyref's function that refuses what does not fit.
struct NormKind {
  const char *names[5], *of_pyref;
  std::optional<NormGeometry> (*geometry)(const std::vector<Index>&, Index);

  // weight and bias need only have shapes. parameter: rank, or groups.
  NormGeometry operator()(const std::vector<Index>& shape, const py::object& weight, const py::object& bias, Index parameter) const {
    const auto made = geometry(shape, parameter);
    if (made && made->size.length > 0) return *made;
    const auto like = stand_in(shape);
    of_norm(of_pyref)(like, weight, bias, parameter, parameter).attr("mean")(like);  // raises
    throw std::logic_error("a normalisation over nothing");
  }
};
inline constexpr NormKind of_layer{
    {"layer_norm_forward", "layer_norm_gradient", "layer_norm_tangent", "layer_norm_relevance", "layer_norm_multiplier"},
    "_layer",
    &layer_norm};
inline constexpr NormKind of_group{
    {"group_norm_forward", "group_norm_gradient", "group_norm_tangent", "group_norm_relevance", "group_norm_multiplier"},
    "_group",
    &group_norm};

// What pyref's functions end with: (eps, rank), or (groups, eps).
struct NormSettings {
  double eps;
  Index parameter;
  NormSettings(double eps, Index rank) : eps(eps), parameter(rank) {}
  NormSettings(Index groups, double eps) : eps(eps), parameter(groups) {}
};

// Local response normalisation of x (n, c, ...) over `channels` neighbours.
inline LocalResponseSize local_response(const std::vector<Index>& shape, Index channels) {
  of_norm("_check_size")(channels);
  if (shape.size() < 2) throw py::index_error("tuple index out of range");
  LocalResponseSize size{shape[0], shape[1], 1, channels / 2, (channels - 1) / 2};
  for (std::size_t d = 2; d < shape.size(); ++d) size.positions *= shape[d];
  return size;
}

template <class T>
math::LocalResponse<T> local_response_of(Index channels, double alpha, double beta, double k) {
  return {static_cast<T>(alpha / static_cast<double>(channels)), static_cast<T>(beta), static_cast<T>(k)};
}

// A Door has the kernels and, as door.h says, takes arrays and computes with them; or_ones(weight, shape) is what its kernels
// take where a layer has no weight.
template <class Door>
struct Normalization {
  using Array = typename Door::Array;

  // A layer with its input.
  struct Norm {
    Array x, weight, bias;
    NormSize size;
    double eps;
  };

  static Norm norm_of(const NormKind& kind, const py::object& x_, const py::object& weight, const py::object& bias,
                      const NormSettings& settings) {
    const Array x = Door::array("x", x_);
    const auto geometry = kind(shape_of(x), weight, bias, settings.parameter);
    Door::check_sample("x", shape_of(x));
    const Array given = Door::or_none("weight", weight, geometry.of_weight);
    return {x, Door::or_ones(given, geometry.of_weight), Door::or_none("bias", bias, geometry.of_weight), geometry.size, settings.eps};
  }

  // What a kernel makes of a signal in the shape of x.
  template <class Kernel>
  static py::object through(const char* operation, const Norm& norm, const char* name, const py::object& signal_, const Kernel& kernel) {
    const Array signal = Door::array(name, signal_, shape_of(norm.x));
    const auto fill = [size = norm.size, eps = norm.eps, kernel](const auto& on, auto in, auto out) {
      kernel(on, size, in[0], in[1], number_like(in[0], eps), in[2], out[0]);
    };
    return Door::filled(operation, {&norm.x, &norm.weight, &signal}, {shape_of(norm.x)}, fill)[0];
  }

  template <const NormKind& kind, class First, class Second>
  static py::object forward(const py::object& x, const py::object& weight, const py::object& bias, First first, Second second) {
    const Norm norm = norm_of(kind, x, weight, bias, {first, second});
    const auto fill = [size = norm.size, eps = norm.eps](const auto& on, auto in, auto out) {
      Door::norm_forward(on, size, in[0], in[1], in[2], number_like(in[0], eps), out[0]);
    };
    return Door::filled(kind.names[0], {&norm.x, &norm.weight, &norm.bias}, {shape_of(norm.x)}, fill)[0];
  }

  template <const NormKind& kind, class First, class Second>
  static py::object gradient(const py::object& x, const py::object& weight, const py::object& bias, const py::object& G, First first,
                             Second second) {
    return through(kind.names[1], norm_of(kind, x, weight, bias, {first, second}), "G", G, Door::norm_gradient);
  }

  template <const NormKind& kind, class First, class Second>
  static py::object tangent(const py::object& x, const py::object& weight, const py::object& bias, const py::object& dx, First first,
                            Second second) {
    return through(kind.names[2], norm_of(kind, x, weight, bias, {first, second}), "dx", dx, Door::norm_tangent);
  }

  template <const NormKind& kind, class First, class Second>
  static py::object relevance(const py::object& x, const py::object& weight, const py::object& bias, const py::object& R,
                              const py::object& rule, First first, Second second, const py::object& z, const py::object& account) {
    const Norm norm = norm_of(kind, x, weight, bias, {first, second});
    const auto kernel = [size = norm.size, eps = norm.eps](const auto& on, auto in, auto w, auto b, const auto&... of) {
      Door::norm_relevance(on, size, in, w, b, number_like(in, eps), of...);
    };
    return Door::relevance(kind.names[3], norm.x, norm.weight, norm.bias, shape_of(norm.x), {R, rule, z, account}, kernel);
  }

  template <const NormKind& kind, class First, class Second>
  static py::object multiplier(const py::object& x, const py::object& x0_, const py::object& weight, const py::object& bias,
                               const py::object& M_, First first, Second second, const py::object& product_) {
    const Norm norm = norm_of(kind, x, weight, bias, {first, second});
    const auto shape = shape_of(norm.x);
    const Array M = Door::array("M", M_, shape), x0 = baseline(x0_, shape);
    const auto fill = [size = norm.size, eps = norm.eps, product = choice<math::Product>("product", product_)](const auto& on, auto in, auto out) {
      Door::norm_multiplier(on, size, in[0], in[1], in[2], number_like(in[0], eps), in[3], product, out[0]);
    };
    return Door::filled(kind.names[4], {&norm.x, &x0, &norm.weight, &M}, {shape}, fill)[0];
  }

  // The baseline in the shape of x.
  static Array baseline(const py::object& x0_, const std::vector<Index>& shape) {
    const Array x0 = Door::array("x0", x0_);
    check_baseline(shape, shape_of(x0));
    return Door::spread(x0, shape);
  }

  // What kernel(on, size, f, x, …, result) makes of x and other arrays in its shape.
  template <class Kernel>
  static py::object of_neighbours(const char* operation, const std::vector<const Array*>& arrays, Index channels, double alpha,
                                  double beta, double k, const Kernel& kernel) {
    const auto shape = shape_of(*arrays[0]);
    const auto fill = [=, size = local_response(shape, channels)](const auto& on, auto in, auto out) {
      kernel(on, size, local_response_of<NumberOf<decltype(out)>>(channels, alpha, beta, k), in, out[0]);
    };
    return Door::filled(operation, arrays, {shape}, fill)[0];
  }

  static py::object local_forward(const py::object& x_, Index size, double alpha, double beta, double k) {
    const Array x = Door::array("x", x_);
    return of_neighbours("local_response_norm_forward", {&x}, size, alpha, beta, k,
                         [](const auto& on, const auto& of, const auto& f, auto in, auto out) {
                           Door::local_response_norm_forward(on, of, f, in[0], out);
                         });
  }

  static py::object local_gradient(const py::object& x_, const py::object& G_, Index size, double alpha, double beta, double k) {
    const Array x = Door::array("x", x_), G = Door::array("G", G_, shape_of(x));
    return of_neighbours("local_response_norm_gradient", {&x, &G}, size, alpha, beta, k,
                         [](const auto& on, const auto& of, const auto& f, auto in, auto out) {
                           Door::local_response_norm_gradient(on, of, f, in[0], in[1], out);
                         });
  }

  static py::object local_tangent(const py::object& x_, const py::object& dx_, Index size, double alpha, double beta, double k) {
    const Array x = Door::array("x", x_), dx = Door::array("dx", dx_, shape_of(x));
    return of_neighbours("local_response_norm_tangent", {&x, &dx}, size, alpha, beta, k,
                         [](const auto& on, const auto& of, const auto& f, auto in, auto out) {
                           Door::local_response_norm_tangent(on, of, f, in[0], in[1], out);
                         });
  }

  static py::object local_relevance(const py::object& x, const py::object& R) {
    Door::array("R", R, shape_of(Door::array("x", x)));
    return R;
  }

  static py::object local_multiplier(const py::object& x_, const py::object& x0_, const py::object& M_, Index size, double alpha,
                                     double beta, double k, const py::object& product_) {
    const Array x = Door::array("x", x_), M = Door::array("M", M_, shape_of(x)), x0 = baseline(x0_, shape_of(x));
    return of_neighbours("local_response_norm_multiplier", {&x, &x0, &M}, size, alpha, beta, k,
                         [product = choice<math::Product>("product", product_)](const auto& on, const auto& of, const auto& f,
                                                                                auto in, auto out) {
                           Door::local_response_norm_multiplier(on, of, f, in[0], in[1], in[2], product, out);
                         });
  }
};

template <class Door>
void def_norms(py::module_& module) {
  using Of = Normalization<Door>;
  def(module, "layer_norm_forward", &Of::template forward<of_layer, double, Index>);
  def(module, "layer_norm_gradient", &Of::template gradient<of_layer, double, Index>);
  def(module, "layer_norm_tangent", &Of::template tangent<of_layer, double, Index>);
  def(module, "layer_norm_relevance", &Of::template relevance<of_layer, double, Index>);
  def(module, "layer_norm_multiplier", &Of::template multiplier<of_layer, double, Index>);
  def(module, "group_norm_forward", &Of::template forward<of_group, Index, double>);
  def(module, "group_norm_gradient", &Of::template gradient<of_group, Index, double>);
  def(module, "group_norm_tangent", &Of::template tangent<of_group, Index, double>);
  def(module, "group_norm_relevance", &Of::template relevance<of_group, Index, double>);
  def(module, "group_norm_multiplier", &Of::template multiplier<of_group, Index, double>);
  def(module, "local_response_norm_forward", &Of::local_forward);
  def(module, "local_response_norm_gradient", &Of::local_gradient);
  def(module, "local_response_norm_tangent", &Of::local_tangent);
  def(module, "local_response_norm_relevance", &Of::local_relevance);
  def(module, "local_response_norm_multiplier", &Of::local_multiplier);
}

}  // namespace relprop::bind
