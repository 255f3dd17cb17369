// The LSTM and the GRU in host memory: what a call is there, and sequences.
#pragma once

#include "recurrent.h"

namespace relprop::bind {

// A result of a call.
template <class T>
struct HostOutput {
  Packed<T> array;
  T* data() const { return const_cast<T*>(array.data()); }
};

// What one call is given and makes, as cuda/door.h has it for a device.
class HostCall {
 public:
  HostCall(const char*, const std::vector<const py::array*>& arguments) {
    for (const py::array* x : arguments) given_.push_back(*x);
  }
  template <class F>
  py::object with_widest(F&& f) const {
    return bind::with_widest(given_, f);
  }
  template <class T>
  Packed<T> packed(const py::array& x) {
    const auto made = bind::packed<T>(x);
    hold(made);
    return made;
  }
  template <class T>
  const T* in(const py::array& x) {
    return pointer(packed<T>(x));
  }
  const Index* in_integers(const py::array& x) { return in<Index>(x); }
  template <class T>
  HostOutput<T> out(const std::vector<Index>& shape) {
    HostOutput<T> made{empty<T>(shape)};
    hold(made.array);
    return made;
  }
  template <class T>
  py::object give(const HostOutput<T>& result) const {
    return result.array;
  }
  void hold(const py::array& array) { held_.push_back(array); }
  template <class F>
  void run(F&& f) const {
    const py::gil_scoped_release release;
    f();
  }

 private:
  std::vector<py::array> given_, held_;
};

struct SequencesInHostMemory : InHostMemory {
  using Call = HostCall;
  using Given = RecurrentArguments<SequencesInHostMemory>;

  static const py::object& in_host(const char*, const py::object& x) { return x; }
  static Array integers(const char*, const py::array& x) { return x; }
  static const py::object& record_on_host(const py::object& record) { return record; }

  template <class T, class Arguments>
  static HostOutput<T> masked(HostCall& call, const Arguments& given, const Array& v) {
    const HostOutput<T> from{call.packed<T>(v)};
    if (!given.lengths) return from;
    const auto to = call.out<T>(shape_of(v));
    const Index* lengths = call.in_integers(given.lengths);
    for (Index n = 0; n < given.size.samples; ++n) {
      const Index row = given.size.steps * given.size.inputs, valid = lengths[n] * given.size.inputs;
      std::copy_n(from.data() + n * row, valid, to.data() + n * row);
      std::fill_n(to.data() + n * row + valid, row - valid, T(0));
    }
    return to;
  }

  // Read where it lies if its last axis has no gaps, else from a copy. One sample is read as any.
  template <class T>
  static cpu::Steps<const T> steps(HostCall& call, const Array& x, bool) {
    py::array v = py::array_t<T, py::array::forcecast>(x);
    constexpr auto item = static_cast<py::ssize_t>(sizeof(T));
    if (v.strides(2) != item || v.strides(0) % item || v.strides(1) % item) v = Packed<T>(v);
    call.hold(v);
    return {static_cast<const T*>(v.data()), v.shape(0) == 1 ? 0 : v.strides(0) / item, v.strides(1) / item};
  }

  template <class T>
  static bool is_inside(HostCall&, const cpu::RecurrentSize& size, const cpu::Steps<const T>& v, Index length, const Bounds<T>& of) {
    bool inside = true;
    for (Index n = 0; n < size.samples; ++n)
      for (Index t = 0; t < size.steps; ++t)
        for (Index j = 0; j < length; ++j) inside &= !(v.at(n, t)[j] < of.low[j] || v.at(n, t)[j] > of.high[j]);
    return inside;
  }
  template <class T>
  static bool takes_product(HostCall& call, const cpu::RecurrentSize& size, const cpu::Steps<const T>& r, const cpu::Steps<const T>& q,
                            const Bounds<T>& of) {
    const auto s = call.out<T>({size.samples, size.steps, size.width});
    const cpu::Steps<T> to{s.data(), size.steps * size.width, size.width};
    for (Index n = 0; n < size.samples; ++n)
      for (Index t = 0; t < size.steps; ++t)
        for (Index j = 0; j < size.width; ++j) to.at(n, t)[j] = r.at(n, t)[j] * q.at(n, t)[j];
    return is_inside<T>(call, size, {to.data, to.sample, to.step}, size.width, of);
  }

  template <class T, class Arguments>
  static py::object without_padding(HostCall&, const Arguments& given, const py::object& h, const cpu::Steps<const T>&) {
    return pyref_recurrent().attr("mask_padding")(h, given.given_lengths);
  }
};

// What a forward pass writes: in the row of each step blocks of `width`, side by side so that a sample is one stream
// through memory. There is a row more than steps, so that a block can hold states before and after each step.
template <class T>
class Rows {
 public:
  Rows(HostCall& call, const cpu::RecurrentSize& size, Index blocks, bool reverse)
      : size_(size), reverse_(reverse), array_(call.out<T>({size.samples, size.steps + 1, blocks * size.width}).array) {}

  cpu::Steps<T> block(Index k) const {
    return {const_cast<T*>(array_.data()) + k * size_.width, array_.strides(0) / item, array_.strides(1) / item};
  }

  // A block of states, of which the first in time is given.
  cpu::Steps<T> states(Index k, const T* initial) const {
    const auto rows = block(k);
    for (Index n = 0; n < size_.samples; ++n) {
      T* row = rows.at(n, reverse_ ? size_.steps : 0);
      if (initial)
        std::copy_n(initial + n * size_.width, size_.width, row);
      else
        std::fill_n(row, size_.width, T(0));
    }
    return rows;
  }

  // Some blocks as Python has them, and as kernels read them.
  struct Part {
    py::object array;
    cpu::Steps<const T> read;
  };
  Part steps(Index k, Index count = 1) const { return part(k, count, false); }
  Part before(Index k) const { return part(k, 1, reverse_); }
  Part after(Index k) const { return part(k, 1, !reverse_); }

 private:
  static constexpr auto item = static_cast<py::ssize_t>(sizeof(T));
  Part part(Index k, Index count, bool later) const {
    const py::slice all(0, size_.samples, 1), some(later, size_.steps + later, 1), of(k * size_.width, (k + count) * size_.width, 1);
    const auto rows = block(k);
    return {array_[py::make_tuple(all, some, of)], {rows.at(0, later), size_.samples == 1 ? 0 : rows.sample, rows.step}};
  }
  cpu::RecurrentSize size_;
  bool reverse_;
  Packed<T> array_;
};

// x as it was read, as a part of a record.
template <class T>
typename Rows<T>::Part part_of(const HostOutput<T>& x, const cpu::RecurrentSize& size) {
  return {x.array, {x.data(), size.samples == 1 ? 0 : size.steps * size.inputs, size.inputs}};
}

}  // namespace relprop::bind
