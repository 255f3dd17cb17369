// The door of LSTM and GRU on the device: their arguments, and the records of their forward passes.
#pragma once

#include <pybind11/stl.h>

#include "cuda/merge.h"
#include "cuda/recurrent.h"
#include "cuda/z_box.h"
#include "door.h"
#include "math/recurrent.h"

namespace relprop::bind {

inline py::object pyref_recurrent() { return py::module_::import("pyref.layers.recurrent"); }

// x, w_x, w_h, b and lengths; raises pyref's words where they do not fit a layer with that many gates.
struct RecurrentArguments {
  RecurrentArguments(const py::object& x_, const py::object& w_x_, const py::object& w_h_, const py::object& b_,
                     const py::object& lengths_, Index gates)
      : x("x", x_), w_x("w_x", w_x_), w_h("w_h", w_h_), b(or_none("b", b_)) {
    const auto at_x = x.shape(), at_w_x = w_x.shape(), at_w_h = w_h.shape();
    const bool fits = at_x.size() == 3 && at_w_h.size() == 2 && at_w_x.size() == 2 && at_w_h[1] == gates * at_w_h[0] &&
                      at_w_x[0] == at_x[2] && at_w_x[1] == at_w_h[1] && at_x[1] > 0 &&
                      (!b || b.shape() == std::vector<Index>{at_w_h[1]});
    py::object given = lengths_;
    if (!given.is_none() && is_on_device(given)) given = to_host(device_array("lengths", given));
    if (!fits || !given.is_none())
      pyref_recurrent().attr("check_parameters")(x_, w_x_, w_h_, b_, given, py::int_(gates));
    if (!given.is_none()) lengths = py::cast<py::array_t<Index, py::array::c_style | py::array::forcecast>>(given);
    check_sample("x", {1, at_x[2]});
    check_sample("z", {1, at_w_h[1]});
    size = {at_x[0], at_x[1], at_x[2], at_w_h[0]};
  }

  // With lengths in device memory.
  cuda::Time time(const Call& call, bool reverse) {
    if (lengths && !on_device.data) {
      on_device = new_array(call.operation(), 'i', sizeof(Index), {size.samples});
      cuda::upload(call.operation(), on_device.data, lengths->data(), static_cast<std::size_t>(lengths->nbytes()), call.stream());
    }
    return {reverse, lengths ? static_cast<const Index*>(on_device.data) : nullptr};
  }

  // A sequence with zeros where it is padding, in C order.
  template <class T>
  DeviceArray masked(Call& call, const Argument& v) {
    const auto given = call.packed<T>(v, {size.samples, size.steps, size.inputs});
    if (!lengths) return given;
    const auto made = call.out<T>(given.shape);
    const auto at = time(call, false);
    call.run([&] {
      cuda::mask_padding(call.operation(), call.stream(), size, size.inputs, at.lengths, static_cast<const T*>(given.data), made.data());
    });
    return made.array;
  }

  template <class T>
  cuda::RecurrentWeights<T> weights(Call& call) const {
    return {call.in<T>(w_x), call.in<T>(w_h), call.in<T>(b)};
  }

