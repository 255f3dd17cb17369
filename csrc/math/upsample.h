// Interpolation between neighbours along an axis, on scalars. Mirrors pyref/layers/upsample.py.
#pragma once

#include "hd.h"

namespace relprop::math {

// The weight of a neighbour that is distance / per away: 1 - distance / per, rounded once.
template <class T, class Whole>
HD T interpolation_weight(Whole distance, Whole per) {
  return static_cast<T>(per - distance) / static_cast<T>(per);
}

}  // namespace relprop::math
