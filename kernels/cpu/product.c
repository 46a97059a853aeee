/* SPDX-License-Identifier: Apache-2.0
 *
 * Matrix products over a team: how rows and panels are cut into units of work, and how weights are
 * packed while they are read. The cuts change who computes what, never the bits (kernels.h).
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <string.h>

#include "base/memory.h"

/* A unit of fewer multiplications than this is not worth a claim. */
#define UNIT_COST 65536
/* Bytes of weights read at once. */
#define SLICE_BYTES ((size_t)1 << 20)

/* Rows [row, row + n_rows) by panels [first, last). */
static void block(const struct enso_kernels *kernels, const struct enso__product *p, size_t row,
                  size_t n_rows, size_t first, size_t last)
{
    const float *rows[ENSO_GEMM_TILES(ENSO_GEMM_MAX_ROWS) * ENSO_TILE_ROWS];
    struct enso_epilogue e = p->epilogue;
    size_t column = first * ENSO_PANEL;

    if (e.bias != NULL)
        e.bias += column;
    if (e.residual != NULL)
        e.residual += row * e.ld_residual + column;
    enso_gemm_plain_rows(p->a + row * p->lda, p->lda, n_rows, rows);
    kernels->gemm(&(struct enso_gemm){.rows = rows,
                                      .n_rows = n_rows,
                                      .taps = 1,
                                      .depth = p->k,
                                      .panels = p->panels + column * p->k,
                                      .n_columns = ENSO_MIN(last * ENSO_PANEL, p->n) - column,
                                      .c = p->c + row * p->ldc + column,
                                      .ldc = p->ldc,
                                      .epilogue = &e});
}

void enso__product_single(const struct enso_kernels *kernels, const struct enso__product *p)
{
    for (size_t row = 0; row < p->m && p->n > 0; row += ENSO_GEMM_MAX_ROWS)
        block(kernels, p, row, ENSO_MIN(p->m - row, (size_t)ENSO_GEMM_MAX_ROWS), 0,
              enso_panels(p->n));
}

struct product_work {
    const struct enso_kernels *kernels;
    const struct enso__product *product;
    size_t rows_per_unit, panels_per_unit, units_per_row;
};

static void product_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct product_work *w = arg;
    const struct enso__product *p = w->product;

    (void)thread;
    for (size_t unit = first; unit < last; unit++) {
        size_t row = unit / w->units_per_row * w->rows_per_unit;
        size_t panel = unit % w->units_per_row * w->panels_per_unit;

        block(w->kernels, p, row, ENSO_MIN(w->rows_per_unit, p->m - row), panel,
              ENSO_MIN(panel + w->panels_per_unit, enso_panels(p->n)));
    }
}

void enso__product_run(const struct enso__call *call, const struct enso__product *p)
{
    unsigned n_threads = enso_team_size(call->team);
    const struct enso_kernels *kernels = call->bound->kernels;

    if (p->m == 0 || p->n == 0)
        return;
    if (n_threads == 1 || p->m * p->n * ENSO_MAX(p->k, (size_t)1) < 2 * UNIT_COST) {
        enso__product_single(kernels, p);
        return;
    }
    /* blocks of rows as even as possible, whole tiles; enough groups of panels for eight claims per
     * thread, so that a disturbed core's share can go to the others */
    size_t n_blocks = (p->m + ENSO_GEMM_MAX_ROWS - 1) / ENSO_GEMM_MAX_ROWS;
    size_t rows = (p->m + n_blocks - 1) / n_blocks;
    size_t n_panels = enso_panels(p->n), groups = (8 * n_threads + n_blocks - 1) / n_blocks;

    rows = ENSO_MIN((rows + ENSO_TILE_ROWS - 1) / ENSO_TILE_ROWS * ENSO_TILE_ROWS,
                    (size_t)ENSO_GEMM_MAX_ROWS);
    size_t panel_cost = ENSO_MIN(rows, p->m) * ENSO_MAX(p->k, (size_t)1) * ENSO_PANEL;
    size_t panels = ENSO_MAX((n_panels + groups - 1) / groups, UNIT_COST / panel_cost);

    panels = ENSO_MAX(panels, (size_t)(p->m <= 3 ? 4 : 1)); /* few rows take panels together */
    struct product_work w = {kernels, p, rows, panels, (n_panels + panels - 1) / panels};

    enso_team_run(call->team, (p->m + rows - 1) / rows * w.units_per_row, 1, product_piece, &w);
}

