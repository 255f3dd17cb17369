#pragma once
// HD marks a function for host and device. Forgetting it is an error: nvcc runs with
// --Werror cross-execution-space-call, and every rule is instantiated in device code.
#ifdef __CUDACC__
#define HD __host__ __device__ inline
#else
#define HD inline
#endif
