#include "upsample.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// The geometry in one dtype, as the kernels take it.
template <class T>
class SizeFor {
 public:
  SizeFor(const std::vector<Index>& x, const UpsampleGeometry& geometry) {
    for (const auto& taps : geometry.there) there_.push_back(of(taps));
    for (const auto& taps : geometry.back) back_.push_back(of(taps));
    size_ = {x[0], x[1], static_cast<int>(there_.size()), there_.data(), back_.data()};
  }
  SizeFor(const SizeFor&) = delete;
  const UpsampleSize<T>& size() const { return size_; }

 private:
  Taps<T> of(const TapsOf& taps) {
    weights_.emplace_back(taps.weight.begin(), taps.weight.end());
    return {taps.length, taps.count, taps.begin.data(), taps.from.data(), weights_.back().data()};
  }

  std::vector<std::vector<T>> weights_;
  std::vector<Taps<T>> there_, back_;
  UpsampleSize<T> size_;
};

struct Host {
  static py::object forward(const py::object& x_, const py::object& size, const py::object& mode, const py::object& align_corners) {
    const auto x = floats("x", x_);
    const auto geometry = upsample_geometry(x, size, mode, align_corners);
    return filled({x}, {upsampled_shape(shape_of(x), *geometry)}, [&](auto in, auto out) {
      using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
      const SizeFor<T> of(shape_of(x), *geometry);
      cpu::upsample_forward(of.size(), in[0], out[0]);
    })[0];
  }

  static py::object gradient(const py::object& x_, const py::object& size, const py::object& G_, const py::object& mode,
                             const py::object& align_corners) {
    const auto x = floats("x", x_), G = floats("G", G_);
    const auto geometry = upsample_geometry(x, size, mode, align_corners);
    check_shape("G", G, upsampled_shape(shape_of(x), *geometry));
    return filled({G, x}, {shape_of(x)}, [&](auto in, auto out) {
      using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
      const SizeFor<T> of(shape_of(x), *geometry);
      cpu::upsample_gradient(of.size(), in[0], out[0]);
    })[0];
  }

  static py::object tangent(const py::object& x, const py::object& size, const py::object& dx_, const py::object& mode,
                            const py::object& align_corners) {
    const auto dx = floats("dx", dx_);
    check_shape("dx", dx, shape_of(floats("x", x)));
    return forward(dx, size, mode, align_corners);
  }

  static py::object relevance(const py::object& x_, const py::object& size, const py::object& R_, const py::object& rule,
                              const py::object& z_, const py::object& mode, const py::object& align_corners, const py::object& account) {
    const auto x = floats("x", x_), R = floats("R", R_);
    const auto z = floats_or_none("z", z_);
    const auto geometry = upsample_geometry(x, size, mode, align_corners);
    check_shape("R", R, upsampled_shape(shape_of(x), *geometry));
    if (z) check_shape("z", *z, shape_of(R));
    return with_widest({x, R, z.value_or(x)}, [&](auto zero) -> py::object {
      using T = decltype(zero);
      const Packed<T> x_data(x), R_data(R);
      const auto z_data = packed<T>(z);
      const auto rule_data = rule_for<T>(rule, x_data);
      if (std::holds_alternative<math::Pass<T>>(rule_data.rule)) return pass(x, R_data);
      const AccountFor<T> kept(account, R, false);
      const SizeFor<T> of(shape_of(x), *geometry);
      auto r = empty<T>(shape_of(x));
      T* out = r.mutable_data();
      {
        py::gil_scoped_release release;
        cpu::upsample_relevance(of.size(), x_data.data(), R_data.data(), rule_data.rule, rule_data.bounds, pointer(z_data),
                                kept.pointer(), out);
      }
      kept.write();
      return r;
    });
  }
};

}  // namespace

void bind_upsample(py::module_& cpu) { def_upsample<Host>(cpu); }
