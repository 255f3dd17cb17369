// Softmax and its logarithm over x_1 … x_m with their maximum, on scalars. Mirrors pyref/layers/softmax.py.
#pragma once

#include "elementary.h"

namespace relprop::math {

// exp(x_c - max), of which p_c = exp(x_c - max) / total is the share.
template <class T>
HD T softmax_size(T x, T max) {
  return exp(x - max);
}

// G_x,c = p_c (G_c - dot),  dot = Σ_k p_k G_k
template <class T>
HD T softmax_gradient(T p, T G, T dot) {
  return p * (G - dot);
}

// y_c = (x_c - max) - log total
template <class T>
HD T log_softmax(T x, T max, T total) {
  return (x - max) - std::log(total);
}

// G_x,c = G_c - p_c sum,  sum = Σ_k G_k
template <class T>
HD T log_softmax_gradient(T p, T G, T sum) {
  return G - p * sum;
}

}  // namespace relprop::math
