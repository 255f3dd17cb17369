// The door of LSTM and GRU: their arguments, and the records of their forward passes.
#pragma once

#include "broadcast.h"
#include "relprop/recurrent.h"

namespace relprop::bind {

inline py::object pyref_recurrent() { return py::module_::import("pyref.layers.recurrent"); }

// x, w_x, w_h, b and lengths as numbers; raises pyref's words where they do not fit a layer with that many gates.
struct RecurrentArguments {
  RecurrentArguments(const py::object& x_, const py::object& w_x_, const py::object& w_h_, const py::object& b_,
                     const py::object& lengths_, Index gates)
      : x(floats("x", x_)), w_x(floats("w_x", w_x_)), w_h(floats("w_h", w_h_)), b(floats_or_none("b", b_)) {
    const bool fits = x.ndim() == 3 && w_h.ndim() == 2 && w_x.ndim() == 2 && w_h.shape(1) == gates * w_h.shape(0) &&
                      w_x.shape(0) == x.shape(2) && w_x.shape(1) == w_h.shape(1) && x.shape(1) > 0 &&
                      (!b || (b->ndim() == 1 && b->shape(0) == w_h.shape(1)));
    if (!fits || !lengths_.is_none())
      pyref_recurrent().attr("check_parameters")(x_, w_x_, w_h_, b_, lengths_, py::int_(gates));
    if (!lengths_.is_none()) lengths = py::cast<py::array_t<Index, py::array::c_style | py::array::forcecast>>(lengths_);
    size = {x.shape(0), x.shape(1), x.shape(2), w_h.shape(0)};
  }

  cpu::Time time(bool reverse) const { return {reverse, lengths ? lengths->data() : nullptr}; }

  // x with zeros where it is padding.
  template <class T>
  Packed<T> masked(const py::array& v) const {
    if (!lengths) return Packed<T>(v);
    const Packed<T> from(v);
    auto to = empty<T>(shape_of(v));
    for (Index n = 0; n < size.samples; ++n) {
      const Index row = size.steps * size.inputs, valid = lengths->data()[n] * size.inputs;
      std::copy_n(from.data() + n * row, valid, to.mutable_data() + n * row);
      std::fill_n(to.mutable_data() + n * row + valid, row - valid, T(0));
    }
    return to;
  }

  py::array x, w_x, w_h;
  std::optional<py::array> b;
  std::optional<py::array_t<Index, py::array::c_style | py::array::forcecast>> lengths;
  cpu::RecurrentSize size;
};

template <class T>
struct RecurrentWeightsOf {
  explicit RecurrentWeightsOf(const RecurrentArguments& given) : x(given.w_x), h(given.w_h), b(packed<T>(given.b)) {}
  cpu::RecurrentWeights<T> view() const { return {x.data(), h.data(), pointer(b)}; }
  Packed<T> x, h;
  std::optional<Packed<T>> b;
};

// A state before the first step, or null for zeros.
inline std::optional<py::array> initial(const char* name, const py::object& state, const cpu::RecurrentSize& size) {
  const auto given = floats_or_none(name, state);
  if (given) check_shape(name, *given, {size.samples, size.width});
  return given;
}

// The arrays whose dtypes decide in which one a call computes.
inline std::vector<py::array> deciding(const RecurrentArguments& given, const py::object& record,
                                       const std::vector<std::optional<py::array>>& more) {
  std::vector<py::array> all{given.x, given.w_x, given.w_h, given.b.value_or(given.x)};
  if (!record.is_none()) all.push_back(floats("record.z", record.attr("z")));
  for (const auto& one : more)
    if (one) all.push_back(*one);
  return all;
}

// The signal at the outputs, and that at the last state.
struct SignalArguments {
  SignalArguments(const char* name, const py::object& S_, const py::object& last_, const cpu::RecurrentSize& size)
      : S(floats(name, S_)), last(floats_or_none((std::string(name) + "_last").c_str(), last_)) {
    check_shape(name, S, {size.samples, size.steps, size.width});
    if (last) check_shape((std::string(name) + "_last").c_str(), *last, {size.samples, size.width});
  }
  py::array S;
  std::optional<py::array> last;
};

// A baseline's sizes: those of x, or one sample that all share; raises pyref's words for any other.
inline cpu::RecurrentSize size_of_baseline(const RecurrentArguments& given, const py::array& x0) {
  auto size = given.size, one = size;
  one.samples = 1;
  if (shape_of(x0) == std::vector<Index>{1, size.steps, size.inputs}) return one;
  check_shape("x0", x0, shape_of(given.x));
  return size;
}

// A sequence of a record: read where it lies if its last axis has no gaps, else from a copy. One sample is read as any.
template <class T>
class Sequence {
 public:
  Sequence(const py::object& record, const char* name, const cpu::RecurrentSize& size, Index last) {
    const std::string shown = std::string("record.") + name;
    const auto given = floats(shown.c_str(), record.attr(name));
    check_shape(shown.c_str(), given, {size.samples, size.steps, last});
    array_ = py::array_t<T, py::array::forcecast>(given);
    constexpr auto item = static_cast<py::ssize_t>(sizeof(T));
    const bool readable = array_.strides(2) == item && array_.strides(0) % item == 0 && array_.strides(1) % item == 0;
    if (!readable) array_ = Packed<T>(array_);
    view_ = {static_cast<const T*>(array_.data()), size.samples == 1 ? 0 : array_.strides(0) / item, array_.strides(1) / item};
  }
  const cpu::Steps<const T>& view() const { return view_; }

