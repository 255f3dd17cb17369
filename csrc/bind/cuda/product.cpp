// Products and quotients of two inputs, of pyref/layers/merge.py.
#include "bind/broadcast.h"
#include "cuda/merge.h"
#include "door.h"

using namespace relprop;
using namespace relprop::bind;

namespace {

using Shape = std::vector<Index>;

std::vector<const Argument*> all_of(std::initializer_list<const std::vector<Argument>*> pairs, const Argument* other = nullptr) {
  std::vector<const Argument*> all;
  for (const auto* pair : pairs)
    for (const Argument& x : *pair) all.push_back(&x);
  if (other) all.push_back(other);
  return all;
}

// A signal for each input, summed to its shape.
template <class T>
py::tuple give_two(Call& call, const Output<T>& first, const Output<T>& second, const std::vector<Argument>& x) {
  return py::make_tuple(call.give(call.gathered(first, x[0].shape())), call.give(call.gathered(second, x[1].shape())));
}

// The function of x that a kernel of (x_0, x_1, y) is.
template <class Kernel>
auto forward_by(const char* name, Kernel kernel) {
  return [name, kernel](const py::object& x_) {
    const auto x = two<InDeviceMemory>("x", x_);
    const auto all = all_of({&x});
    const auto shape = joint_shape(all);
    Call call(name, all);
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T *p = call.in<T>(x[0], shape), *q = call.in<T>(x[1], shape);
      const auto y = call.out<T>(shape);
      call.run([&] { kernel(name, call.stream(), elements(shape), p, q, y.data()); });
      return call.give(y);
    });
  };
}

// The function of x and G that a kernel of (x_0, x_1, G, G_0, G_1) is.
template <class Kernel>
auto gradient_by(const char* name, Kernel kernel) {
  return [name, kernel](const py::object& x_, const py::object& G_) {
    const auto x = two<InDeviceMemory>("x", x_);
    const Argument G("G", G_);
    const auto shape = joint_shape(all_of({&x}));
    check_shape(G, shape);
    Call call(name, all_of({&x}, &G));
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T *p = call.in<T>(x[0], shape), *q = call.in<T>(x[1], shape), *signal = call.in<T>(G);
      const auto G_p = call.out<T>(shape), G_q = call.out<T>(shape);
      call.run([&] { kernel(name, call.stream(), elements(shape), p, q, signal, G_p.data(), G_q.data()); });
      return give_two(call, G_p, G_q, x);
    });
  };
}

// The function of x and dx that a kernel of (x_0, x_1, dx_0, dx_1, dy) is.
template <class Kernel>
auto tangent_by(const char* name, Kernel kernel) {
  return [name, kernel](const py::object& x_, const py::object& dx_) {
    const auto x = two<InDeviceMemory>("x", x_), dx = two<InDeviceMemory>("dx", dx_);
    const auto all = all_of({&x, &dx});
    const auto shape = joint_shape(all);
    Call call(name, all);
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T *p = call.in<T>(x[0], shape), *q = call.in<T>(x[1], shape), *dp = call.in<T>(dx[0], shape), *dq = call.in<T>(dx[1], shape);
      const auto dy = call.out<T>(shape);
      call.run([&] { kernel(name, call.stream(), elements(shape), p, q, dp, dq, dy.data()); });
      return call.give(dy);
    });
  };
}

// 1 / q where a quotient is a product of two factors.
template <class T>
Output<T> reciprocal(Call& call, const T* q, const Shape& shape) {
  const auto y = call.out<T>(shape);
  call.run([&] { cuda::divide_reciprocal(call.operation(), call.stream(), elements(shape), q, y.data()); });
  return y;
}

