// The door of the kernels: each argument is checked on one line, in pyref's words, and becomes a pointer.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "chain.h"
#include "machine/blocks.h"
#include "machine/memory.h"
#include "relprop/account.h"
#include "rule.h"
#include "signature.h"
#include "trace.h"

namespace relprop::bind {

// A length that an argument must have; `any` fits all.
constexpr Index any = -1;

// A tuple of Python's for a shape.
inline py::tuple shape_tuple(const std::vector<Index>& shape) {
  py::tuple lengths(shape.size());
  for (std::size_t d = 0; d < shape.size(); ++d) lengths[d] = shape[d];
  return lengths;
}

// An array of NumPy's with a shape, for what only asks that.
inline py::object stand_in(const std::vector<Index>& shape) {
  const auto numpy = py::module_::import("numpy");
  return numpy.attr("broadcast_to")(numpy.attr("float32")(0), shape_tuple(shape));
}

// Raises pyref.check.check_shape's ValueError unless what is called `name` has the expected shape.
inline void check_shape(const char* name, const std::vector<Index>& shape, const std::vector<Index>& expected) {
  bool fits = shape.size() == expected.size();
  for (std::size_t d = 0; fits && d < expected.size(); ++d) fits = expected[d] == any || expected[d] == shape[d];
  if (fits) return;
  py::tuple wanted(expected.size());
  for (std::size_t d = 0; d < expected.size(); ++d)
    wanted[d] = expected[d] == any ? py::object(py::none()) : py::object(py::int_(expected[d]));
  py::module_::import("pyref.check").attr("check_shape")(name, stand_in(shape), wanted);
}
inline std::vector<Index> shape_of(const py::array& x) { return {x.shape(), x.shape() + x.ndim()}; }
inline void check_shape(const char* name, const py::array& x, const std::vector<Index>& expected) {
  check_shape(name, shape_of(x), expected);
}

// The argument as a NumPy array of float32 or float64; pyref.check.check_float's TypeError for any other.
inline py::array floats(const char* name, const py::object& x) {
  if (py::isinstance<py::array_t<float>>(x) || py::isinstance<py::array_t<double>>(x)) return py::cast<py::array>(x);
  py::module_::import("pyref.check").attr("check_float")(name, x);
  const auto dtype = py::str(x.attr("dtype")).cast<std::string>();
  throw py::type_error(std::string(name) + " has dtype " + dtype + ", expected float32 or float64; use " + name +
                       ".astype('float64')");
}

// The option that a word names; pyref.check.check_choice's ValueError for any other.
template <class E>
E choice(const char* name, const py::object& word) {
  const auto known = words(E{});
  for (std::size_t i = 0; i < known.size() && py::isinstance<py::str>(word); ++i)
    if (PyUnicode_CompareWithASCIIString(word.ptr(), known[i]) == 0) return static_cast<E>(i);
  py::tuple all(known.size());
  for (std::size_t i = 0; i < known.size(); ++i) all[i] = known[i];
  py::module_::import("pyref.check").attr("check_choice")(name, word, all);
  throw py::value_error(std::string(name) + " is an option that the compiled code does not know");
}

// pyref's own function, for what is not compiled and for what it refuses.
template <class... Args>
py::object reference(const char* function, const Args&... args) {
  return py::module_::import("pyref").attr(function)(args...);
}

// Calls f(T{}) with the widest type among the arrays that there are, as NumPy promotes.
template <class F>
py::object with_widest(const std::vector<py::array>& arrays, F&& f) {
  for (const auto& a : arrays)
    if (a && py::isinstance<py::array_t<double>>(a)) return f(double{});
  return f(float{});
}

// The argument's numbers in C order without gaps: its own where they are so already, else a copy.
template <class T>
using Packed = py::array_t<T, py::array::c_style | py::array::forcecast>;

// Whether x, and z where it is known, are one sample many times over, in the memory of one.
inline bool is_one_sample(const py::array& x, const py::array& z) {
  const auto is_one = [](const py::array& v) { return v.ndim() > 0 && v.shape(0) > 1 && v.strides(0) == 0; };
  return is_one(x) && (!z || is_one(z));
}
inline py::array first_sample(const py::array& x) { return x[py::slice(0, 1, 1)]; }

// Null for null.
template <class T>
Packed<T> packed(const py::array& x) {
  return x ? Packed<T>(x) : py::reinterpret_steal<Packed<T>>(py::handle());
}
template <class T>
const T* pointer(const Packed<T>& x) {
  return x ? x.data() : nullptr;
}

template <class T>
const Account<T>* pointer(const std::optional<Account<T>>& account) {
  return account ? &*account : nullptr;
}

// Large memory for an array, which gives it back; Python's tracemalloc is told of it as of what NumPy allocates.
inline py::capsule large_block(std::size_t bytes) {
  const auto release = [](PyObject* capsule) {
    void* block = PyCapsule_GetPointer(capsule, nullptr);
    relprop_forget_block(block);
    machine::return_block(block, reinterpret_cast<std::size_t>(PyCapsule_GetContext(capsule)));
  };
  void* block = machine::take_block(bytes);
  PyObject* capsule = PyCapsule_New(block, nullptr, release);
  if (!capsule || PyCapsule_SetContext(capsule, reinterpret_cast<void*>(bytes)) != 0) {
    if (!capsule) machine::return_block(block, bytes);
    throw py::error_already_set();
  }
  relprop_trace_block(block, bytes);
  return py::reinterpret_steal<py::capsule>(capsule);
}

// An array with room for an answer.
template <class T>
Packed<T> empty(const std::vector<Index>& shape) {
  const std::vector<py::ssize_t> lengths(shape.begin(), shape.end());
  std::size_t bytes = sizeof(T);
  for (const Index length : shape) {
    if (length > 0 && bytes > PY_SSIZE_T_MAX / static_cast<std::size_t>(length)) return Packed<T>(lengths);  // refuses
    bytes *= static_cast<std::size_t>(length);
  }
  if (bytes < machine::large) return Packed<T>(lengths);
  const py::capsule block = large_block(bytes);
  return Packed<T>(lengths, static_cast<const T*>(PyCapsule_GetPointer(block.ptr(), nullptr)), block);
}

inline py::array spread(const py::array& v, const std::vector<Index>& shape) {
  if (shape_of(v) == shape) return v;
  return py::module_::import("numpy").attr("broadcast_to")(v, shape_tuple(shape));
}

// Whether a function holds what it uses by value, so that a chain may call it again.
enum class Repeats { no, yes };

// A rule for a layer whose input is x, with the bounds of a box as arrays.
template <class T>
struct RuleFor {
  AnyRule<T> rule;
  Bounds<T> bounds;
  std::vector<Packed<T>> kept_alive;
};

template <class T>
RuleFor<T> rule_for(const py::object& rule, const Packed<T>& x) {
  RuleFor<T> made{any_rule<T>(rule), {}, {}};
  if (const auto* box = std::get_if<math::ZBox<T>>(&made.rule)) {
    const py::tuple sample = py::cast<py::tuple>(x.attr("shape")[py::slice(1, x.ndim(), 1)]);
    const auto numpy = py::module_::import("numpy");
    for (const char* field : {"low", "high"})
      made.kept_alive.push_back(Packed<T>(numpy.attr("broadcast_to")(rule.attr(field), sample)));
    made.bounds = {made.kept_alive[0].data(), made.kept_alive[1].data()};
    if (box->out_of_range == math::OutOfRange::raise) {
      const Index samples = x.shape(0), size = made.kept_alive[0].size();
      bool inside = true;
      for (Index n = 0; n < samples; ++n)
        for (Index i = 0; i < size; ++i) {
          const T v = x.data()[n * size + i];
          inside &= !(v < made.bounds.low[i] || v > made.bounds.high[i]);
        }
      if (!inside) rule.attr("input_part")(0, x);  // raises
    }
  }
  return made;
}

// Pass: R itself where it has the shape of the one input x.
inline py::object pass(const py::array& x, const py::array& R) {
  if (shape_of(x) != shape_of(R))
    throw py::value_error("rule Pass needs one input of the output's shape; give this node another rule");
  return R;
}

// What a relevance kernel writes for pyref's Account, handed over by `write`.
template <class T>
class AccountFor {
 public:
  AccountFor(const py::object& account, const py::array& R, bool has_bias)
      : account_(account),
        is_wanted_(!account.is_none()),
        bias_(empty<T>(is_wanted_ && has_bias ? shape_of(R) : std::vector<Index>{0})),
        stabilizer_(empty<T>({is_wanted_ ? static_cast<Index>(R.shape(0)) : 0})),
        dropped_(empty<T>({is_wanted_ ? static_cast<Index>(R.shape(0)) : 0})),
        has_bias_(has_bias) {
    raw_ = {has_bias ? bias_.mutable_data() : nullptr, stabilizer_.mutable_data(), dropped_.mutable_data()};
  }
  const Account<T>* pointer() const { return is_wanted_ ? &raw_ : nullptr; }
  // The same for work that outlives this: `bind::pointer` of it.
  std::optional<Account<T>> copied() const { return is_wanted_ ? std::optional(raw_) : std::nullopt; }
  std::vector<py::array> arrays() const { return {bias_, stabilizer_, dropped_}; }

