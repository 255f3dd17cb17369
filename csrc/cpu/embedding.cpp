#include "relprop/embedding.h"

#include <algorithm>

#include "machine/threads.h"

namespace relprop::cpu {

template <class Isa, class T>
void for_isa::embedding_forward(Isa, Index count, Index rows, Index width, const Index* ids, const T* table, T* y, bool& is_inside) {
  is_inside = true;
  for (Index t = 0; t < count; ++t) is_inside &= ids[t] >= 0 && ids[t] < rows;
  if (!is_inside) return;
  machine::parallel(count, std::max<Index>(1, (1 << 15) / std::max<Index>(1, width)), [=](Index from, Index to) {
    for (Index t = from; t < to; ++t) std::copy_n(table + ids[t] * width, width, y + t * width);
  });
}

template void for_isa::embedding_forward(machine::RELPROP_ISA, Index, Index, Index, const Index*, const float*, float*, bool&);
template void for_isa::embedding_forward(machine::RELPROP_ISA, Index, Index, Index, const Index*, const double*, double*, bool&);

}  // namespace relprop::cpu