// x[signal] is the signal, the other one the gate; of a quotient x_1 is read as 1 / x_1.
template <bool divides>
py::object relevance(const py::object& x_, const py::object& R_, const py::object& gate_, int signal, const py::object& account) {
  const auto x = two<InDeviceMemory>("x", x_);
  const Argument R("R", R_);
  const auto shape = joint_shape(all_of({&x}));
  check_shape(R, shape);
  const auto gate = choice<math::Gate>("gate", gate_);
  const bool drops = !account.is_none() && (gate == math::Gate::prop || gate == math::Gate::abs);
  const Index samples = shape.empty() ? 1 : shape[0];
  Call call(divides ? "divide_relevance" : "multiply_relevance", all_of({&x}, &R));
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const T *x_0 = call.in<T>(x[0], shape), *x_1 = call.in<T>(x[1], shape), *R_data = call.in<T>(R);
    const auto inverse = divides ? reciprocal(call, x_1, shape) : Output<T>{};
    if (divides) x_1 = inverse.data();
    const auto of_gate = call.out<T>(shape), of_signal = call.out<T>(shape), dropped = call.out<T>({drops ? samples : 0});
    call.run([&] {
      cuda::multiply_relevance(call.operation(), call.stream(), samples, elements(shape, 1), signal == 0 ? x_1 : x_0,
                               signal == 0 ? x_0 : x_1, R_data, gate, dropped.data(), of_gate.data(), of_signal.data());
    });
    if (drops) {
      const auto by_stabilizer = call.out<T>({samples});
      cuda::clear(call.operation(), by_stabilizer.data(), sizeof(T) * static_cast<std::size_t>(samples), call.stream());
      account.attr("add_kept")(call.give(by_stabilizer), call.give(dropped));
    }
    return signal == 0 ? give_two(call, of_signal, of_gate, x) : give_two(call, of_gate, of_signal, x);
  });
}

template <bool divides>
py::object multiplier(const py::object& x_, const py::object& x0_, const py::object& M_, const py::object& product_) {
  const auto x = two<InDeviceMemory>("x", x_), x0 = two<InDeviceMemory>("x0", x0_);
  const auto product = choice<math::Product>("product", product_);
  const Argument M("M", M_);
  const auto all = all_of({&x, &x0}, &M);
  const auto shape = shape_by(py::module_::import("numpy").attr("broadcast_shapes"), all);  // one baseline for all samples
  Call call(divides ? "divide_multiplier" : "multiply_multiplier", all);
  return call.with_widest([&](auto zero) -> py::object {
    using T = decltype(zero);
    const T *p = call.in<T>(x[0], shape), *q = call.in<T>(x[1], shape), *p0 = call.in<T>(x0[0], shape), *q0 = call.in<T>(x0[1], shape);
    const T* M_data = call.in<T>(M, shape);
    const auto inverse = divides ? reciprocal(call, q, shape) : Output<T>{}, inverse0 = divides ? reciprocal(call, q0, shape) : Output<T>{};
    const T *of_q = divides ? inverse.data() : q, *of_q0 = divides ? inverse0.data() : q0;
    const auto M_p = call.out<T>(shape), M_q = call.out<T>(shape);
    call.run([&] {
      cuda::multiply_multiplier(call.operation(), call.stream(), elements(shape), p, of_q, p0, of_q0, M_data, product, M_p.data(),
                                M_q.data());
      if (divides) cuda::divide_multiplier(call.operation(), call.stream(), elements(shape), M_q.data(), q, q0, M_q.data());
    });
    return give_two(call, M_p, M_q, x);
  });
}

// The kernels, whichever the dtype.
#define RELPROP_KERNEL(name) [](auto... of) { cuda::name(of...); }

}  // namespace

void bind_cuda_product(py::module_& module) {
  def(module, "multiply_forward", forward_by("multiply_forward", RELPROP_KERNEL(multiply_forward)));
  def(module, "multiply_gradient", gradient_by("multiply_gradient", RELPROP_KERNEL(multiply_gradient)));
  def(module, "multiply_tangent", tangent_by("multiply_tangent", RELPROP_KERNEL(multiply_tangent)));
  def(module, "multiply_relevance", &relevance<false>);
  def(module, "multiply_multiplier", &multiplier<false>);
  def(module, "divide_forward", forward_by("divide_forward", RELPROP_KERNEL(divide_forward)));
  def(module, "divide_gradient", gradient_by("divide_gradient", RELPROP_KERNEL(divide_gradient)));
  def(module, "divide_tangent", tangent_by("divide_tangent", RELPROP_KERNEL(divide_tangent)));
  def(module, "divide_relevance", &relevance<true>);
  def(module, "divide_multiplier", &multiplier<true>);
}
