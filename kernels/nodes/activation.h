/* SPDX-License-Identifier: Apache-2.0
 *
 * An activation with its parameters, as fused operators carry it. Plain C that CUDA files may
 * include as well.
 */
#ifndef ENSO_KERNELS_NODES_ACTIVATION_H
#define ENSO_KERNELS_NODES_ACTIVATION_H

#include "engine/ops/ops.h"

struct enso_activation_args {
    enum enso_activation kind;
    float alpha, beta; /* slope of leaky ReLU, ELU and hard sigmoid; offset of hard sigmoid */
    float min, max;    /* CLIP */
};

#endif
