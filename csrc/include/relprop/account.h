// What one node keeps of the relevance that reaches it: pyref.Account, filled by the relevance functions.
#pragma once

namespace relprop {

template <class T>
struct Account {
  T* bias = nullptr;        // share of the bias, in the shape of the output; not written where there is no bias
  T* stabilizer = nullptr;  // one number per sample, as is the next
  T* dropped = nullptr;
};

// Bounds of the z^B rule, one per element of a sample. Where they are null the rule's own two numbers hold.
template <class T>
struct Bounds {
  const T* low = nullptr;
  const T* high = nullptr;
};

}  // namespace relprop
