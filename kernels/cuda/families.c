/* SPDX-License-Identifier: Apache-2.0
 *
 * Which family of kernels binds which operator. An operator without a row here makes its model run
 * on the CPU as a whole.
 */
#include "ensod_build.h"

#include "kernels/cuda/cuda_internal.h"

/* clang-format off */
static const enso__cuda_bind_fn families[ENSO_N_OPS] = {
    [ENSO_OP_NONE] = NULL,
};
/* clang-format on */

enso__cuda_bind_fn enso__cuda_family(enum enso_op op)
{
    return (unsigned)op < ENSO_N_OPS ? families[op] : NULL;
}
