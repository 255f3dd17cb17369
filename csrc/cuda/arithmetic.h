// Arithmetic on arrays in any layout, as NumPy's functions do it: what the textbook's own lines ask of arrays in device
// memory.
#pragma once

#include "cuda/shape.h"
#include "math/arithmetic.h"

namespace relprop::cuda {

using math::Operation;

enum class Type { boolean, int32, int64, float32, float64 };

// `finite` is whether all of them are.
#define FOR_EACH_REDUCTION(F) F(sum) F(max) F(min) F(any) F(all) F(finite) F(argmax) F(argmin)

#define RELPROP_WORD(word) word,
enum class Reduction { FOR_EACH_REDUCTION(RELPROP_WORD) };
#undef RELPROP_WORD

// Numbers in memory, with a stride for each axis of the result, 0 where they are spread; or one number without data.
struct Operand {
  const void* data = nullptr;
  Type type = Type::float64;
  Index strides[Layout::most] = {};
  double number = 0;
};

// Where results go; `layout` has their shape and strides.
struct Target {
  void* data = nullptr;
  Type type = Type::float64;
  Layout layout;
};

// target = operation(operands), computed in T: float, double, or Index for whole numbers and truth.
template <class T>
void elementwise(const char* name, Stream stream, Operation operation, int count, const Operand (&operands)[3], const Target& target);

// target, in C order with the shape of `kept`, = reduction of `from` over the places of `reduced`; both hold strides of
// `from`. Computed in double, or Index; in a fixed order.
template <class T>
void reduce(const char* name, Stream stream, Reduction reduction, const Operand& from, const Layout& kept, const Layout& reduced,
            const Target& target);

// target_ij = Σ_k a_ik b_kj, all over any axes before; the strides of a are over (…, i, 0), those of b over (…, 0, j).
// A plain loop, summed in double: for what has no schedule of its own.
void matmul(const char* name, Stream stream, const Operand& a, const Operand& b, Index depth, Index a_step, Index b_step,
            const Target& target);

// to[k] = from[rows[k]] for rows of `size` elements of `width` bytes, or with `puts` to[rows[k]] = from[k]. Negative rows
// count from the end, `length` rows.
void take(const char* name, Stream stream, const Index* rows, Index count, Index length, Index size, int width, const void* from, void* to,
          bool puts);

}  // namespace relprop::cuda
