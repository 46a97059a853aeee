/* SPDX-License-Identifier: Apache-2.0
 *
 * The copy of kernels/nodes/strided.h on the CPU.
 */
#ifndef ENSO_KERNELS_CPU_STRIDED_H
#define ENSO_KERNELS_CPU_STRIDED_H

#include "kernels/cpu/cpu_internal.h"
#include "kernels/nodes/strided.h"

/* Fill y from x. ENSO_INTERNAL when the shape is not y's size or reaches outside of x. */
int enso__strided_copy(const struct enso__call *call, struct enso__strided *s,
                       const struct enso_tensor *x, const struct enso_tensor *y,
                       struct enso_error *err);

#endif
