// Threads of a block in teams, each with a number of its own to find from many.
#pragma once

#include "machine/cuda/block.cuh"
#include "machine/cuda/elements.cuh"

namespace relprop::cuda {

// A block has team_threads / size teams; size is a power of 2. Members of a team lie side by side where they read what
// lies side by side in memory, else the teams do.
struct Teams {
  static constexpr int threads = 256;
  int size;
  bool members_side_by_side;

  HD int across() const { return threads / size; }
  HD int team(int thread) const { return members_side_by_side ? thread / size : thread % across(); }
  HD int member(int thread) const { return members_side_by_side ? thread % size : thread / across(); }
  HD int apart() const { return members_side_by_side ? 1 : across(); }  // threads between two members

  Shape shape(Index teams, std::size_t shared) const { return {blocks(teams, across()), threads, size > 1 ? shared : 0}; }
};

// Teams for `numbers` numbers each, of which there are `teams` in a sample; along: neighbouring teams read neighbouring
// numbers. The choice, and so the order of a sum, does not depend on the number of samples.
inline Teams teams_for(Index numbers, Index teams, bool along) {
  if (numbers < 32 || (along && teams >= 4096)) return {1, false};
  if (along) return {numbers < 1024 ? 8 : 32, false};
  return {numbers < 1024 ? 32 : 256, true};
}

// join of the values of a team's members, in a fixed order, for each of them; all threads of the block take part.
// scratch: one value per thread, free again after the call; unread where teams are of one.
template <class T, class Join>
__device__ inline T team_join(const Teams& teams, T value, Tile<T> scratch, Join&& join) {
  if (teams.size == 1) return value;
  const int thread = static_cast<int>(threadIdx.x), member = teams.member(thread), apart = teams.apart();
  scratch[thread] = value;
  __syncthreads();
  for (int half = teams.size / 2; half > 0; half /= 2) {
    if (member < half) {
      const T mine = scratch[thread], other = scratch[thread + half * apart];
      scratch[thread] = join(mine, other);
    }
    __syncthreads();
  }
  const T all = scratch[thread - member * apart];
  __syncthreads();
  return all;
}

}  // namespace relprop::cuda
