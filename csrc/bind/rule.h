// pyref's rule dataclasses as the structs of csrc/math.
#pragma once

#include <cstring>

#include "fields.h"
#include "relprop/rules.h"

namespace relprop::bind {

// Calls f(rule) with the struct of the same name, its fields read from the dataclass; those that `skip` names
// keep their zeros.
template <class T, class F, class Skip>
auto with_rule(py::handle rule, F&& f, Skip&& skip) -> decltype(f(math::Pass<T>{})) {
  const auto name = py::cast<std::string>(rule.attr("name"));
#define RELPROP_WHERE_NAMED(Rule)                                     \
  if (name == math::Rule<T>::name) {                                  \
    math::Rule<T> compiled{};                                         \
    math::Rule<T>::fields(compiled, [&](const char* n, auto& field) { \
      if (!skip(n)) read_field(n, rule.attr(n), field);               \
    });                                                               \
    return f(compiled);                                               \
  }
  FOR_EACH_RULE(RELPROP_WHERE_NAMED)
#undef RELPROP_WHERE_NAMED
  throw py::value_error("rule '" + name + "' is not compiled");
}

template <class T, class F>
auto with_rule(py::handle rule, F&& f) -> decltype(f(math::Pass<T>{})) {
  return with_rule<T>(rule, f, [](const char*) { return false; });
}

// The same for what takes any rule; the bounds of a box, which are arrays, keep their zeros.
template <class T>
AnyRule<T> any_rule(py::handle rule) {
  const auto is_bound = [](const char* field) { return std::strcmp(field, "low") == 0 || std::strcmp(field, "high") == 0; };
  return with_rule<T>(rule, [](const auto& compiled) -> AnyRule<T> { return compiled; }, is_bound);
}

}  // namespace relprop::bind
