/* Python's functions by which tracemalloc is told of memory. In C: its header gives them C++ linkage in C++. */
#include "trace.h"

#include <Python.h>

enum { domain = 0x72656c70 };

void relprop_trace_block(const void* block, size_t bytes) { PyTraceMalloc_Track(domain, (uintptr_t)block, bytes); }
void relprop_forget_block(const void* block) { PyTraceMalloc_Untrack(domain, (uintptr_t)block); }
