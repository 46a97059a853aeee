/* SPDX-License-Identifier: Apache-2.0
 *
 * The loops around a micro-kernel, the same for every instruction set: included by gemm.c and each
 * gemm_<isa>.c, so that everything is static there and no copy built with wider instructions can be
 * linked into another set. The including file defines before:
 *
 *   static void tile(size_t n_rows, size_t n_panels, const struct tile_args *t)
 *       one product over a block of the inner dimension, added to C where t->add
 *   static void finish_tile(float *c, size_t ldc, size_t n_rows, size_t n, const float *residual,
 *                           size_t ld_residual, const struct enso_activation_args *a)
 *       residual and activation over a finished tile (still in the first cache)
 *   static size_t widest(size_t n_rows)    panels that tile takes at once when there is one tile
 *   static void prefetch(const float *p)   into the second cache
 *
 * Order of loops: blocks of the inner dimension (a panel's slice stays in the first cache, A's in
 * the second), panels, tiles. The cuts of the inner dimension depend on its length alone: that
 * fixes the order of every sum.
 */

/* A block of the inner dimension: taps [tap, tap + n_taps), of each the floats [from, from +
 * depth). */
struct gemm_block {
    size_t tap, n_taps, from, depth;
};

/* The block after *b ({0} to begin); false at the end. */
static bool next_block(const struct enso_gemm *g, struct gemm_block *b)
{
    if (g->depth <= ENSO_GEMM_DEPTH) { /* whole taps, as many as fit */
        size_t per_block =
            g->depth == 0 ? g->taps : ENSO_MAX(ENSO_GEMM_DEPTH / g->depth, (size_t)1);

        b->tap += b->n_taps;
        b->n_taps = ENSO_MIN(per_block, g->taps - b->tap);
        b->depth = g->depth;
        return b->n_taps > 0;
    }
    size_t n_blocks = (g->depth + ENSO_GEMM_DEPTH - 1) / ENSO_GEMM_DEPTH;
    size_t step = ((g->depth + n_blocks - 1) / n_blocks + 7) & ~(size_t)7;

    b->from += b->depth;
    if (b->from >= g->depth) {
        b->from = 0;
        b->tap++;
    }
    b->n_taps = 1;
    b->depth = ENSO_MIN(step, g->depth - b->from);
    return b->tap < g->taps;
}

static bool needs_finish(const struct enso_epilogue *e)
{
    return e->residual != NULL || (e->activation.kind != ENSO_ACTIVATION_NONE &&
                                   e->activation.kind != ENSO_ACTIVATION_RELU);
}

/* Fetch the part of the next panel that falls to the tile at `row`. */
static void prefetch_share(const struct enso_gemm *g, const struct gemm_block *b,
                           const float *next_panel, size_t row, size_t n_rows)
{
    size_t lines = b->n_taps * b->depth;
    size_t first = lines * row / g->n_rows, last = lines * (row + n_rows) / g->n_rows;

    for (size_t l = first; l < last; l++)
        prefetch(next_panel + l * ENSO_PANEL);
}

/* Rows from which prefetching the next panel pays (below it costs more than it brings). */
#define PREFETCH_ROWS 64

