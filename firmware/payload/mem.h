/* SPDX-License-Identifier: Apache-2.0 */
/* What the compiler may call. Aligned accesses only: memory is Device. */
#ifndef HIL_MEM_H
#define HIL_MEM_H

#include <stddef.h>

void *memcpy(void *to, const void *from, size_t size);
void *memmove(void *to, const void *from, size_t size);
void *memset(void *to, int value, size_t size);
int memcmp(const void *a, const void *b, size_t size);

#endif
