/* SPDX-License-Identifier: Apache-2.0
 *
 * Portable matrix product over packed panels, its packing and the depthwise product: the oracle of
 * the other instruction sets and the fallback. Multiplications and additions round one by one
 * (-ffp-contract=off), so all compilers give the same bits. See kernels.h.
 */
#include "ensod_build.h"

#include "kernels/cpu/kernels.h"

#include <string.h>

#include "kernels/cpu/tile_args.h"

/* Two rows at a time: their 32 sums fit the registers of a plain 128-bit machine at least half. */
static void two_rows(const struct tile_args *t, size_t row, size_t n_rows)
{
    float sum[2][ENSO_PANEL] = {{0}};
    const float *b = t->panel;

    for (size_t tap = 0; tap < t->n_taps; tap++) {
        const float *const *rows = t->rows + tap * ENSO_TILE_ROWS;
        const float *x0 = rows[row] + t->from, *x1 = rows[row + n_rows - 1] + t->from;

        for (size_t k = 0; k < t->depth; k++, b += ENSO_PANEL)
            for (size_t j = 0; j < ENSO_PANEL; j++) {
                sum[0][j] += x0[k] * b[j];
                sum[1][j] += x1[k] * b[j];
            }
    }
    for (size_t i = 0; i < n_rows; i++) {
        float *c = t->c + (row + i) * t->ldc;

        for (size_t j = 0; j < ENSO_PANEL; j++) {
            float v = sum[i][j];

            if (t->add)
                v += c[j];
            if (t->bias != NULL)
                v += t->bias[j];
            c[j] = t->relu && v < 0 ? 0 : v;
        }
    }
}

static void tile(size_t n_rows, size_t n_panels, const struct tile_args *t)
{
    (void)n_panels; /* widest() says one */
    for (size_t row = 0; row < n_rows; row += 2)
        two_rows(t, row, ENSO_MIN(n_rows - row, (size_t)2));
}

static void finish_tile(float *c, size_t ldc, size_t n_rows, size_t n, const float *residual,
                        size_t ld_residual, const struct enso_activation_args *a)
{
    const struct enso_kernels *generic = enso_kernels_generic();

    for (size_t i = 0; i < n_rows; i++, c += ldc) {
        if (residual != NULL)
            generic->add(c, residual + i * ld_residual, c, n);
        if (a->kind != ENSO_ACTIVATION_NONE)
            generic->activate(c, c, n, a);
    }
}

static size_t widest(size_t n_rows)
{
    (void)n_rows;
    return 1;
}

static void prefetch(const float *p)
{
    __builtin_prefetch(p, 0, 2);
}

#include "kernels/cpu/gemm_driver.h"

static void pack(const float *b, size_t ldb, size_t k, size_t n, float *panels)
{
    for (size_t p = 0; p < n; p += ENSO_PANEL) {
        size_t m = ENSO_MIN(n - p, (size_t)ENSO_PANEL);

        for (size_t i = 0; i < k; i++, panels += ENSO_PANEL) {
            memcpy(panels, b + i * ldb + p, m * sizeof(float));
            memset(panels + m, 0, (ENSO_PANEL - m) * sizeof(float));
        }
    }
}

static void pack_transposed(const float *b, size_t ldb, size_t k, size_t n, float *panels)
{
    for (size_t p = 0; p < n; p += ENSO_PANEL)
        for (size_t i = 0; i < k; i++, panels += ENSO_PANEL)
            for (size_t j = 0; j < ENSO_PANEL; j++)
                panels[j] = p + j < n ? b[(p + j) * ldb + i] : 0;
}

static void depthwise(const struct enso_depthwise *d)
{
    const struct enso_epilogue *e = d->epilogue;
    size_t n = d->n_channels;

    for (size_t x = 0; x < d->n_pixels; x++) {
        const float *const *taps = d->taps + x * d->n_taps;
        float *y = d->y + x * n;

        /* the output may be the residual: sums are made beside it, a piece at a time */
        for (size_t first = 0; first < n; first += 64) {
            float sum[64] = {0};
            size_t m = ENSO_MIN(n - first, (size_t)64);

            for (size_t t = 0; t < d->n_taps; t++)
                for (size_t c = 0; c < m; c++)
                    sum[c] += d->weights[t * n + first + c] * taps[t][first + c];
            for (size_t c = 0; e->bias != NULL && c < m; c++)
                sum[c] += e->bias[first + c];
            finish_tile(sum, 64, 1, m,
                        e->residual == NULL ? NULL : e->residual + x * e->ld_residual + first, 0,
                        &e->activation);
            memcpy(y + first, sum, m * sizeof(float));
        }
    }
}

void enso_gemm_plain_rows(const float *a, size_t lda, size_t n_rows, const float **rows)
{
    for (size_t row = 0; row < n_rows; rows += ENSO_TILE_ROWS) {
        size_t n = enso_gemm_tile(n_rows - row);

        for (size_t i = 0; i < n; i++)
            rows[i] = a + (row + i) * lda;
        row += n;
    }
}

void enso_gemm_add_generic(struct enso_kernels *kernels)
{
    kernels->gemm = run_gemm;
    kernels->depthwise = depthwise;
    kernels->pack = pack;
    kernels->pack_transposed = pack_transposed;
}
