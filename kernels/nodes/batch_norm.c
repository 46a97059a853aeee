/* SPDX-License-Identifier: Apache-2.0
 *
 * BatchNormalization: see batch_norm.h.
 */
#include "ensod_build.h"

#include "kernels/nodes/batch_norm.h"

#include <math.h>

void enso__batch_norm_fold(size_t n, const float *gamma, const float *beta, const float *mean,
                           const float *variance, float epsilon, float *scale_shift)
{
    for (size_t c = 0; c < n; c++) {
        double scale = (double)gamma[c] / sqrt((double)variance[c] + (double)epsilon);

        scale_shift[c] = (float)scale;
        scale_shift[n + c] = (float)((double)beta[c] - (double)mean[c] * scale);
    }
}

int enso__batch_norm_constant(const struct enso__bind *b, float epsilon, float **ret_scale_shift,
                              size_t *ret_n, struct enso_error *err)
{
    float *p[4] = {NULL};
    size_t n[4] = {0};
    int st = ENSO_OK;

    *ret_scale_shift = NULL;
    for (size_t i = 0; i < 4 && st == ENSO_OK; i++)
        st = enso__constant_floats(b, i + 1, 1, &p[i], &n[i], err);
    if (st == ENSO_OK && p[0] != NULL && p[1] != NULL && p[2] != NULL && p[3] != NULL &&
        n[0] == n[1] && n[1] == n[2] && n[2] == n[3]) {
        *ret_scale_shift = enso_alloc_array(2 * n[0], sizeof(float));
        if (*ret_scale_shift == NULL) {
            st = enso_error_no_memory(err, "folded statistics");
        } else {
            enso__batch_norm_fold(n[0], p[0], p[1], p[2], p[3], epsilon, *ret_scale_shift);
            *ret_n = n[0];
        }
    }
    for (size_t i = 0; i < 4; i++)
        enso_free(p[i]);
    return st;
}
