// The LSTM and the GRU on the device: sequences.
#pragma once

#include "bind/recurrent.h"
#include "cuda/recurrent.h"
#include "cuda/z_box.h"
#include "door.h"

namespace relprop::bind {

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

// A result, parts of which a record holds: views of it on the device, or of one copy in host memory.
class Whole {
 public:
  Whole(const Call& call, const DeviceArray& array) : array_(array) {
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

struct SequencesInDeviceMemory : InDeviceMemory {
  using Call = bind::Call;

  static py::object in_host(const char* name, const py::object& x) {
    return bind::is_on_device(x) ? py::object(to_host(device_array(name, x))) : x;
  }
  static Array integers(const char* name, const py::object& x) { return Argument::of_integers(name, x); }
  static py::object record_on_host(const py::object& record) {
    py::dict changed;
    for (const auto& item : py::cast<py::dict>(record.attr("__dataclass_fields__")))
      changed[item.first] = in_host("record", record.attr(item.first));
    return py::module_::import("dataclasses").attr("replace")(record, **changed);
  }

  template <class T, class Arguments>
  static Output<T> masked(Call& call, const Arguments& given, const Array& v) {
    const auto packed = call.packed<T>(v);
    if (!given.lengths) return {packed};
    const auto made = call.out<T>(packed.shape);
    call.hold(made.array);
    const auto time = given.time(call, false);
    call.run([&] {
      cuda::mask_padding(call.operation(), call.stream(), given.size, given.size.inputs, time.lengths, static_cast<const T*>(packed.data),
                         made.data());
    });
    return made;
  }

  template <class T>
  static cuda::Steps<const T> steps(Call& call, const Array& x, bool without_gaps) {
    return steps_of<T>(without_gaps ? call.packed<T>(x) : call.rows<T>(x));
  }

  // Waits for the answer.
  template <class T>
  static bool is_inside(Call& call, const cuda::RecurrentSize& size, const cuda::Steps<const T>& v, Index length, const Bounds<T>& of) {
    const bool is_packed = v.step == length && v.sample == size.steps * length;
    const auto room = call.out<T>({is_packed ? 0 : size.samples, size.steps, length});
    bool inside = true;
    call.run([&] {
      if (!is_packed) cuda::pack_steps(call.operation(), call.stream(), size, length, v, room.data());
      inside = cuda::is_inside_box(call.operation(), call.stream(), is_packed ? v.data : room.data(), size.samples * size.steps, length,
                                   of.low, of.high);
    });
    return inside;
  }
  template <class T>
  static bool takes_product(Call& call, const cuda::RecurrentSize& size, const cuda::Steps<const T>& r, const cuda::Steps<const T>& q,
                            const Bounds<T>& of) {
    const auto s = call.out<T>({size.samples, size.steps, size.width});
    call.run([&] { cuda::gru_s(call.operation(), call.stream(), size, r, q, s.data()); });
    return is_inside<T>(call, size, {s.data(), size.steps * size.width, size.width}, size.width, of);
  }

  template <class T, class Arguments>
  static py::object without_padding(Call& call, const Arguments& given, const py::object& h, const cuda::Steps<const T>& states) {
    if (!call.is_on_device()) return pyref_recurrent().attr("mask_padding")(h, given.given_lengths);
    const auto& size = given.size;
    const auto packed = call.out<T>(given.sequence()), masked = call.out<T>(given.sequence());
    const auto time = given.time(call, false);
    call.run([&] {
      cuda::pack_steps(call.operation(), call.stream(), size, size.width, states, packed.data());
      cuda::mask_padding(call.operation(), call.stream(), size, size.width, time.lengths, static_cast<const T*>(packed.data()),
                         masked.data());
    });
    return call.give(masked);
  }
};

}  // namespace relprop::bind
