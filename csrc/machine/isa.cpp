#include "machine/isa.h"

#include <cstdlib>
#include <cstring>

namespace relprop::machine {
namespace {

Isa best() {
#if defined(RELPROP_HAS_X86) && defined(__GNUC__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return Isa::x86_v4;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2")) return Isa::x86_v3;
#endif
  return Isa::baseline;
}

constexpr const char* names[] = {"baseline", "x86-64-v3", "x86-64-v4"};

Isa choose() {
  const Isa found = best();
  if (const char* wanted = std::getenv("RELPROP_ISA"))
    for (int i = 0; i < static_cast<int>(found); ++i)
      if (std::strcmp(wanted, names[i]) == 0) return static_cast<Isa>(i);
  return found;
}

}  // namespace

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

const char* isa_name() { return names[static_cast<int>(isa())]; }

}  // namespace relprop::machine
