#include <atomic>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "cuda/layer.cuh"

namespace relprop::cuda {

namespace {

bool starts_plain() {
  const char* wish = std::getenv("RELPROP_CUDA_PLAIN");
  return wish && std::string_view(wish) == "1";
}

std::atomic<Precision>& chosen_precision() {
  static std::atomic<Precision> chosen{starts_plain() ? Precision::plain : Precision::float32};
  return chosen;
}

}  // namespace

Precision product_precision() { return chosen_precision(); }
void set_product_precision(Precision precision) { chosen_precision() = precision; }

template <class T>
void affine_sum(const char* operation, Stream stream, const AffineMap& map, const T* x, const T* w, Factor input, Factor weight,
                const Constants<T>& constants, bool add, T* z) {
  const Slot<T> slot{input, weight, z};
  store_sums<T>(Layer<T, AffineMap>{operation, stream, map, x, w, nullptr, nullptr, constants, nullptr}, nullptr, &slot, 1, add);
}

template <class T>
void affine_carry(const char* operation, Stream stream, const AffineMap& map, const T* x, const T* w, const CarriedPart<T>* parts,
                  int count, const Constants<T>& constants, bool add, T* r) {
  std::vector<Slot<T>> slots;
  for (int p = 0; p < count; ++p) slots.push_back({parts[p].input, parts[p].weight, const_cast<T*>(parts[p].s)});
  carry_slots<T>(Layer<T, AffineMap>{operation, stream, map, x, w, nullptr, nullptr, constants, nullptr}, slots.data(), count, r, add);
}

#define RELPROP_INSTANTIATE(T)                                                                                                   \
  RELPROP_INSTANTIATE_LAYER(T, AffineMap)                                                                                        \
  template void affine_sum(const char*, Stream, const AffineMap&, const T*, const T*, Factor, Factor, const Constants<T>&, bool, \
                           T*);                                                                                                  \
  template void affine_carry(const char*, Stream, const AffineMap&, const T*, const T*, const CarriedPart<T>*, int,              \
                             const Constants<T>&, bool, T*);
RELPROP_INSTANTIATE(float)
RELPROP_INSTANTIATE(double)

}  // namespace relprop::cuda
