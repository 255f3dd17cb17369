// What NumPy computes for the textbook, element by element, under NumPy's names.
#pragma once

#include <cmath>
#include <cstdint>
#include <type_traits>

#include "elementary.h"
#include "numerics.h"

namespace relprop::math {

// `index` is the place of the element itself.
#define FOR_EACH_OPERATION(F)                                                                                               \
  F(index) F(positive) F(negative) F(absolute) F(sign) F(logical_not) F(isfinite) F(isnan) F(floor) F(sqrt) F(exp) F(expm1) \
  F(log) F(log1p) F(tanh) F(add) F(subtract) F(multiply) F(divide) F(power) F(maximum) F(minimum) F(less) F(less_equal)     \
  F(greater) F(greater_equal) F(equal) F(not_equal) F(logical_and) F(logical_or) F(where)

#define RELPROP_WORD(word) word,
enum class Operation { FOR_EACH_OPERATION(RELPROP_WORD) };
#undef RELPROP_WORD

// The operation on a, b and c as far as it takes them, at place i; whole numbers know the first half of them.
template <class T>
HD T arithmetic(Operation operation, std::int64_t i, T a, T b, T c) {
  switch (operation) {
    case Operation::index: return static_cast<T>(i);
    case Operation::negative: return -a;
    case Operation::absolute: return a == 0 ? T(0) : a < 0 ? -a : a;
    case Operation::sign: return a > 0 ? T(1) : a < 0 ? T(-1) : a == 0 ? T(0) : a;
    case Operation::logical_not: return a == 0;
    case Operation::isfinite: return a - a == 0;
    case Operation::isnan: return a != a;
    case Operation::add: return a + b;
    case Operation::subtract: return a - b;
    case Operation::multiply: return a * b;
    case Operation::maximum: return larger(a, b);
    case Operation::minimum: return smaller(a, b);
    case Operation::less: return a < b;
    case Operation::less_equal: return a <= b;
    case Operation::greater: return a > b;
    case Operation::greater_equal: return a >= b;
    case Operation::equal: return a == b;
    case Operation::not_equal: return a != b;
    case Operation::logical_and: return a != 0 && b != 0;
    case Operation::logical_or: return a != 0 || b != 0;
    case Operation::where: return a != 0 ? b : c;
    default: break;
  }
  if constexpr (std::is_floating_point_v<T>) {
    switch (operation) {
      case Operation::floor: return std::floor(a);
      case Operation::sqrt: return std::sqrt(a);
      case Operation::exp: return math::exp(a);
      case Operation::expm1: return math::expm1(a);
      case Operation::log: return std::log(a);
      case Operation::log1p: return math::log1p(a);
      case Operation::tanh: return math::tanh(a);
      case Operation::divide: return a / b;
      case Operation::power: return std::pow(a, b);
      default: break;
    }
  }
  return a;
}

}  // namespace relprop::math
