/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix product over packed panels with AVX2 and FMA. The micro-kernel keeps a tile of six rows by
 * sixteen columns in twelve of the sixteen registers: per step two loads of the panel and six
 * broadcasts feed twelve FMAs, which is what two FMA ports can take. Tiles of fewer rows exist for
 * remainders; with one to three rows in all, several panels are taken at once to keep enough sums
 * in flight. Measured on Zen 3: 83-93 % of the FMA peak from 128 rows on, 70-80 % at 32.
 *
 * Tried and left out: packing A (0-3 % from 256 rows on), GELU inside the micro-kernel (the code
 * grows and all tiles slow down: finish_tile is out of line on the tile still in the first cache).
 */
#include "ensod_build.h"

#include "kernels/cpu/kernels.h"

#include <string.h>

#include "kernels/cpu/math_avx2.h"
#include "kernels/cpu/tile_args.h"

#define UNROLL _Pragma("GCC unroll 8")

/* clang-format off */
#define TILE(MR, NP)                                                                               \
    static void tile_##MR##_##NP(const struct tile_args *t)                                        \
    {                                                                                              \
        __m256 sum[MR][2 * (NP)];                                                                  \
        const float *b = t->panel;                                                                 \
        const size_t stride = t->panel_stride;                                                     \
        UNROLL for (int i = 0; i < (MR); i++)                                                      \
            UNROLL for (int j = 0; j < 2 * (NP); j++)                                              \
                sum[i][j] = _mm256_setzero_ps();                                                   \
        for (size_t tap = 0; tap < t->n_taps; tap++) {                                             \
            const float *const *rows = t->rows + tap * ENSO_TILE_ROWS;                             \
            const float *x[MR];                                                                    \
            UNROLL for (int i = 0; i < (MR); i++)                                                  \
                x[i] = rows[i] + t->from;                                                          \
            for (size_t k = 0; k < t->depth; k++, b += ENSO_PANEL) {                               \
                __m256 w[2 * (NP)];                                                                \
                UNROLL for (int j = 0; j < (NP); j++) {                                            \
                    w[2 * j] = _mm256_load_ps(b + (size_t)j * stride);                             \
                    w[2 * j + 1] = _mm256_load_ps(b + (size_t)j * stride + 8);                     \
                }                                                                                  \
                UNROLL for (int i = 0; i < (MR); i++) {                                            \
                    __m256 a = _mm256_broadcast_ss(x[i] + k);                                      \
                    UNROLL for (int j = 0; j < 2 * (NP); j++)                                      \
                        sum[i][j] = _mm256_fmadd_ps(a, w[j], sum[i][j]);                           \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (int i = 0; i < (MR); i++)                                                      \
            UNROLL for (int j = 0; j < 2 * (NP); j++) {                                            \
                float *c = t->c + (size_t)i * t->ldc + (size_t)j * 8;                              \
                __m256 v = sum[i][j];                                                              \
                if (t->add)                                                                        \
                    v = _mm256_add_ps(v, _mm256_loadu_ps(c));                                      \
                if (t->bias != NULL)                                                               \
                    v = _mm256_add_ps(v, _mm256_loadu_ps(t->bias + (size_t)j * 8));                \
                if (t->relu)                                                                       \
                    v = _mm256_max_ps(_mm256_setzero_ps(), v);                                     \
                _mm256_storeu_ps(c, v);                                                            \
            }                                                                                      \
    }
/* clang-format on */
TILE(1, 1)
TILE(2, 1)
TILE(3, 1)
TILE(4, 1)
TILE(5, 1)
TILE(6, 1)
TILE(1, 2)
TILE(2, 2)
TILE(3, 2)
TILE(1, 4)

static void tile(size_t n_rows, size_t n_panels, const struct tile_args *t)
{
    typedef void (*tile_fn)(const struct tile_args *);
    static const tile_fn tiles[ENSO_TILE_ROWS + 1][5] = {
        [1] = {[1] = tile_1_1, [2] = tile_1_2, [4] = tile_1_4},
        [2] = {[1] = tile_2_1, [2] = tile_2_2},
        [3] = {[1] = tile_3_1, [2] = tile_3_2},
        [4] = {[1] = tile_4_1},
        [5] = {[1] = tile_5_1},
        [6] = {[1] = tile_6_1}};

    tiles[n_rows][n_panels](t);
}

static size_t widest(size_t n_rows)
{
    return n_rows == 1 ? 4 : 2;
}

static void __attribute__((noinline))
finish_tile(float *c, size_t ldc, size_t n_rows, size_t n, const float *residual,
            size_t ld_residual, const struct enso_activation_args *a)
{
    for (size_t i = 0; i < n_rows; i++, c += ldc) {
        for (size_t j = 0; residual != NULL && j < n; j += 8)
            _mm256_storeu_ps(c + j, _mm256_add_ps(_mm256_loadu_ps(c + j),
                                                  _mm256_loadu_ps(residual + i * ld_residual + j)));
        if (a->kind != ENSO_ACTIVATION_NONE)
            activate_row(c, c, n, a);
    }
}

static inline void prefetch(const float *p)
{
    _mm_prefetch((const char *)p, _MM_HINT_T1);
}

#include "kernels/cpu/gemm_driver.h"

static inline void transpose8(__m256 *r)
{
    __m256 t[8], u[8];

    UNROLL for (int i = 0; i < 4; i++)
    {
        t[2 * i] = _mm256_unpacklo_ps(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm256_unpackhi_ps(r[2 * i], r[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 2; i++)
    {
        u[4 * i] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0x44);
        u[4 * i + 1] = _mm256_shuffle_ps(t[4 * i], t[4 * i + 2], 0xee);
        u[4 * i + 2] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0x44);
        u[4 * i + 3] = _mm256_shuffle_ps(t[4 * i + 1], t[4 * i + 3], 0xee);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        r[i] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(u[i], u[i + 4], 0x31);
    }
}

/* Squares of eight by eight where they fit, single elements at the edges. */
static void pack_transposed(const float *b, size_t ldb, size_t k, size_t n, float *panels)
{
    for (size_t p = 0; p < n; p += ENSO_PANEL, panels += k * ENSO_PANEL)
        for (size_t h = 0; h < ENSO_PANEL; h += 8) {
            size_t first = p + h, i = 0;

            for (; first + 8 <= n && i + 8 <= k; i += 8) {
                __m256 r[8];

                UNROLL for (int j = 0; j < 8; j++) r[j] =
                    _mm256_loadu_ps(b + (first + (size_t)j) * ldb + i);
                transpose8(r);
                UNROLL for (int j = 0; j < 8; j++)
                    _mm256_storeu_ps(panels + (i + (size_t)j) * ENSO_PANEL + h, r[j]);
            }
            for (; i < k; i++)
                for (size_t j = 0; j < 8; j++)
                    panels[i * ENSO_PANEL + h + j] = first + j < n ? b[(first + j) * ldb + i] : 0;
        }
}

/* Four vectors of channels at once over all taps, so that the sums stay in registers. */
static inline void depthwise_32(const struct enso_depthwise *d, const float *const *taps, size_t c,
                                float *y)
{
    __m256 sum[4];

    UNROLL for (int j = 0; j < 4; j++) sum[j] = _mm256_setzero_ps();
    for (size_t t = 0; t < d->n_taps; t++) {
        const float *w = d->weights + t * d->n_channels + c, *x = taps[t] + c;

        UNROLL for (int j = 0; j < 4; j++) sum[j] =
            _mm256_fmadd_ps(_mm256_loadu_ps(w + 8 * j), _mm256_loadu_ps(x + 8 * j), sum[j]);
    }
    UNROLL for (int j = 0; j < 4; j++) _mm256_storeu_ps(y + 8 * j, sum[j]);
}

/* n <= 8 channels. */
static inline void depthwise_8(const struct enso_depthwise *d, const float *const *taps, size_t c,
                               size_t n, float *y)
{
    __m256i mask = n == 8 ? _mm256_set1_epi32(-1) : tail_mask(n);
    __m256 sum = _mm256_setzero_ps();

    for (size_t t = 0; t < d->n_taps; t++)
        sum = _mm256_fmadd_ps(_mm256_maskload_ps(d->weights + t * d->n_channels + c, mask),
                              _mm256_maskload_ps(taps[t] + c, mask), sum);
    _mm256_storeu_ps(y, sum);
}

static void depthwise(const struct enso_depthwise *d)
{
    const struct enso_epilogue *e = d->epilogue;
    size_t n = d->n_channels;

    for (size_t x = 0; x < d->n_pixels; x++) {
        const float *const *taps = d->taps + x * d->n_taps;
        const float *residual = e->residual == NULL ? NULL : e->residual + x * e->ld_residual;

        for (size_t c = 0; c < n; c += 32) {
            _Alignas(32) float sum[32];
            size_t m = ENSO_MIN(n - c, (size_t)32);

            if (m == 32)
                depthwise_32(d, taps, c, sum);
            else
                for (size_t j = 0; j < m; j += 8)
                    depthwise_8(d, taps, c + j, ENSO_MIN(m - j, (size_t)8), sum + j);
            for (size_t j = 0; e->bias != NULL && j < m; j++)
                sum[j] += e->bias[c + j];
            for (size_t j = 0; residual != NULL && j < m; j++)
                sum[j] += residual[c + j];
            activate_row(sum, d->y + x * n + c, m, &e->activation);
        }
    }
}

void enso_gemm_add_avx2(struct enso_kernels *kernels)
{
    kernels->gemm = run_gemm;
    kernels->depthwise = depthwise;
    kernels->pack_transposed = pack_transposed;
}
