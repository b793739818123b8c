/* SPDX-License-Identifier: Apache-2.0 */
/* The line's encodings. Pure C: tested on the host too. */
#ifndef HIL_CODEC_H
#define HIL_CODEC_H

#include <stddef.h>
#include <stdint.h>

/*
 * Decodes COBS without its delimiters, in place if to == from. Returns the size, or
 * -1 when it is no COBS or would pass `room`.
 */
int cobs_decode(uint8_t *to, size_t room, const uint8_t *from, size_t size);

/* Encodes to put(), without delimiters. */
void cobs_encode(const uint8_t *from, size_t size, void (*put)(void *, uint8_t), void *to);

/*
 * Decodes padded base64 (RFC 4648; no white space, unused bits 0), in place if to ==
 * from. Returns the size, or -1.
 */
int base64_decode(uint8_t *to, size_t room, const uint8_t *from, size_t size);

/* The value of a base64 digit, or -1. */
int base64_value(uint8_t digit);

/* Encodes to put(), padded. */
void base64_encode(const uint8_t *from, size_t size, void (*put)(void *, uint8_t), void *to);

#endif