  Argument x, w_x, w_h, b;
  std::optional<py::array_t<Index, py::array::c_style | py::array::forcecast>> lengths;
  DeviceArray on_device;  // lengths
  cuda::RecurrentSize size;
};

// A state before the first step, or None for zeros.
inline Argument initial(const char* name, const py::object& state, const cuda::RecurrentSize& size) {
  const Argument given = or_none(name, state);
  if (given) check_shape(given, {size.samples, size.width});
  return given;
}

// A baseline's sizes: those of x, or one sample that all share; raises pyref's words for any other.
inline cuda::RecurrentSize size_of_baseline(const RecurrentArguments& given, const Argument& x0) {
  auto size = given.size, one = size;
  one.samples = 1;
  if (x0.shape() == std::vector<Index>{1, size.steps, size.inputs}) return one;
  check_shape(x0, given.x.shape());
  return size;
}

// The signal at the outputs, and that at the last state.
struct SignalArguments {
  SignalArguments(const char* name, const py::object& S_, const char* last_name, const py::object& last_, const cuda::RecurrentSize& size)
      : S(name, S_), last(or_none(last_name, last_)) {
    check_shape(S, {size.samples, size.steps, size.width});
    if (last) check_shape(last, {size.samples, size.width});
  }
  Argument S, last;
};

// Some of an array's places along an axis.
inline DeviceArray part_of(const DeviceArray& of, std::size_t axis, Index first, Index count) {
  DeviceArray part = of;
  if (part.data) part.data = static_cast<char*>(of.data) + first * of.strides[axis] * of.width;
  part.shape[axis] = count;
  return part;
}

// One sample is read as any.
template <class T>
cuda::Steps<const T> steps_of(const DeviceArray& x) {
  return {static_cast<const T*>(x.data), x.shape[0] == 1 ? 0 : x.strides[0], x.strides[1]};
}
template <class T>
cuda::Steps<T> writable(const DeviceArray& x) {
  return {static_cast<T*>(x.data), x.strides[0], x.strides[1]};
}

// The sequences of pyref's record, by name.
using RecordArguments = std::vector<std::pair<std::string, Argument>>;
inline RecordArguments record_arguments(const py::object& record, const cuda::RecurrentSize& size, Index z_width) {
  RecordArguments all;
  if (record.is_none()) return all;
  static const std::vector<std::string> shown = {"record.x", "record.z", "record.r",      "record.u", "record.n",
                                                 "record.q", "record.c", "record.c_prev", "record.h", "record.h_prev"};
  for (const auto& name : shown) {
    const auto field = name.substr(7);
    if (!py::hasattr(record, field.c_str())) continue;
    all.emplace_back(field, Argument(name.c_str(), record.attr(field.c_str())));
    check_shape(all.back().second, {size.samples, size.steps, field == "x" ? size.inputs : field == "z" ? z_width : size.width});
  }
  return all;
}

// What a forward pass computed, by name: its own arrays or those of a record.
struct DeviceRecord {
  std::vector<std::pair<std::string, DeviceArray>> arrays;
  bool reverse = false;

  template <class T>
  cuda::Steps<const T> at(const char* name) const {
    for (const auto& one : arrays)
      if (one.first == name) return steps_of<T>(one.second);
    throw std::logic_error(std::string("a record without ") + name);
  }
};

template <class T>
DeviceRecord given_record(Call& call, const py::object& record, const RecordArguments& arguments) {
  DeviceRecord all{{}, py::cast<bool>(record.attr("reverse"))};
  for (const auto& [name, x] : arguments) all.arrays.emplace_back(name, name == "x" ? call.packed<T>(x) : call.rows<T>(x));
  return all;
}

// A result, parts of which a record holds: views of it on the device, or of one copy in host memory.
template <class T>
class Whole {
 public:
  Whole(Call& call, const DeviceArray& array) : array_(array) {
    if (!call.is_on_device()) host_ = to_host(array);
  }
  py::object part(std::size_t axis, Index first, Index count) const {
    if (!host_) return py::cast(part_of(array_, axis, first, count));
    py::tuple where(3);
    for (std::size_t d = 0; d < 3; ++d) where[d] = d == axis ? py::slice(first, first + count, 1) : py::slice(0, host_->shape(static_cast<int>(d)), 1);
    return (*host_)[where];
  }
  py::object all() const { return part(0, 0, array_.shape[0]); }

 private:
  DeviceArray array_;
  std::optional<py::array> host_;
};

// A rule and the bounds of a box for x and for h, in device memory.
template <class T>
struct RecurrentRule {
  RecurrentRule(Call& call, const py::object& rule, const cuda::RecurrentSize& size) {
    const auto is_bound = [](const char* field) { return std::strcmp(field, "low") == 0 || std::strcmp(field, "high") == 0; };
    compiled = with_rule<T>(rule, [](const auto& one) -> AnyRule<T> { return one; }, is_bound);
    if (std::holds_alternative<math::Pass<T>>(compiled))
      throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
    if (!std::holds_alternative<math::ZBox<T>>(compiled)) return;
    const auto numpy = py::module_::import("numpy");
    Bounds<T>* const all[] = {&bounds.x, &bounds.h};
    const Index lengths[] = {size.inputs, size.width};
    for (int k = 0; k < 2; ++k) {
      const auto spread = [&](const char* field) {
        const py::object given = rule.attr(field);
        const py::object host = is_on_device(given) ? py::object(to_host(device_array(field, given))) : given;
        return call.in<T>(Argument(field, numpy.attr("array")(numpy.attr("broadcast_to")(host, py::make_tuple(lengths[k])), py::dtype::of<T>())));
      };
      *all[k] = {spread("low"), spread("high")};
    }
  }

