// What a normalisation runs over, for the doors of all devices.
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

  // x, weight and bias need only have shapes. parameter: rank, or groups.
  NormGeometry operator()(const py::object& x, const std::vector<Index>& shape, const py::object& weight, const py::object& bias,
                          Index parameter) const {
    const auto made = geometry(shape, parameter);
    if (made && made->size.length > 0) return *made;
    const auto like = py::module_::import("numpy").attr("empty")(py::tuple(x.attr("shape")));
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

// The functions under pyref's names; a Door has them as static members.
template <class Door>
void def_norms(py::module_& module) {
  def(module, "layer_norm_forward", &Door::template norm_forward<of_layer, double, Index>);
  def(module, "layer_norm_gradient", &Door::template norm_gradient<of_layer, double, Index>);
  def(module, "layer_norm_tangent", &Door::template norm_tangent<of_layer, double, Index>);
  def(module, "layer_norm_relevance", &Door::template norm_relevance<of_layer, double, Index>);
  def(module, "layer_norm_multiplier", &Door::template norm_multiplier<of_layer, double, Index>);
  def(module, "group_norm_forward", &Door::template norm_forward<of_group, Index, double>);
  def(module, "group_norm_gradient", &Door::template norm_gradient<of_group, Index, double>);
  def(module, "group_norm_tangent", &Door::template norm_tangent<of_group, Index, double>);
  def(module, "group_norm_relevance", &Door::template norm_relevance<of_group, Index, double>);
  def(module, "group_norm_multiplier", &Door::template norm_multiplier<of_group, Index, double>);
  def(module, "local_response_norm_forward", &Door::local_response_norm_forward);
  def(module, "local_response_norm_gradient", &Door::local_response_norm_gradient);
  def(module, "local_response_norm_tangent", &Door::local_response_norm_tangent);
  def(module, "local_response_norm_relevance", &Door::local_response_norm_relevance);
  def(module, "local_response_norm_multiplier", &Door::local_response_norm_multiplier);
}

}  // namespace relprop::bind