  void write() const {
    if (!is_wanted_) return;
    account_.attr("add_kept")(stabilizer_, dropped_);
    if (has_bias_) account_.attr("add_bias")(bias_);
  }

 private:
  py::object account_;
  bool is_wanted_;
  Packed<T> bias_, stabilizer_, dropped_;
  bool has_bias_;
  Account<T> raw_{};
};

// The same in a Call: bias shares in a shape whose first axis is that of samples, and per sample the rest.
template <class T, class Call>
class AccountIn {
 public:
  AccountIn(Call& call, const py::object& account, const std::vector<Index>& shape, bool has_bias)
      : call_(call), account_(account), has_bias_(has_bias) {
    if (account.is_none()) return;
    if (has_bias) bias_ = call.template out<T>(shape);
    stabilizer_ = call.template out<T>({shape[0]});
    dropped_ = call.template out<T>({shape[0]});
    raw_ = {has_bias ? bias_.data() : nullptr, stabilizer_.data(), dropped_.data()};
  }
  const Account<T>* pointer() const { return account_.is_none() ? nullptr : &raw_; }
  void write() const {
    if (account_.is_none()) return;
    account_.attr("add_kept")(call_.give(stabilizer_), call_.give(dropped_));
    if (has_bias_) account_.attr("add_bias")(call_.give(bias_));
  }

