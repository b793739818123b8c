/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HIL_LOADER_H
#define HIL_LOADER_H

#include "wire.h"

/* Receives an upload; returns how it ended, UPLOADED_*. */
uint64_t loader_entry(const struct wire_upload *plan);

#endif
