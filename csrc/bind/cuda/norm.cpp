// Layer, group and local response normalisation, of pyref/layers/norm.py.
#include "cuda/norm.h"

#include "bind/norm.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

// A layer with its input.
struct Norm {
  Argument x, weight, bias;
  NormSize size;

  Norm(const NormKind& kind, const py::object& x_, const py::object& weight_, const py::object& bias_, Index parameter)
      : x("x", x_), weight(or_none("weight", weight_)), bias(or_none("bias", bias_)) {
    const auto geometry = kind(x.object, x.shape(), weight_, bias_, parameter);
    if (weight) check_shape(weight, geometry.of_weight);
    if (bias) check_shape(bias, geometry.of_weight);
    check_sample("x", x.shape());
    size = geometry.size;
  }
};

// What kernel(operation, stream, size, x, weight, eps, the signal called `name`, result) computes.
template <class Kernel>
py::object through(const char* operation, const Norm& norm, const char* name, const py::object& signal_, double eps, Kernel&& kernel) {
  const Argument signal(name, signal_);
  check_shape(signal, norm.x.shape());
  Call call(operation, {&norm.x, &norm.weight, &signal});
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T *x = call.in<T>(norm.x), *weight = call.in<T>(norm.weight), *in = call.in<T>(signal);
    const auto out = call.out<T>(norm.x.shape());
    call.run([&] { kernel(call.operation(), call.stream(), norm.size, x, weight, static_cast<T>(eps), in, out.data()); });
    return call.give(out);
  });
}

// A kernel of x and another array or two, spread to its shape.
template <class Kernel>
py::object of_neighbours(const char* operation, const std::vector<const Argument*>& arguments, Index channels, double alpha, double beta,
                         double k, Kernel&& kernel) {
  const auto shape = arguments[0]->shape();
  const auto size = local_response(shape, channels);
  Call call(operation, arguments);
  return call.with_widest([&](auto zero) {
    using T = decltype(zero);
    const T* in[3] = {};
    for (std::size_t i = 0; i < arguments.size(); ++i) in[i] = call.in<T>(*arguments[i], shape);
    const auto out = call.out<T>(shape);
    const auto f = local_response_of<T>(channels, alpha, beta, k);
    call.run([&] { kernel(call.operation(), call.stream(), size, f, in, out.data()); });
    return call.give(out);
  });
}

