// r = R. It has no parts: schedules hand R on.  Mirrors pyref/rules/pass_.py.
#pragma once

#include "rule.h"

namespace relprop::math {

template <class T>
struct Pass {
  static constexpr const char* name = "pass_";
  static constexpr int max_parts = 0;
  static constexpr int denominators = 0;

  template <class Self, class Visit>
  static void fields(Self&, Visit&&) {}

  HD int parts() const { return 0; }
  HD int plain_part() const { return -1; }
};

}  // namespace relprop::math
