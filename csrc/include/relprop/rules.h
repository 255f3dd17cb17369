// The propagation rules as scalar functions for host and device, namespace relprop::math.
// Link relprop::relprop (CMake), or put csrc/ and csrc/include/ on the include path; C++17.
#pragma once

#include <variant>

#include "math/rules/all.h"

namespace relprop {

namespace detail {
template <class Skipped, class... Rules>
using Variant = std::variant<Rules...>;
}

// Any of the rules.
#define RELPROP_ITEM(Rule) , math::Rule<T>
template <class T>
using AnyRule = detail::Variant<int FOR_EACH_RULE(RELPROP_ITEM)>;
#undef RELPROP_ITEM

}  // namespace relprop