 private:
  using Out = decltype(std::declval<Call&>().template out<T>(std::vector<Index>{}));
  Call& call_;
  py::object account_;
  bool has_bias_;
  Out bias_, stabilizer_, dropped_;
  Account<T> raw_{};
};

inline py::object of_merge(const char* name) { return py::module_::import("pyref.layers.merge").attr(name); }

// Raises unless a baseline x0 broadcasts to the shape of x.
inline void check_baseline(const std::vector<Index>& x, const std::vector<Index>& x0) {
  if (x0 == x) return;
  check_shape("x0", py::cast<py::array>(py::module_::import("numpy").attr("add")(stand_in(x), stand_in(x0))), x);
}

// The type of the numbers that pointers lead to, and a number of it.
template <class Pointers>
using NumberOf = std::remove_cv_t<std::remove_pointer_t<std::decay_t<decltype(std::declval<Pointers>()[0])>>>;
template <class T>
T number_like(const T*, double number) {
  return static_cast<T>(number);
}

// What a relevance is asked with, as pyref's functions take it.
struct Arriving {
  const py::object &R, &rule, &z, &account;
};

// How a door in host memory takes arrays, and computes with them. The doors of layers that are written for any device get
// it from here, or from InDeviceMemory of cuda/door.h. A kernel of such a door takes, first, what it runs `on`.
struct InHostMemory {
  using Array = py::array;
  static Array array(const char* name, const py::object& x) { return floats(name, x); }
  static Array array(const char* name, const py::object& x, const std::vector<Index>& shape) {
    auto given = floats(name, x);
    check_shape(name, given, shape);
    return given;
  }
  // Null for None.
  static Array or_none(const char* name, const py::object& x) {
    return x.is_none() ? py::reinterpret_steal<py::array>(py::handle()) : floats(name, x);
  }
  static Array or_none(const char* name, const py::object& x, const std::vector<Index>& shape) {
    return x.is_none() ? or_none(name, x) : array(name, x, shape);
  }
  static Array nothing() { return or_none("", py::none()); }
  static const Array& on_host(const Array& x) { return x; }
  static Array spread(const Array& x, const std::vector<Index>& shape) { return bind::spread(x, shape); }
  // The adjoint of spreading: a signal summed to the shape of what was spread.
  static py::object gathered(const char*, const py::object& signal, const std::vector<Index>& shape) {
    if (shape_of(py::cast<py::array>(signal)) == shape) return signal;
    return of_merge("unbroadcast")(signal, shape_tuple(shape));
  }
  static void check_sample(const char*, const std::vector<Index>&) {}       // of any size
  static void check_compiled(bool, const char*, std::size_t) {}  // pyref's is the answer to what is not compiled

