/* SPDX-License-Identifier: Apache-2.0
 *
 * Shapes of MatMul: see matmul.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/matmul.h"

/* The stack of t without its matrix dimensions, against the stack dims. */
static bool stack_strides(const struct enso_tensor *t, const struct enso__matmul *s,
                          size_t *ret_strides)
{
    struct enso_tensor stack = *t;

    stack.rank = t->rank < 2 ? 0 : (uint8_t)(t->rank - 2);
    return enso__broadcast_strides(&stack, s->rank, s->dims, ret_strides);
}

bool enso__matmul_shapes(const struct enso_tensor *a, const struct enso_tensor *b,
                         struct enso__matmul *s)
{
    if (a->rank < 1 || b->rank < 1)
        return false;
    s->m = a->rank < 2 ? 1 : (size_t)a->dims[a->rank - 2];
    s->k = (size_t)a->dims[a->rank - 1];
    s->n = b->rank < 2 ? 1 : (size_t)b->dims[b->rank - 1];
    if ((size_t)b->dims[b->rank < 2 ? 0 : b->rank - 2] != s->k)
        return false;
    size_t ra = a->rank < 2 ? 0 : a->rank - 2u, rb = b->rank < 2 ? 0 : b->rank - 2u;

    s->rank = ENSO_MAX(ra, rb);
    s->n_matrices = 1;
    for (size_t i = 0; i < s->rank; i++) { /* i from the end */
        int64_t da = i < ra ? a->dims[ra - 1 - i] : 1, db = i < rb ? b->dims[rb - 1 - i] : 1;

        s->dims[s->rank - 1 - i] = da == 1 ? db : da;
        s->n_matrices *= (size_t)s->dims[s->rank - 1 - i];
    }
    return stack_strides(a, s, s->a_strides) && stack_strides(b, s, s->b_strides);
}
