/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32, as zlib's: crc32_update(0, ...) begins, crc32_update(crc, ...) goes on. */
#ifndef HIL_CRC32_H
#define HIL_CRC32_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32_update(uint32_t crc, const void *data, size_t size);

#endif
