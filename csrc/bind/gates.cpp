// Products of gates and signals, and the multiplier of a maximum: their scalar functions over arrays.
#include <array>

#include "elementwise.h"
#include "math/pool.h"
#include "math/recurrent.h"

using namespace relprop::bind;
using namespace relprop::math;

namespace {

// Arrays out of a scalar function with several results: f(i, pointers to element i of each).
template <class T, std::size_t n, class F>
py::object collect(const py::array& like, F&& f) {
  std::array<Array<T>, n> out;
  for (auto& o : out) o = empty_like<T>(like);
  for (py::ssize_t i = 0; i < like.size(); ++i) {
    T results[n];
    f(i, results);
    for (std::size_t k = 0; k < n; ++k) out[k].mutable_data()[i] = results[k];
  }
  py::tuple all(n);
  for (std::size_t k = 0; k < n; ++k) all[k] = out[k];
  return all;
}

py::object bound_product_relevance(const py::array& R, const py::array& p, const py::array& q, const std::string& gate) {
  return with_dtype("R", R, [&](auto zero) {
    using T = decltype(zero);
    const auto mode = option<Gate>("gate", gate);
    const auto R_ = matching<T>("R", R, R), p_ = matching<T>("p", p, R), q_ = matching<T>("q", q, R);
    return collect<T, 3>(R, [&](py::ssize_t i, T* r) {
      product_relevance(R_.data()[i], p_.data()[i], q_.data()[i], mode, r[0], r[1], r[2]);
    });
  });
}

py::object bound_product_multiplier(const py::array& p, const py::array& q, const py::array& p0, const py::array& q0,
                                    const std::string& product) {
  return with_dtype("p", p, [&](auto zero) {
    using T = decltype(zero);
    const auto mode = option<Product>("product", product);
    const auto p_ = matching<T>("p", p, p), q_ = matching<T>("q", q, p);
    const auto p0_ = matching<T>("p0", p0, p), q0_ = matching<T>("q0", q0, p);
    return collect<T, 2>(p, [&](py::ssize_t i, T* m) {
      product_multiplier(p_.data()[i], q_.data()[i], p0_.data()[i], q0_.data()[i], mode, m[0], m[1]);
    });
  });
}

py::object bound_pool_multiplier(const py::array& y, const py::array& y0, const py::array& dx, const py::array& M) {
  return with_dtype("y", y, [&](auto zero) {
    using T = decltype(zero);
    const auto y_ = matching<T>("y", y, y), y0_ = matching<T>("y0", y0, y);
    const auto dx_ = matching<T>("dx", dx, y), M_ = matching<T>("M", M, y);
    return collect<T, 3>(y, [&](py::ssize_t i, T* out) {
      out[0] = pool_rise(y_.data()[i], y0_.data()[i]);
      out[1] = pool_fall(y_.data()[i], y0_.data()[i]);
      out[2] = pool_multiplier(out[0], out[1], dx_.data()[i], M_.data()[i]);
    });
  });
}

}  // namespace

void bind_gates(py::module_& module) {
  using namespace py::literals;
  module.def("product_relevance", &bound_product_relevance, "R"_a, "p"_a, "q"_a, "gate"_a = "all");
  module.def("product_multiplier", &bound_product_multiplier, "p"_a, "q"_a, "p0"_a, "q0"_a, "product"_a = "symmetric");
  module.def("pool_multiplier", &bound_pool_multiplier, "y"_a, "y0"_a, "dx"_a, "M"_a);
}
