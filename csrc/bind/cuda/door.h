// The door of the CUDA kernels: each argument is checked on one line, in pyref's words, and becomes a pointer to device
// memory. Arguments in host memory are copied there, and results come back to where the arguments are.
#pragma once

#include <optional>

#include "array.h"
#include "bind/door.h"
#include "cuda/shape.h"

namespace relprop::bind {

// One argument: an array in host memory, one in device memory, or None.
struct Argument {
  const char* name;
  py::object object;
  std::optional<py::array> host;
  std::optional<DeviceArray> device;
  std::optional<std::vector<Index>> spread = std::nullopt;  // the shape that kernels see, to which it broadcasts

  Argument(const char* name, const py::object& x, bool may_be_none = false);
  static Argument of_integers(const char* name, const py::object& x);
  explicit operator bool() const { return host || device; }
  std::vector<Index> shape() const;
  Index ndim() const { return static_cast<Index>(shape().size()); }
  bool is_double() const;
};

inline Argument or_none(const char* name, const py::object& x) { return Argument(name, x, true); }

// Its numbers as a NumPy array.
py::array on_host(const Argument& x);

// Raises unless the argument has the expected shape, in pyref.check's words.
inline void check_shape(const Argument& x, const std::vector<Index>& expected) { check_shape(x.name, x.shape(), expected); }

inline std::vector<Index> shape_of(const Argument& x) { return x.shape(); }
inline std::vector<Index> shape_of(const Argument* x) { return x->shape(); }

// Raises unless an int counts the elements of a sample of an array with this shape, as kernels do.
void check_sample(const char* name, const std::vector<Index>& shape);

// An array in C order.
cuda::Layout layout_of(const std::vector<Index>& shape);

// A result of a call.
template <class T>
struct Output {
  DeviceArray array;
  T* data() const { return static_cast<T*>(array.data); }
};

// What one call is given: all of it in host memory, or all on one device, which is the current one until it ends.
class Call {
 public:
  Call(const char* operation, const std::vector<const Argument*>& arguments);

  const char* operation() const { return operation_; }
  cuda::Stream stream() const { return stream_; }
  bool is_on_device() const { return on_device_; }

  // Calls f(T{}) with the widest type among the arguments, as NumPy promotes.
  template <class F>
  py::object with_widest(F&& f) {
    if (is_double_) return f(double{});
    return f(float{});
  }

  // The argument's numbers in C order, spread to a shape that it broadcasts to; null for None.
  template <class T>
  const T* in(const Argument& x, const std::vector<Index>& shape) {
    return x ? static_cast<const T*>(packed(present(x, 'f', sizeof(T)), 'f', sizeof(T), shape).data) : nullptr;
  }
  template <class T>
  const T* in(const Argument& x) {
    return in<T>(x, x.shape());
  }

  // The same of integers; what is beyond their range becomes negative.
  const Index* in_integers(const Argument& x) { return static_cast<const Index*>(packed(present(x, 'i', sizeof(Index)), 'i', sizeof(Index), x.shape()).data); }

  // The argument in device memory, in C order; or where only its last axis has no gaps, then without a copy if it has none.
  template <class T>
  DeviceArray packed(const Argument& x) {
    return packed<T>(x, x.shape());
  }
  template <class T>
  DeviceArray packed(const Argument& x, const std::vector<Index>& shape) {
    return packed(present(x, 'f', sizeof(T)), 'f', sizeof(T), shape);
  }
  template <class T>
  DeviceArray rows(const Argument& x) {
    const DeviceArray given = present(x, 'f', sizeof(T));
    if (given.width == sizeof(T) && (given.strides.back() == 1 || given.shape.back() <= 1)) return given;
    return packed(given, 'f', sizeof(T), x.shape());
  }

  // Room for a result, and the result where the caller wants it.
  template <class T>
  Output<T> out(const std::vector<Index>& shape) {
    return {new_array(operation_, 'f', sizeof(T), shape)};
  }
  template <class T>
  py::object give(const Output<T>& result) {
    return on_device_ ? py::cast(result.array) : py::object(to_host(result.array));
  }

  // The adjoint of spreading: a signal summed to the shape of what was spread.
  template <class T>
  Output<T> gathered(const T* signal, const std::vector<Index>& from, const std::vector<Index>& to) {
    const auto sum = out<T>(to);
    cuda::gather(operation_, stream_, layout_of(from), signal, to.data(), sum.data());
    return sum;
  }
  template <class T>
  Output<T> gathered(const Output<T>& signal, const std::vector<Index>& to) {
    if (signal.array.shape == to) return signal;
    held_.push_back(signal.array);
    return gathered(signal.data(), signal.array.shape, to);
  }

  // Keeps what kernels still read.
  void hold(const DeviceArray& array) { held_.push_back(array); }
  template <class T>
  void clear(T* numbers, Index count) const {
    cuda::clear(operation_, numbers, sizeof(T) * static_cast<std::size_t>(count), stream_);
  }

  // Runs the schedule without the GIL.
  template <class F>
  void run(F&& f) {
    const py::gil_scoped_release release;
    f();
    if (must_wait_) cuda::synchronize(operation_, stream_);
  }

