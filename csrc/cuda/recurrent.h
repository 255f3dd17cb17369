// What LSTM and GRU share on the device. Mirrors pyref/layers/recurrent.py; pointers are to device memory.
//
// Sizes, time, records and weights are those of relprop/recurrent.h.
#pragma once

#include "machine/cuda/memory.h"
#include "relprop/recurrent.h"

namespace relprop::cuda {

using cpu::RecurrentBounds;
using cpu::RecurrentSize;
using cpu::RecurrentWeights;
using cpu::Steps;
using cpu::Time;

// to (samples, steps, length) = from, 0 where it is padding
template <class T>
void mask_padding(const char* operation, Stream stream, const RecurrentSize& size, Index length, const Index* lengths, const T* from,
                  T* to);

// s = r q of a GRU, without gaps
template <class T>
void gru_s(const char* operation, Stream stream, const RecurrentSize& size, const Steps<const T>& r, const Steps<const T>& q, T* s);

// to, without gaps, = from
template <class T>
void pack_steps(const char* operation, Stream stream, const RecurrentSize& size, Index length, const Steps<const T>& from, T* to);

// How weights of a recurrence are held while it runs over time. A block holds all of them, or blocks that run at once
// hold a share each, or they are read from memory in each step.
struct Holding {
  Index bytes = INT64_MAX;  // at most, of weights in one block
  int staged = 1024;        // at most, numbers of a state that a block copies at a time
};
Holding holding();
void set_holding(const Holding& most);  // for tests: sizes at which each of the three is chosen
const char* last_held();                // what was chosen last on this thread: block, grid or memory

}  // namespace relprop::cuda