 private:
  py::array_t<T, py::array::forcecast> array_;
  cpu::Steps<const T> view_;
};

// What a forward pass writes: in the row of each step blocks of `width`, side by side so that a sample is one stream
// through memory. There is a row more than steps, so that a block can hold states before and after each step.
template <class T>
class Rows {
 public:
  Rows(const cpu::RecurrentSize& size, Index blocks, bool reverse)
      : size_(size), reverse_(reverse), array_(empty<T>({size.samples, size.steps + 1, blocks * size.width})) {}

  cpu::Steps<T> block(Index k) { return {array_.mutable_data() + k * size_.width, array_.strides(0) / item, array_.strides(1) / item}; }

  // A block of states, of which the first in time is given.
  cpu::Steps<T> states(Index k, const std::optional<py::array>& initial) {
    const auto rows = block(k);
    const auto start = packed<T>(initial);
    for (Index n = 0; n < size_.samples; ++n) {
      T* row = rows.at(n, reverse_ ? size_.steps : 0);
      if (start)
        std::copy_n(start->data() + n * size_.width, size_.width, row);
      else
        std::fill_n(row, size_.width, T(0));
    }
    return rows;
  }

  py::object steps(Index k, Index count = 1) const { return part(k, count, false); }
  py::object before(Index k) const { return part(k, 1, reverse_); }
  py::object after(Index k) const { return part(k, 1, !reverse_); }

 private:
  static constexpr auto item = static_cast<py::ssize_t>(sizeof(T));
  py::object part(Index k, Index count, bool later) const {
    const py::slice all(0, size_.samples, 1), some(later, size_.steps + later, 1), of(k * size_.width, (k + count) * size_.width, 1);
    return array_[py::make_tuple(all, some, of)];
  }
  cpu::RecurrentSize size_;
  bool reverse_;
  Packed<T> array_;
};

// h with zeros where it is padding.
inline py::object without_padding(const py::object& h, const py::object& lengths) {
  return pyref_recurrent().attr("mask_padding")(h, lengths);
}

// The option that a word names; pyref's ValueError for any other.
template <class E>
E choice(const char* name, const py::object& word, const char* table) {
  if (py::isinstance<py::str>(word)) {
    const auto text = py::cast<std::string>(word);
    const auto known = math::words(E{});
    for (std::size_t i = 0; i < known.size(); ++i)
      if (text == known[i]) return static_cast<E>(i);
  }
  py::module_::import("pyref.check").attr("check_choice")(name, word, pyref_recurrent().attr(table));
  throw py::value_error(std::string(name) + " is not compiled");
}

// What `relevance` of a recurrent layer needs of its rule.
template <class T>
struct RecurrentRule {
  RecurrentRule(const py::object& rule, const cpu::RecurrentSize& size) {
    const auto is_bound = [](const char* field) { return std::strcmp(field, "low") == 0 || std::strcmp(field, "high") == 0; };
    compiled = with_rule<T>(rule, [](const auto& one) -> AnyRule<T> { return one; }, is_bound);
    if (std::holds_alternative<math::Pass<T>>(compiled))
      throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
    if (!std::holds_alternative<math::ZBox<T>>(compiled)) return;
    const auto spread = py::module_::import("numpy").attr("broadcast_to");
    for (const Index length : {size.inputs, size.width})
      for (const char* field : {"low", "high"}) kept_alive.push_back(Packed<T>(spread(rule.attr(field), py::make_tuple(length))));
    bounds = {{kept_alive[0].data(), kept_alive[1].data()}, {kept_alive[2].data(), kept_alive[3].data()}};
  }

  // Whether it is a box that refuses what lies outside.
  bool is_strict_box() const {
    const auto* box = std::get_if<math::ZBox<T>>(&compiled);
    return box && box->out_of_range == math::OutOfRange::raise;
  }

  // Whether a box refuses v, a sequence whose elements have these bounds.
  bool refuses(const cpu::Steps<const T>& v, const Bounds<T>& of, const cpu::RecurrentSize& size, Index length) const {
    if (!is_strict_box()) return false;
    bool outside = false;
    for (Index n = 0; n < size.samples; ++n)
      for (Index t = 0; t < size.steps; ++t)
        for (Index j = 0; j < length; ++j) outside |= v.at(n, t)[j] < of.low[j] || v.at(n, t)[j] > of.high[j];
    return outside;
  }

  AnyRule<T> compiled;
  cpu::RecurrentBounds<T> bounds;
  std::vector<Packed<T>> kept_alive;
};

// What a recurrent relevance writes for pyref's Account: bias shares (n, columns), per sample the rest.
template <class T>
class RecurrentAccount {
 public:
  RecurrentAccount(const py::object& account, Index samples, Index columns, bool has_bias)
      : account_(account), has_bias_(has_bias), bias_(empty<T>({is_wanted() ? samples : 0, columns})),
        stabilizer_(empty<T>({is_wanted() ? samples : 0})), dropped_(empty<T>({is_wanted() ? samples : 0})),
        raw_{has_bias ? bias_.mutable_data() : nullptr, stabilizer_.mutable_data(), dropped_.mutable_data()} {}
  const Account<T>* pointer() const { return is_wanted() ? &raw_ : nullptr; }

  void write(const py::object& state) const {
    if (!is_wanted()) return;
    account_.attr("add_kept")(stabilizer_, dropped_);
    if (has_bias_) account_.attr("add_bias")(bias_);
    account_.attr("add_state")(state);
  }

 private:
  bool is_wanted() const { return !account_.is_none(); }
  py::object account_;
  bool has_bias_;
  Packed<T> bias_, stabilizer_, dropped_;
  Account<T> raw_;
};

}  // namespace relprop::bind
