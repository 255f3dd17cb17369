// Batch normalisation: a sum of one input, with a weight and a bias per channel.
#include "cuda/merge.h"

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

void check_channels(const Argument& x, const Argument& scale, const Argument& shift) {
  const auto shape = x.shape();
  const auto channels = shape.size() > 1 ? std::vector<Index>{shape[1]} : std::vector<Index>{};
  check_shape(scale, channels);
  if (shift) check_shape(shift, channels);
  check_sample("x", shape);
}

template <class T>
cuda::Sum<T> sum_for(Call& call, const Argument& x, const Argument& scale, const Argument& shift) {
  const auto shape = x.shape();
  int channels = shape.size() > 1 ? static_cast<int>(shape[1]) : 1, run = 1;
  for (std::size_t d = 2; d < shape.size(); ++d) run *= static_cast<int>(shape[d]);
  cuda::Sum<T> sum{};
  sum.samples = shape.empty() ? 1 : shape[0];
  sum.size = channels * run;
  sum.count = 1;
  run = std::max(1, run);
  sum.terms[0] = {call.in<T>(x), {call.in<T>(scale), run, T(0)}};
  sum.has_b = bool(shift);
  sum.b = {call.in<T>(shift), run, T(0)};
  return sum;
}

// y of x, or of a signal that takes its place.
py::object scaled(const char* operation, const Argument& x, const py::object& scale_, const py::object& shift_) {
  const Argument scale("scale", scale_), shift = or_none("shift", shift_);
  check_channels(x, scale, shift);
  Call call(operation, {&x, &scale, &shift});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const auto sum = sum_for<T>(call, x, scale, shift);
    const auto y = call.out<T>(x.shape());
    call.run([&] { cuda::merge_forward(call.operation(), call.stream(), sum, y.data()); });
    return call.give(y);
  });
}

py::object batchnorm_forward(const py::object& x, const py::object& scale, const py::object& shift) {
  return scaled("batchnorm_forward", Argument("x", x), scale, shift);
}

py::object batchnorm_gradient(const py::object& x, const py::object& scale, const py::object&, const py::object& G_) {
  const Argument G("G", G_);
  check_shape(G, Argument("x", x).shape());
  return scaled("batchnorm_gradient", G, scale, py::none());
}

py::object batchnorm_tangent(const py::object& x, const py::object& scale, const py::object&, const py::object& dx_) {
  const Argument dx("dx", dx_);
  check_shape(dx, Argument("x", x).shape());
  return scaled("batchnorm_tangent", dx, scale, py::none());
}

py::object batchnorm_relevance(const py::object& x_, const py::object& scale_, const py::object& shift_, const py::object& R_,
                               const py::object& rule, const py::object& z_, const py::object& account) {
  const Argument x("x", x_), scale("scale", scale_), shift = or_none("shift", shift_), R("R", R_), z = or_none("z", z_);
  check_channels(x, scale, shift);
  check_shape(R, x.shape());
  if (z) check_shape(z, x.shape());
  Call call("batchnorm_relevance", {&x, &scale, &shift, &R, &z});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    auto sum = sum_for<T>(call, x, scale, shift);
    const auto made = device_rule<T>(call, rule, x);
    if (std::holds_alternative<math::Pass<T>>(made.rule)) return pass(x, R);
    const T* R_data = call.in<T>(R);
    const DeviceAccount<T> kept(call, account, R, bool(shift));
    const auto r = call.out<T>(x.shape());
    sum.terms[0].r = r.data();
    call.run([&] { cuda::merge_relevance(call.operation(), call.stream(), sum, R_data, made.rule, made.bounds, kept.pointer()); });
    kept.write();
    return call.give(r);
  });
}

}  // namespace

void bind_cuda_batchnorm(py::module_& module) {
  def(module, "batchnorm_forward", &batchnorm_forward);
  def(module, "batchnorm_gradient", &batchnorm_gradient);
  def(module, "batchnorm_tangent", &batchnorm_tangent);
  def(module, "batchnorm_relevance", &batchnorm_relevance);
}