static void run_block(const struct enso_gemm *g, const struct gemm_block *b, bool last)
{
    const struct enso_epilogue *e = g->epilogue;
    size_t inner = g->taps * g->depth, n_full = g->n_columns / ENSO_PANEL;
    size_t start = (b->tap * g->depth + b->from) * ENSO_PANEL;
    bool finish = last && needs_finish(e);

    for (size_t p = 0; p < n_full;) {
        size_t wide = g->n_rows <= 3 ? widest(g->n_rows) : 1;

        while (wide > n_full - p)
            wide /= 2;
        const float *panel = g->panels + p * inner * ENSO_PANEL + start;
        float *c = g->c + p * ENSO_PANEL;

        for (size_t row = 0, i = 0; row < g->n_rows; i++) {
            size_t n_rows = enso_gemm_tile(g->n_rows - row);
            const struct tile_args t = {
                .rows = g->rows + (i * g->taps + b->tap) * ENSO_TILE_ROWS,
                .n_taps = b->n_taps,
                .from = b->from,
                .depth = b->depth,
                .panel = panel,
                .panel_stride = inner * ENSO_PANEL,
                .c = c + row * g->ldc,
                .ldc = g->ldc,
                .add = b->tap + b->from > 0,
                .bias = last && e->bias != NULL ? e->bias + p * ENSO_PANEL : NULL,
                .relu = last && !finish && e->activation.kind == ENSO_ACTIVATION_RELU};

            if (g->n_rows >= PREFETCH_ROWS && p + 1 < n_full)
                prefetch_share(g, b, panel + inner * ENSO_PANEL, row, n_rows);
            tile(n_rows, wide, &t);
            if (finish)
                finish_tile(t.c, g->ldc, n_rows, wide * ENSO_PANEL,
                            e->residual == NULL
                                ? NULL
                                : e->residual + row * e->ld_residual + p * ENSO_PANEL,
                            e->ld_residual, &e->activation);
            row += n_rows;
        }
        p += wide;
    }
}

/* The last panel when it is partial: each tile goes through a buffer of whole panels. */
static void run_partial(const struct enso_gemm *g, size_t done, size_t n)
{
    const struct enso_epilogue *e = g->epilogue;
    size_t inner = g->taps * g->depth;

    for (size_t row = 0, i = 0; row < g->n_rows; i++) {
        _Alignas(ENSO_CACHE_LINE) float c[ENSO_TILE_ROWS * ENSO_PANEL];
        _Alignas(ENSO_CACHE_LINE) float residual[ENSO_TILE_ROWS * ENSO_PANEL] = {0};
        size_t n_rows = enso_gemm_tile(g->n_rows - row);
        struct gemm_block b = {0};
        bool finish = needs_finish(e);

        for (bool more = next_block(g, &b); more;) {
            struct gemm_block next = b;
            bool last = !next_block(g, &next);
            const struct tile_args t = {
                .rows = g->rows + (i * g->taps + b.tap) * ENSO_TILE_ROWS,
                .n_taps = b.n_taps,
                .from = b.from,
                .depth = b.depth,
                .panel = g->panels + (done * inner + (b.tap * g->depth + b.from) * ENSO_PANEL),
                .c = c,
                .ldc = ENSO_PANEL,
                .add = b.tap + b.from > 0,
                .bias = last && e->bias != NULL ? e->bias + done : NULL,
                .relu = last && !finish && e->activation.kind == ENSO_ACTIVATION_RELU};

            tile(n_rows, 1, &t);
            b = next;
            more = !last;
        }
        for (size_t r = 0; e->residual != NULL && r < n_rows; r++)
            memcpy(residual + r * ENSO_PANEL, e->residual + (row + r) * e->ld_residual + done,
                   n * sizeof(float));
        if (finish)
            finish_tile(c, ENSO_PANEL, n_rows, ENSO_PANEL, e->residual == NULL ? NULL : residual,
                        ENSO_PANEL, &e->activation);
        for (size_t r = 0; r < n_rows; r++)
            memcpy(g->c + (row + r) * g->ldc + done, c + r * ENSO_PANEL, n * sizeof(float));
        row += n_rows;
    }
}

static void run_gemm(const struct enso_gemm *g)
{
    size_t done = g->n_columns / ENSO_PANEL * ENSO_PANEL;
    struct gemm_block b = {0};

    /* an inner dimension of 0 still makes one (empty) block: C = epilogue(0) */
    struct enso_gemm whole = *g;
    if (whole.taps * whole.depth == 0) {
        whole.taps = 1;
        whole.depth = 0;
    }
    for (bool more = next_block(&whole, &b); more;) {
        struct gemm_block next = b;
        bool last = !next_block(&whole, &next);

        run_block(&whole, &b, last);
        b = next;
        more = !last;
    }
    if (done < whole.n_columns)
        run_partial(&whole, done, whole.n_columns - done);
}