  // New arrays of the shapes, in the widest dtype, which f(on, pointers to the numbers of `arrays`, pointers to the new
  // ones) fills without the GIL. It holds by value what it uses, so that a chain may call it again, unless it never repeats;
  // `unread` are what the caller was given beside.
  template <Repeats repeats = Repeats::yes, class F>
  static std::vector<py::object> filled(const char*, const std::vector<const Array*>& arrays,
                                        const std::vector<std::vector<Index>>& shapes, const F& f,
                                        const std::vector<Array>& unread = {}) {
    std::vector<py::object> all;
    std::vector<py::array> given;
    for (const Array* a : arrays) given.push_back(*a);
    with_widest(given, [&](auto zero) -> py::object {
      using T = decltype(zero);
      std::vector<Packed<T>> in, made;
      std::vector<const T*> from;
      std::vector<T*> to;
      for (const auto& a : given) from.push_back(pointer(in.emplace_back(packed<T>(a))));
      for (const auto& shape : shapes) to.push_back(made.emplace_back(empty<T>(shape)).mutable_data());
      if constexpr (repeats == Repeats::yes) {
        compute([f, from, to] { f(InHostMemory(), from.data(), to.data()); }, in, made, unread);
      } else {
        const py::gil_scoped_release release;
        f(InHostMemory(), from.data(), to.data());
      }
      all.assign(made.begin(), made.end());
      return py::none();
    });
    return all;
  }
  template <class T>
  void clear(T* numbers, Index count) const {
    std::fill_n(numbers, count, T(0));
  }

  // What kernel(on, x, w, b, R, rule, bounds, z, account, r) writes of the relevance of x, all of them pointers but the rule
  // and the bounds. w and b: null where the layer has no such array. The kernel holds by value what else it needs.
  // takes_one: it asks on.one_x whether x and z are one sample's, which all others repeat.
  template <class Kernel>
  static py::object relevance(const char*, const Array& x, const Array& w, const Array& b, const std::vector<Index>& z_shape,
                              const Arriving& given, const Kernel& kernel, bool takes_one = false) {
    const Array R = array("R", given.R, z_shape), z = or_none("z", given.z, z_shape);
    return with_widest({x, w, b, R, z}, [&](auto zero) -> py::object {
      using T = decltype(zero);
      const bool one = takes_one && is_one_sample(x, z);
      const Packed<T> x_data(one ? first_sample(x) : x), R_data(R);
      const auto w_data = packed<T>(w), b_data = packed<T>(b), z_data = packed<T>(z && one ? first_sample(z) : z);
      const auto rule_data = rule_for<T>(given.rule, x_data);
      if (std::holds_alternative<math::Pass<T>>(rule_data.rule)) return pass(x, R_data);
      const AccountFor<T> kept(given.account, R, bool(b));
      auto r = empty<T>(shape_of(x));
      compute(
          [kernel, on = InHostMemory{one}, in = x_data.data(), weights = pointer(w_data), bias = pointer(b_data),
           arrived = R_data.data(), acting = rule_data.rule, bounds = rule_data.bounds, known = pointer(z_data),
           account = kept.copied(), out = r.mutable_data()] {
            kernel(on, in, weights, bias, arrived, acting, bounds, known, bind::pointer(account), out);
          },
          x_data, w_data, b_data, R_data, rule_data.kept_alive, z_data, kept.arrays(), r);
      kept.write();
      return r;
    });
  }

  bool one_x = false;
};

// New arrays of the shapes that f(pointers to the numbers of `arrays`, pointers to the new ones) fills once.
template <class F>
std::vector<py::object> filled(const std::vector<py::array>& arrays, const std::vector<std::vector<Index>>& shapes, F&& f) {
  std::vector<const py::array*> all;
  for (const auto& a : arrays) all.push_back(&a);
  return InHostMemory::filled<Repeats::no>("", all, shapes, [&](const auto&, auto in, auto out) { f(in, out); });
}

// A kernel of relprop::cpu as a member of a door.
#define RELPROP_CPU_KERNEL(name) \
  static constexpr auto name = [](const auto&, const auto&... of) { return cpu::name(of...); };

}  // namespace relprop::bind
