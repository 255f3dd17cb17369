#include "relprop/batchnorm.h"

#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

cpu::BatchNormSize batchnorm_size(const py::array& x, const py::array& scale, const std::optional<py::array>& shift) {
  cpu::BatchNormSize size{x.ndim() > 0 ? x.shape(0) : 1, x.ndim() > 1 ? x.shape(1) : 1, 1};
  for (int d = 2; d < x.ndim(); ++d) size.positions *= x.shape(d);
  const auto channels = x.ndim() > 1 ? std::vector<Index>{size.channels} : std::vector<Index>{};
  check_shape("scale", scale, channels);
  if (shift) check_shape("shift", *shift, channels);
  return size;
}

// y of x, or of a signal that takes its place.
py::object scaled(const py::array& x, const py::object& scale_, const py::object& shift_) {
  const auto scale = floats("scale", scale_);
  const auto shift = floats_or_none("shift", shift_);
  const auto size = batchnorm_size(x, scale, shift);
  return with_widest({x, scale, shift.value_or(x)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> x_data(x), scale_data(scale);
    const auto shift_data = packed<T>(shift);
    auto y = empty<T>(shape_of(x));
    T* out = y.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::batchnorm_forward(size, x_data.data(), scale_data.data(), pointer(shift_data), out);
    }
    return y;
  });
}

py::object batchnorm_forward(const py::object& x, const py::object& scale, const py::object& shift) {
  return scaled(floats("x", x), scale, shift);
}

py::object batchnorm_gradient(const py::object& x, const py::object& scale, const py::object&, const py::object& G_) {
  const auto G = floats("G", G_);
  check_shape("G", G, shape_of(floats("x", x)));
  return scaled(G, scale, py::none());
}

py::object batchnorm_tangent(const py::object& x, const py::object& scale, const py::object&, const py::object& dx_) {
  const auto dx = floats("dx", dx_);
  check_shape("dx", dx, shape_of(floats("x", x)));
  return scaled(dx, scale, py::none());
}

py::object batchnorm_relevance(const py::object& x_, const py::object& scale_, const py::object& shift_, const py::object& R_,
                               const py::object& rule, const py::object& z_, const py::object& account) {
  const auto x = floats("x", x_), scale = floats("scale", scale_), R = floats("R", R_);
  const auto shift = floats_or_none("shift", shift_), z = floats_or_none("z", z_);
  const auto size = batchnorm_size(x, scale, shift);
  check_shape("R", R, shape_of(x));
  if (z) check_shape("z", *z, shape_of(R));
  return with_widest({x, scale, R, shift.value_or(x), z.value_or(x)}, [&](auto zero) -> py::object {
    using T = decltype(zero);
    const Packed<T> x_data(x), scale_data(scale), R_data(R);
    const auto shift_data = packed<T>(shift), z_data = packed<T>(z);
    const auto rule_data = rule_for<T>(rule, x_data);
    if (std::holds_alternative<math::Pass<T>>(rule_data.rule)) return pass(x, R_data);
    const AccountFor<T> kept(account, R, shift.has_value());
    auto r = empty<T>(shape_of(x));
    T* out = r.mutable_data();
    {
      py::gil_scoped_release release;
      cpu::batchnorm_relevance(size, x_data.data(), scale_data.data(), pointer(shift_data), R_data.data(), rule_data.rule,
                               rule_data.bounds, pointer(z_data), kept.pointer(), out);
    }
    kept.write();
    return r;
  });
}

}  // namespace

void bind_batchnorm(py::module_& cpu) {
  def(cpu, "batchnorm_forward", &batchnorm_forward);
  def(cpu, "batchnorm_gradient", &batchnorm_gradient);
  def(cpu, "batchnorm_tangent", &batchnorm_tangent);
  def(cpu, "batchnorm_relevance", &batchnorm_relevance);
}