  // Whether a box refuses v, without gaps, whose elements have these bounds. Waits for the answer.
  bool refuses(const Call& call, const T* v, const Bounds<T>& of, const cuda::RecurrentSize& size, Index length) const {
    const auto* box = std::get_if<math::ZBox<T>>(&compiled);
    if (!box || box->out_of_range == math::OutOfRange::clip) return false;
    return !cuda::is_inside_box(call.operation(), call.stream(), v, size.samples * size.steps, length, of.low, of.high);
  }
  bool is_strict_box() const {
    const auto* box = std::get_if<math::ZBox<T>>(&compiled);
    return box && box->out_of_range == math::OutOfRange::raise;
  }

  AnyRule<T> compiled;
  cuda::RecurrentBounds<T> bounds;
};

// A record in host memory.
template <class T>
py::object on_host(Call& call, const py::object& record) {
  py::dict changed;
  for (const auto& item : py::cast<py::dict>(record.attr("__dataclass_fields__"))) {
    const auto name = py::cast<std::string>(item.first);
    if (name == "reverse") continue;
    const Argument x(name.c_str(), record.attr(name.c_str()));
    changed[item.first] = to_host(call.packed<T>(x));
  }
  return py::module_::import("dataclasses").attr("replace")(record, **changed);
}

// h of a record, with zeros where it is padding.
template <class T>
py::object without_padding(Call& call, RecurrentArguments& given, const py::object& h, const cuda::Steps<const T>& states) {
  if (!given.lengths) return h;
  if (!call.is_on_device()) return pyref_recurrent().attr("mask_padding")(h, *given.lengths);
  const auto& size = given.size;
  const auto packed = call.out<T>({size.samples, size.steps, size.width}), masked = call.out<T>(packed.array.shape);
  const auto time = given.time(call, false);
  call.run([&] {
    cuda::pack_steps(call.operation(), call.stream(), size, size.width, states, packed.data());
    cuda::mask_padding(call.operation(), call.stream(), size, size.width, time.lengths, static_cast<const T*>(packed.data()),
                       masked.data());
  });
  return call.give(masked);
}

// What a recurrent relevance writes for pyref's Account: bias shares (n, columns), per sample the rest.
template <class T>
class RecurrentAccount {
 public:
  RecurrentAccount(Call& call, const py::object& account, const cuda::RecurrentSize& size, Index columns, bool has_bias)
      : call_(call), account_(account), size_(size), has_bias_(has_bias) {
    if (account.is_none()) return;
    if (has_bias) bias_ = call.out<T>({size.samples, columns});
    stabilizer_ = call.out<T>({size.samples});
    dropped_ = call.out<T>({size.samples});
    raw_ = {bias_.data(), stabilizer_.data(), dropped_.data()};
  }
  const Account<T>* pointer() const { return account_.is_none() ? nullptr : &raw_; }

  // states: what stays in initial states, one or two
  void write(const Output<T>& h, const Output<T>* c = nullptr) const {
    if (account_.is_none()) return;
    account_.attr("add_kept")(call_.give(stabilizer_), call_.give(dropped_));
    if (has_bias_) account_.attr("add_bias")(call_.give(bias_));
    if (!c) {
      account_.attr("add_state")(call_.give(h));
      return;
    }
    const auto both = call_.out<T>({size_.samples, size_.width});
    cuda::Sum<T> sum{};
    sum.samples = size_.samples;
    sum.size = static_cast<int>(size_.width);
    sum.count = 2;
    sum.terms[0] = {h.data(), {nullptr, 1, T(1)}};
    sum.terms[1] = {c->data(), {nullptr, 1, T(1)}};
    call_.run([&] { cuda::merge_forward(call_.operation(), call_.stream(), sum, both.data()); });
    account_.attr("add_state")(call_.give(both));
  }

 private:
  Call& call_;
  py::object account_;
  cuda::RecurrentSize size_;
  bool has_bias_;
  Output<T> bias_, stabilizer_, dropped_;
  Account<T> raw_{};
};

inline std::vector<const Argument*> arguments_of(const RecurrentArguments& given, const RecordArguments& record,
                                                 std::initializer_list<const Argument*> more) {
  std::vector<const Argument*> all{&given.x, &given.w_x, &given.w_h, &given.b};
  for (const auto& [name, x] : record) all.push_back(&x);
  all.insert(all.end(), more);
  return all;
}

}  // namespace relprop::bind
