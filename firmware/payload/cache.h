/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MMU and D-cache are off, but what an earlier stage left in the caches can
 * still be written back over us, or hide what we wrote. One routine each;
 * every writer of memory that was not ours before calls them.
 */
#ifndef HIL_CACHE_H
#define HIL_CACHE_H

#include <stddef.h>

/* Before the first write to any range: dc civac by line, dsb sy. */
void cache_before_write(const void *start, size_t size);
/* After writing data: dc ivac by line, dsb sy. */
void cache_after_write(const void *start, size_t size);
/* After writing code: dc ivac by line, dsb sy, ic ialluis, dsb ish, isb. */
void cache_code_written(const void *start, size_t size);

#endif
