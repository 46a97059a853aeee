/* SPDX-License-Identifier: Apache-2.0
 *
 * References in double that several programs compare kernels with.
 */
#ifndef ENSO_TESTS_KERNELS_REFERENCE_H
#define ENSO_TESTS_KERNELS_REFERENCE_H

#include "tests/kernels/rig.h"

/* An operator of one input with its attributes' defaults; Clip without bounds. */
double reference_unary(enum enso_op op, double v);

/* What a fused operator applies to its result, after reference_set_activation. */
double reference_activation(enum enso_activation kind, double v);
void reference_set_activation(struct rig *r, enum enso_activation kind);

#endif