size_t enso__panel_bytes(size_t k, size_t n)
{
    size_t bytes;

    return enso_size_mul(enso_panels(n), k, &bytes) &&
                   enso_size_mul(bytes, ENSO_PANEL * sizeof(float), &bytes)
               ? bytes
               : SIZE_MAX;
}

static int pack_slices(const struct enso_kernels *kernels, const struct enso_constant *c,
                       bool transposed, size_t k, size_t n, float *slice, size_t slice_rows,
                       float *panels, struct enso_error *err)
{
    size_t n_rows = transposed ? n : k, width = transposed ? k : n;

    for (size_t row = 0; row < n_rows && width > 0; row += slice_rows) {
        size_t m = ENSO_MIN(slice_rows, n_rows - row);
        int st = enso_constant_read(c, (int64_t)(row * width), (int64_t)(m * width), slice, err);

        if (st != ENSO_OK)
            return st;
        if (transposed) /* whole panels: slice_rows is a multiple of 16 */
            kernels->pack_transposed(slice, k, k, m, panels + row * k);
        else
            for (size_t p = 0; p < n; p += ENSO_PANEL)
                kernels->pack(slice + p, n, m, ENSO_MIN(n - p, (size_t)ENSO_PANEL),
                              panels + p * k + row * ENSO_PANEL);
    }
    return ENSO_OK;
}

int enso__pack_constant(const struct enso_kernels *kernels, const struct enso_constant *c,
                        bool transposed, size_t k, size_t n, float **ret_panels, size_t *ret_bytes,
                        struct enso_error *err)
{
    size_t bytes = enso__panel_bytes(k, n), width = ENSO_MAX(transposed ? k : n, (size_t)1);
    size_t slice_rows = ENSO_MAX(SLICE_BYTES / sizeof(float) / width, (size_t)1);

    if (transposed)
        slice_rows = (slice_rows + ENSO_PANEL - 1) / ENSO_PANEL * ENSO_PANEL;
    slice_rows = ENSO_MIN(slice_rows, ENSO_MAX(transposed ? n : k, (size_t)1));
    float *panels =
        bytes == SIZE_MAX ? NULL : enso_alloc_aligned(ENSO_CACHE_LINE, ENSO_MAX(bytes, (size_t)1));
    float *slice = enso_alloc_array(slice_rows * width, sizeof(float));
    int st = panels == NULL || slice == NULL
                 ? enso_error_no_memory(err, "packed weights")
                 : pack_slices(kernels, c, transposed, k, n, slice, slice_rows, panels, err);

    enso_free(slice);
    if (st != ENSO_OK) {
        enso_free(panels);
        return st;
    }
    *ret_panels = panels;
    *ret_bytes = bytes;
    return ENSO_OK;
}

struct pack_work {
    const struct enso_kernels *kernels;
    const float *b;
    float *panels;
    bool transposed;
    size_t k, n;
};

static void pack_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct pack_work *w = arg;

    (void)thread;
    for (size_t p = first; p < last; p++) {
        size_t column = p * ENSO_PANEL, n = ENSO_MIN(w->n - column, (size_t)ENSO_PANEL);

        if (w->transposed)
            w->kernels->pack_transposed(w->b + column * w->k, w->k, w->k, n,
                                        w->panels + column * w->k);
        else
            w->kernels->pack(w->b + column, w->n, w->k, n, w->panels + column * w->k);
    }
}

void enso__pack_run(const struct enso__call *call, const float *b, bool transposed, size_t k,
                    size_t n, float *panels)
{
    struct pack_work w = {call->bound->kernels, b, panels, transposed, k, n};

    enso__parallel(call, enso_panels(n), k * ENSO_PANEL, pack_piece, &w);
}
