// The instruction sets for which the schedules of csrc/cpu are compiled, and the choice at run time.
//
// Each csrc/cpu/*.cpp is compiled once per instruction set, RELPROP_ISA naming its tag, and without
// intrinsics. Functions that other files call take the tag as their first parameter; everything else in
// such a file, and in the headers beside it, lives in an unnamed namespace, so that no copy leaks.
#pragma once

namespace relprop::machine {

struct Baseline {};  // what every machine of the architecture has
struct X86V3 {};     // AVX2 and FMA
struct X86V4 {};     // AVX-512

enum class Isa { baseline, x86_v3, x86_v4 };

// The best one that was built and that this machine has; the environment's RELPROP_ISA may lower it.
Isa isa();
const char* isa_name();

template <class F>
void with_isa(F&& f) {
#ifdef RELPROP_HAS_X86
  if (isa() == Isa::x86_v4) return f(X86V4{});
  if (isa() == Isa::x86_v3) return f(X86V3{});
#endif
  f(Baseline{});
}

}  // namespace relprop::machine

// Defines name(args...): for_isa::name(tag, args...) with the tag of this machine.
#define RELPROP_CHOOSE(name)                                                        \
  template <class... Args>                                                          \
  void name(const Args&... args) {                                                  \
    ::relprop::machine::with_isa([&](auto tag) { for_isa::name(tag, args...); });   \
  }
