// Layer, group and local response normalisation, of pyref/layers/norm.py.
#include "norm.h"

#include <algorithm>

using namespace relprop;
using namespace relprop::bind;

namespace {

// A layer with its input; ones where it has no weight.
struct Norm {
  py::array x, weight;
  std::optional<py::array> bias;
  NormSize size;
};

Norm norm_of(const NormKind& kind, const py::object& x_, const py::object& weight_, const py::object& bias_, Index parameter) {
  const auto x = floats("x", x_);
  const auto given = floats_or_none("weight", weight_), bias = floats_or_none("bias", bias_);
  const auto geometry = kind(x, shape_of(x), weight_, bias_, parameter);
  if (given) check_shape("weight", *given, geometry.of_weight);
  if (bias) check_shape("bias", *bias, geometry.of_weight);
  if (given) return {x, *given, bias, geometry.size};
  auto ones = empty<float>(geometry.of_weight);
  std::fill_n(ones.mutable_data(), ones.size(), float{1});
  return {x, ones, bias, geometry.size};
}

// The baseline in the shape of x; pyref's answer is `otherwise` where it does not broadcast to that.
std::optional<py::array> baseline_of(const py::array& x, const py::object& x0_) {
  const auto x0 = floats("x0", x0_);
  if (shape_of(x0) == shape_of(x)) return x0;
  auto one_sample = shape_of(x);
  one_sample[0] = 1;
  if (shape_of(x0) != one_sample) return std::nullopt;
  return py::module_::import("numpy").attr("broadcast_to")(x0, x.attr("shape")).cast<py::array>();
}

// ---- local response normalisation ----

// A kernel of x and another array or two.
template <class Kernel>
py::object of_neighbours(const std::vector<py::array>& arrays, Index channels, double alpha, double beta, double k, Kernel&& kernel) {
  const auto shape = shape_of(arrays[0]);
  const auto size = local_response(shape, channels);
  return filled(arrays, {shape}, [&](auto in, auto out) {
    using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
    kernel(size, local_response_of<T>(channels, alpha, beta, k), in, out[0]);
  })[0];
}

// What kernel(size, x, weight, eps, the signal called `name`, result) computes.
template <class Kernel>
py::object through(const Norm& norm, const char* name, const py::object& signal_, double eps, Kernel&& kernel) {
  const auto signal = floats(name, signal_);
  check_shape(name, signal, shape_of(norm.x));
  return filled({norm.x, norm.weight, signal}, {shape_of(norm.x)}, [&](auto in, auto out) {
    using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
    kernel(norm.size, in[0], in[1], static_cast<T>(eps), in[2], out[0]);
  })[0];
}

struct Host {
  template <const NormKind& kind, class First, class Second>
  static py::object norm_forward(const py::object& x, const py::object& weight, const py::object& bias, First first, Second second) {
    const NormSettings settings(first, second);
    const auto norm = norm_of(kind, x, weight, bias, settings.parameter);
    return filled({norm.x, norm.weight, norm.bias.value_or(norm.weight)}, {shape_of(norm.x)}, [&](auto in, auto out) {
      using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
      cpu::norm_forward(norm.size, in[0], in[1], norm.bias ? in[2] : nullptr, static_cast<T>(settings.eps), out[0]);
    })[0];
  }

  template <const NormKind& kind, class First, class Second>
  static py::object norm_gradient(const py::object& x, const py::object& weight, const py::object& bias, const py::object& G,
                                  First first, Second second) {
    const NormSettings settings(first, second);
    return through(norm_of(kind, x, weight, bias, settings.parameter), "G", G, settings.eps, [](auto... of) { cpu::norm_gradient(of...); });
  }

  template <const NormKind& kind, class First, class Second>
  static py::object norm_tangent(const py::object& x, const py::object& weight, const py::object& bias, const py::object& dx,
                                 First first, Second second) {
    const NormSettings settings(first, second);
    return through(norm_of(kind, x, weight, bias, settings.parameter), "dx", dx, settings.eps, [](auto... of) { cpu::norm_tangent(of...); });
  }

