/* SPDX-License-Identifier: Apache-2.0 */
/* Members of struct pcpu that start.S needs; main.c asserts them. */
#ifndef HIL_OFFSETS_H
#define HIL_OFFSETS_H

#define PCPU_CPU_STATE_OFFSET 4
#define PCPU_ENTRY_OFFSET 88

#endif
