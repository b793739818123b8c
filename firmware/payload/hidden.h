/* SPDX-License-Identifier: Apache-2.0 */
/* Forced into every file: no symbol goes through a GOT, so nothing is relocated. */
#ifndef __ASSEMBLER__
#pragma GCC visibility push(hidden)
#endif