  template <const NormKind& kind, class First, class Second>
  static py::object norm_relevance(const py::object& x_, const py::object& weight, const py::object& bias, const py::object& R_,
                            const py::object& rule, First first, Second second, const py::object& z_, const py::object& account) {
    const NormSettings settings(first, second);
    const auto norm = norm_of(kind, x_, weight, bias, settings.parameter);
    const auto& x = norm.x;
    const auto R = floats("R", R_);
    const auto z = floats_or_none("z", z_);
    check_shape("R", R, shape_of(x));
    if (z) check_shape("z", *z, shape_of(x));
    return with_widest({x, norm.weight, norm.bias.value_or(x), R, z.value_or(x)}, [&](auto zero) -> py::object {
      using T = decltype(zero);
      const Packed<T> x_data(x), weight_data(norm.weight), R_data(R);
      const auto bias_data = packed<T>(norm.bias), z_data = packed<T>(z);
      const auto rule_data = rule_for<T>(rule, x_data);
      if (std::holds_alternative<math::Pass<T>>(rule_data.rule)) return pass(x, R_data);
      const AccountFor<T> kept(account, R, norm.bias.has_value());
      auto r = empty<T>(shape_of(x));
      T* out = r.mutable_data();
      {
        py::gil_scoped_release release;
        cpu::norm_relevance(norm.size, x_data.data(), weight_data.data(), pointer(bias_data), static_cast<T>(settings.eps), R_data.data(),
                            rule_data.rule, rule_data.bounds, pointer(z_data), kept.pointer(), out);
      }
      kept.write();
      return r;
    });
  }

  template <const NormKind& kind, class First, class Second>
  static py::object norm_multiplier(const py::object& x, const py::object& x0_, const py::object& weight, const py::object& bias,
                             const py::object& M_, First first, Second second, const py::object& product_) {
    const NormSettings settings(first, second);
    const auto norm = norm_of(kind, x, weight, bias, settings.parameter);
    const auto M = floats("M", M_);
    check_shape("M", M, shape_of(norm.x));
    const auto x0 = baseline_of(norm.x, x0_);
    if (!x0) {
      return reference(kind.names[4], x, x0_, weight, bias, M, first, second, product_);
    }
    const auto product = choice<math::Product>("product", product_);
    return filled({norm.x, *x0, norm.weight, M}, {shape_of(norm.x)}, [&](auto in, auto out) {
      using T = std::remove_pointer_t<std::decay_t<decltype(out[0])>>;
      cpu::norm_multiplier(norm.size, in[0], in[1], in[2], static_cast<T>(settings.eps), in[3], product, out[0]);
    })[0];
  }

  static py::object local_response_norm_forward(const py::object& x, Index size, double alpha, double beta, double k) {
    return of_neighbours({floats("x", x)}, size, alpha, beta, k,
                         [](const auto& of, const auto& f, auto in, auto out) { cpu::local_response_norm_forward(of, f, in[0], out); });
  }

  static py::object local_response_norm_gradient(const py::object& x_, const py::object& G_, Index size, double alpha, double beta, double k) {
    const auto x = floats("x", x_), G = floats("G", G_);
    check_shape("G", G, shape_of(x));
    return of_neighbours({x, G}, size, alpha, beta, k, [](const auto& of, const auto& f, auto in, auto out) {
      cpu::local_response_norm_gradient(of, f, in[0], in[1], out);
    });
  }

  static py::object local_response_norm_tangent(const py::object& x_, const py::object& dx_, Index size, double alpha, double beta, double k) {
    const auto x = floats("x", x_), dx = floats("dx", dx_);
    check_shape("dx", dx, shape_of(x));
    return of_neighbours({x, dx}, size, alpha, beta, k, [](const auto& of, const auto& f, auto in, auto out) {
      cpu::local_response_norm_tangent(of, f, in[0], in[1], out);
    });
  }

  static py::object local_response_norm_relevance(const py::object& x, const py::object& R_) {
    const auto R = floats("R", R_);
    check_shape("R", R, shape_of(floats("x", x)));
    return R;
  }

  static py::object local_response_norm_multiplier(const py::object& x_, const py::object& x0_, const py::object& M_, Index size, double alpha,
                                            double beta, double k, const py::object& product_) {
    const auto x = floats("x", x_), M = floats("M", M_);
    check_shape("M", M, shape_of(x));
    const auto x0 = baseline_of(x, x0_);
    if (!x0) return reference("local_response_norm_multiplier", x, x0_, M, size, alpha, beta, k, product_);
    const auto product = choice<math::Product>("product", product_);
    return of_neighbours({x, *x0, M}, size, alpha, beta, k, [&](const auto& of, const auto& f, auto in, auto out) {
      cpu::local_response_norm_multiplier(of, f, in[0], in[1], in[2], product, out);
    });
  }
};

}  // namespace

void bind_norm(py::module_& cpu) { def_norms<Host>(cpu); }
