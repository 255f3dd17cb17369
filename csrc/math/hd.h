#pragma once
// HD marks a function for host and device. Forgetting it is an error: nvcc runs with
// --Werror cross-execution-space-call, and every rule is instantiated in device code.
// On the host a scalar function is always inlined: one call inside a loop over data keeps it from becoming vector code,
// and a copy that was compiled for one instruction set must not be linked into the code of another.
#if defined(__CUDACC__)
#define HD __host__ __device__ inline
#elif defined(__GNUC__)
#define HD inline __attribute__((always_inline))
#else
#define HD inline
#endif