struct OnDevice {
  template <const NormKind& kind, class First, class Second>
  static py::object norm_forward(const py::object& x, const py::object& weight, const py::object& bias, First first, Second second) {
    const NormSettings settings(first, second);
    const Norm norm(kind, x, weight, bias, settings.parameter);
    Call call(kind.names[0], {&norm.x, &norm.weight, &norm.bias});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T *x_data = call.in<T>(norm.x), *weight_data = call.in<T>(norm.weight), *bias_data = call.in<T>(norm.bias);
      const auto y = call.out<T>(norm.x.shape());
      call.run([&] {
        cuda::norm_forward(call.operation(), call.stream(), norm.size, x_data, weight_data, bias_data, static_cast<T>(settings.eps),
                           y.data());
      });
      return call.give(y);
    });
  }

  template <const NormKind& kind, class First, class Second>
  static py::object norm_gradient(const py::object& x, const py::object& weight, const py::object& bias, const py::object& G,
                                  First first, Second second) {
    const NormSettings settings(first, second);
    const Norm norm(kind, x, weight, bias, settings.parameter);
    return through(kind.names[1], norm, "G", G, settings.eps, [](auto... of) { cuda::norm_gradient(of...); });
  }

  template <const NormKind& kind, class First, class Second>
  static py::object norm_tangent(const py::object& x, const py::object& weight, const py::object& bias, const py::object& dx,
                                 First first, Second second) {
    const NormSettings settings(first, second);
    const Norm norm(kind, x, weight, bias, settings.parameter);
    return through(kind.names[2], norm, "dx", dx, settings.eps, [](auto... of) { cuda::norm_tangent(of...); });
  }

  template <const NormKind& kind, class First, class Second>
  static py::object norm_relevance(const py::object& x, const py::object& weight, const py::object& bias, const py::object& R_,
                                   const py::object& rule, First first, Second second, const py::object& z_, const py::object& account) {
    const NormSettings settings(first, second);
    const Norm norm(kind, x, weight, bias, settings.parameter);
    const Argument R("R", R_), z = or_none("z", z_);
    check_shape(R, norm.x.shape());
    if (z) check_shape(z, norm.x.shape());
    Call call(kind.names[3], {&norm.x, &norm.weight, &norm.bias, &R, &z});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const auto made = device_rule<T>(call, rule, norm.x);
      if (std::holds_alternative<math::Pass<T>>(made.rule)) return pass(norm.x, R);
      const T *x_data = call.in<T>(norm.x), *weight_data = call.in<T>(norm.weight), *bias_data = call.in<T>(norm.bias);
      const T *R_data = call.in<T>(R), *z_data = call.in<T>(z);
      const DeviceAccount<T> kept(call, account, R, bool(norm.bias));
      const auto r = call.out<T>(norm.x.shape());
      call.run([&] {
        cuda::norm_relevance(call.operation(), call.stream(), norm.size, x_data, weight_data, bias_data, static_cast<T>(settings.eps),
                             R_data, made.rule, made.bounds, z_data, kept.pointer(), r.data());
      });
      kept.write();
      return call.give(r);
    });
  }

  template <const NormKind& kind, class First, class Second>
  static py::object norm_multiplier(const py::object& x, const py::object& x0_, const py::object& weight, const py::object& bias,
                                    const py::object& M_, First first, Second second, const py::object& product_) {
    const NormSettings settings(first, second);
    const Norm norm(kind, x, weight, bias, settings.parameter);
    const Argument M("M", M_), x0("x0", x0_);
    check_shape(M, norm.x.shape());
    check_baseline(norm.x, x0);
    const auto product = choice<math::Product>("product", product_);
    Call call(kind.names[4], {&norm.x, &x0, &norm.weight, &M});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T *x_data = call.in<T>(norm.x), *x0_data = call.in<T>(x0, norm.x.shape()), *weight_data = call.in<T>(norm.weight);
      const T* M_data = call.in<T>(M);
      const auto M_x = call.out<T>(norm.x.shape());
      call.run([&] {
        cuda::norm_multiplier(call.operation(), call.stream(), norm.size, x_data, x0_data, weight_data, static_cast<T>(settings.eps),
                              M_data, product, M_x.data());
      });
      return call.give(M_x);
    });
  }

  static py::object local_response_norm_forward(const py::object& x_, Index size, double alpha, double beta, double k) {
    const Argument x("x", x_);
    return of_neighbours("local_response_norm_forward", {&x}, size, alpha, beta, k,
                         [](const char* operation, cuda::Stream stream, const auto& of, const auto& f, auto in, auto out) {
                           cuda::local_response_norm_forward(operation, stream, of, f, in[0], out);
                         });
  }

  static py::object local_response_norm_gradient(const py::object& x_, const py::object& G_, Index size, double alpha, double beta,
                                                 double k) {
    const Argument x("x", x_), G("G", G_);
    check_shape(G, x.shape());
    return of_neighbours("local_response_norm_gradient", {&x, &G}, size, alpha, beta, k,
                         [](const char* operation, cuda::Stream stream, const auto& of, const auto& f, auto in, auto out) {
                           cuda::local_response_norm_gradient(operation, stream, of, f, in[0], in[1], out);
                         });
  }

  static py::object local_response_norm_tangent(const py::object& x_, const py::object& dx_, Index size, double alpha, double beta,
                                                double k) {
    const Argument x("x", x_), dx("dx", dx_);
    check_shape(dx, x.shape());
    return of_neighbours("local_response_norm_tangent", {&x, &dx}, size, alpha, beta, k,
                         [](const char* operation, cuda::Stream stream, const auto& of, const auto& f, auto in, auto out) {
                           cuda::local_response_norm_tangent(operation, stream, of, f, in[0], in[1], out);
                         });
  }

  static py::object local_response_norm_relevance(const py::object& x, const py::object& R_) {
    const Argument R("R", R_);
    check_shape(R, Argument("x", x).shape());
    return R.object;
  }

  static py::object local_response_norm_multiplier(const py::object& x_, const py::object& x0_, const py::object& M_, Index size,
                                                   double alpha, double beta, double k, const py::object& product_) {
    const Argument x("x", x_), x0("x0", x0_), M("M", M_);
    check_shape(M, x.shape());
    check_baseline(x, x0);
    const auto product = choice<math::Product>("product", product_);
    return of_neighbours("local_response_norm_multiplier", {&x, &x0, &M}, size, alpha, beta, k,
                         [=](const char* operation, cuda::Stream stream, const auto& of, const auto& f, auto in, auto out) {
                           cuda::local_response_norm_multiplier(operation, stream, of, f, in[0], in[1], in[2], product, out);
                         });
  }
};

}  // namespace

void bind_cuda_norm(py::module_& module) { def_norms<OnDevice>(module); }
