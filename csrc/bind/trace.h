/* What tracemalloc is told of large arrays; with the GIL. */
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

void relprop_trace_block(const void* block, size_t bytes);
void relprop_forget_block(const void* block);

#ifdef __cplusplus
}
#endif