 private:
  DeviceArray present(const Argument& x, char kind, int width);
  DeviceArray packed(const DeviceArray& given, char kind, int width, const std::vector<Index>& shape);

  const char* operation_;
  bool on_device_ = false, is_double_ = false;
  bool must_wait_ = false;  // memory is read that may be gone after the call
  cuda::OnDevice device_;
  cuda::Stream stream_;
  std::vector<DeviceArray> held_;
  struct Copy {
    py::object of;  // held, so that no other object is taken for it
    DeviceArray there;
  };
  std::vector<Copy> copies_;
};

// A rule for a layer whose input is x, spread to a shape as `data`, with the bounds of a box as arrays in device memory.
template <class T>
struct DeviceRule {
  AnyRule<T> rule;
  Bounds<T> bounds;
};
template <class T>
DeviceRule<T> device_rule(Call& call, const py::object& rule, const Argument& x, const T* data, const std::vector<Index>& shape);
template <class T>
DeviceRule<T> device_rule(Call& call, const py::object& rule, const Argument& x) {
  return device_rule(call, rule, x, call.in<T>(x), x.shape());
}

// Pass: R itself where it has the shape of the one input x.
py::object pass(const Argument& x, const Argument& R);

// As InHostMemory is to a door there; f and kernels run on a Call.
struct InDeviceMemory {
  using Array = Argument;
  static Array array(const char* name, const py::object& x) { return {name, x}; }
  static Array array(const char* name, const py::object& x, const std::vector<Index>& shape) {
    Argument given(name, x);
    check_shape(given, shape);
    return given;
  }
  static Array or_none(const char* name, const py::object& x) { return {name, x, true}; }
  static Array or_none(const char* name, const py::object& x, const std::vector<Index>& shape) {
    return x.is_none() ? or_none(name, x) : array(name, x, shape);
  }
  static Array nothing() { return or_none("", py::none()); }
  static py::array on_host(const Array& x) { return bind::on_host(x); }
  static Array spread(Array x, const std::vector<Index>& shape) {
    x.spread = shape;
    return x;
  }
  static void check_sample(const char* name, const std::vector<Index>& shape) { bind::check_sample(name, shape); }
  static void check_compiled(bool is_compiled, const char* what, std::size_t axes) {
    if (!is_compiled) throw std::runtime_error(std::string(what) + " over " + std::to_string(axes) + " axes has no CUDA kernel");
  }

  template <Repeats = Repeats::yes, class F>
  static std::vector<py::object> filled(const char* operation, const std::vector<const Array*>& arrays,
                                        const std::vector<std::vector<Index>>& shapes, const F& f) {
    std::vector<py::object> all;
    Call call(operation, arrays);
    call.with_widest([&](auto zero) -> py::object {
      using T = decltype(zero);
      std::vector<const T*> from;
      std::vector<Output<T>> made;
      std::vector<T*> to;
      for (const Array* a : arrays) from.push_back(call.in<T>(*a));
      for (const auto& shape : shapes) to.push_back(made.emplace_back(call.out<T>(shape)).data());
      call.run([&] { f(call, from.data(), to.data()); });
      for (const auto& one : made) all.push_back(call.give(one));
      return py::none();
    });
    return all;
  }

  template <class Kernel>
  static py::object relevance(const char* operation, const Array& x, const Array& w, const Array& b, const std::vector<Index>& z_shape,
                              const Arriving& given, const Kernel& kernel) {
    const Array R = array("R", given.R, z_shape), z = or_none("z", given.z, z_shape);
    Call call(operation, {&x, &w, &b, &R, &z});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const auto made = device_rule<T>(call, given.rule, x);
      if (std::holds_alternative<math::Pass<T>>(made.rule)) return pass(x, R);
      const T *x_data = call.in<T>(x), *w_data = call.in<T>(w), *b_data = call.in<T>(b), *R_data = call.in<T>(R), *z_data = call.in<T>(z);
      const AccountIn<T, Call> kept(call, given.account, R.shape(), bool(b));
      const auto r = call.out<T>(x.shape());
      call.run([&] { kernel(call, x_data, w_data, b_data, R_data, made.rule, made.bounds, z_data, kept.pointer(), r.data()); });
      kept.write();
      return call.give(r);
    });
  }

  // A signal summed to the shape of what was spread to its own.
  static py::object gathered(const char* operation, const py::object& signal, const std::vector<Index>& shape) {
    const Argument u("signal", signal);
    if (u.shape() == shape) return signal;
    Call call(operation, {&u});
    return call.with_widest([&](auto zero) {
      using T = decltype(zero);
      const T* data = call.in<T>(u);
      return call.give(call.gathered(data, u.shape(), shape));
    });
  }
};

// A kernel of relprop::cuda as a member of a door.
#define RELPROP_CUDA_KERNEL(name) \
  static constexpr auto name = [](const Call& on, const auto&... of) { return cuda::name(on.operation(), on.stream(), of...); };

}  // namespace relprop::bind
