/* SPDX-License-Identifier: Apache-2.0
 *
 * The ends of a transformer (engine/ops/ops.h): EMBEDDING sums a token's rows of up to three tables
 * and normalises; SEQUENCE_POOL makes one row of each sequence. Constant tables are taken in at
 * bind as floats.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <stdatomic.h>
#include <string.h>

#include "base/memory.h"

/* Inputs by number: tokens 0, words 1, positions 2, its table 3, segments 4, its table 5, gamma 6,
 * beta 7. */
#define N_TABLES 3

struct embedding {
    struct enso_bound bound;
    float *tables[N_TABLES]; /* NULL: absent or from the tensors */
    size_t table_counts[N_TABLES];
    float *gamma, *beta;
    size_t n_gamma, n_beta;
    float epsilon;
};

static void embedding_release(struct enso_bound *bound)
{
    struct embedding *e = (struct embedding *)bound;

    for (size_t i = 0; i < N_TABLES; i++)
        enso_free(e->tables[i]);
    enso_free(e->gamma);
    enso_free(e->beta);
}

struct embedding_work {
    const struct embedding *op;
    const int32_t *ids[N_TABLES];
    const float *tables[N_TABLES];
    size_t rows[N_TABLES];
    const float *gamma, *beta;
    float *y;
    size_t width;
    _Atomic bool out_of_range;
};

static void embedding_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    struct embedding_work *w = arg;
    const struct enso_kernels *kernels = w->op->bound.kernels;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        float *y = w->y + i * w->width;

        for (size_t t = 0; t < N_TABLES; t++) {
            if (w->tables[t] == NULL)
                continue;
            int32_t id = w->ids[t] != NULL ? w->ids[t][i] : 0;

            if (id < 0 || (size_t)id >= w->rows[t]) {
                atomic_store_explicit(&w->out_of_range, true, memory_order_relaxed);
                id = 0;
            }
            const float *row = w->tables[t] + (size_t)id * w->width;
            if (t == 0)
                memcpy(y, row, w->width * sizeof(float));
            else
                kernels->add(y, row, y, w->width);
        }
        if (w->gamma != NULL)
            kernels->layer_norm(y, y, w->width, w->gamma, w->beta, w->op->epsilon);
    }
}

/* Table t and its ids into w; checks sizes. */
static int take_table(const struct enso__call *call, size_t t, size_t n_tokens,
                      struct embedding_work *w, struct enso_error *err)
{
    const struct enso_tensor *ids = enso__in(call, 2 * t), *table = enso__in(call, 2 * t + 1);

    if (table == NULL || (t == 1 && ids == NULL))
        return t == 0 ? enso__run_error(call, err, ENSO_INTERNAL, "its words are missing")
                      : ENSO_OK;
    size_t count =
        w->op->tables[t] != NULL ? w->op->table_counts[t] : (size_t)enso_tensor_count(table);

    if ((ids != NULL &&
         (ids->dtype != ENSO_DTYPE_I32 || (size_t)enso_tensor_count(ids) != n_tokens)) ||
        count == 0 || count % w->width != 0)
        return enso__run_error(call, err, ENSO_INTERNAL, "table %zu does not fit rows of %zu", t,
                               w->width);
    w->ids[t] = ids != NULL ? ids->data : NULL;
    w->tables[t] = w->op->tables[t] != NULL ? w->op->tables[t] : table->data;
    w->rows[t] = count / w->width;
    return ENSO_OK;
}

static int embedding_run(const struct enso__call *call, struct enso_error *err)
{
    const struct embedding *e = (const struct embedding *)call->bound;
    const struct enso_tensor *gamma = enso__in(call, 6), *beta = enso__in(call, 7);
    const struct enso_tensor *y = enso__out(call, 0);
    struct embedding_work w = {.op = e, .y = y->data, .width = (size_t)y->dims[y->rank - 1]};
    size_t n_tokens = (size_t)enso_tensor_count(y) / w.width;
    int st = ENSO_OK;

    for (size_t t = 0; t < N_TABLES && st == ENSO_OK; t++)
        st = take_table(call, t, n_tokens, &w, err);
    if (st != ENSO_OK)
        return st;
    if ((gamma != NULL && (size_t)enso_tensor_count(gamma) != w.width) ||
        (beta != NULL && (size_t)enso_tensor_count(beta) != w.width))
        return enso__run_error(call, err, ENSO_INTERNAL, "gamma and beta do not fit rows of %zu",
                               w.width);
    w.gamma = e->gamma != NULL ? e->gamma : gamma != NULL ? gamma->data : NULL;
    w.beta = e->beta != NULL ? e->beta : beta != NULL ? beta->data : NULL;
    enso__parallel(call, n_tokens, w.width * 4, embedding_piece, &w);
    if (atomic_load(&w.out_of_range))
        return enso__run_error(call, err, ENSO_INVALID,
                               "a token, position or segment is outside of its table");
    return ENSO_OK;
}

/* Constant input i as floats; remembers that it is packed. */
static int take(const struct enso__bind *b, struct embedding *e, size_t i, float **ret_data,
                size_t *ret_n, struct enso_error *err)
{
    const struct enso_value *v = enso__bind_input(b, i);

    if (v != NULL && v->dtype != ENSO_DTYPE_F32)
        return enso__unsupported(b, err, "input %zu of type %s", i, enso_dtype_name(v->dtype));
    int st = enso__constant_floats(b, i, 1, ret_data, ret_n, err);
    if (st == ENSO_OK && *ret_data != NULL) {
        e->bound.packed |= 1u << i;
        e->bound.bytes += *ret_n * sizeof(float);
    }
    return st;
}

int enso__bind_embedding(const struct enso__bind *b, struct enso_bound **ret,
                         struct enso_error *err)
{
    if (enso__bind_dtype(b, 0) != ENSO_DTYPE_I32 || enso__bind_input(b, 1) == NULL)
        return enso__unsupported(b, err, "needs INT32 tokens and a table of words");
    struct embedding *e = enso__bound_new(b, sizeof(*e), embedding_run, err);
    if (e == NULL)
        return ENSO_NO_MEMORY;
    e->bound.release = embedding_release;
    e->epsilon = enso_node_float(b->node, "epsilon", 1e-5f);
    int st = ENSO_OK;
    for (size_t t = 0; t < N_TABLES && st == ENSO_OK; t++)
        st = take(b, e, 2 * t + 1, &e->tables[t], &e->table_counts[t], err);
    if (st == ENSO_OK)
        st = take(b, e, 6, &e->gamma, &e->n_gamma, err);
    if (st == ENSO_OK)
        st = take(b, e, 7, &e->beta, &e->n_beta, err);
    if (st != ENSO_OK) {
        enso__bound_free(&e->bound);
        return st;
    }
    *ret = &e->bound;
    return ENSO_OK;
}

enum pool_mode { MODE_MEAN, MODE_FIRST, MODE_LAST, MODE_MAX };

struct sequence_pool {
    struct enso_bound bound;
    enum pool_mode mode;
};

struct sequence_work {
    const struct sequence_pool *op;
    const float *x;
    const int32_t *starts;
    float *y;
    size_t width;
};

/* A sequence without tokens gives zeros. */
static void sequence_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct sequence_work *w = arg;
    const struct enso_kernels *kernels = w->op->bound.kernels;

    (void)thread;
    for (size_t i = first; i < last; i++) {
        float *y = w->y + i * w->width;
        size_t start = (size_t)w->starts[i], end = (size_t)w->starts[i + 1];

        if (start == end) {
            memset(y, 0, w->width * sizeof(float));
            continue;
        }
        size_t at = w->op->mode == MODE_LAST ? end - 1 : start;
        memcpy(y, w->x + at * w->width, w->width * sizeof(float));
        if (w->op->mode == MODE_FIRST || w->op->mode == MODE_LAST)
            continue;
        for (size_t t = start + 1; t < end; t++) {
            if (w->op->mode == MODE_MAX)
                kernels->max_into(y, w->x + t * w->width, w->width);
            else
                kernels->add(y, w->x + t * w->width, y, w->width);
        }
        for (size_t c = 0; w->op->mode == MODE_MEAN && c < w->width; c++)
            y[c] /= (float)(end - start);
    }
}

static int sequence_pool_run(const struct enso__call *call, struct enso_error *err)
{
    const struct enso_tensor *x = enso__in(call, 0), *starts = enso__in(call, 1);
    const struct enso_tensor *y = enso__out(call, 0);
    size_t longest;

    if (x->rank != 2)
        return enso__run_error(call, err, ENSO_INTERNAL, "input of %s", enso__dims_text(x).s);
    int st = enso__check_starts(call, starts, x->dims[0], &longest, err);
    if (st != ENSO_OK)
        return st;
    struct sequence_work w = {(const struct sequence_pool *)call->bound, x->data, starts->data,
                              y->data, (size_t)x->dims[1]};
    size_t n = (size_t)enso_tensor_count(starts) - 1;

    if ((size_t)enso_tensor_count(y) != n * w.width)
        return enso__run_error(call, err, ENSO_INTERNAL, "output of %s", enso__dims_text(y).s);
    enso__parallel(call, n, longest * w.width, sequence_piece, &w);
    return ENSO_OK;
}

int enso__bind_sequence_pool(const struct enso__bind *b, struct enso_bound **ret,
                             struct enso_error *err)
{
    static const char *const names[] = {"mean", "cls", "last", "max"};
    const char *mode = enso_node_string(b->node, "mode", "mean");
    size_t i = 0;

    while (i < ENSO_ARRAY_SIZE(names) && strcmp(names[i], mode) != 0)
        i++;
    if (i == ENSO_ARRAY_SIZE(names) || enso__bind_dtype(b, 0) != ENSO_DTYPE_F32 ||
        enso__bind_dtype(b, 1) != ENSO_DTYPE_I32)
        return enso__unsupported(b, err, "mode '%s' on type %s", mode,
                                 enso_dtype_name(enso__bind_dtype(b, 0)));
    struct sequence_pool *s = enso__bound_new(b, sizeof(*s), sequence_pool_run, err);
    if (s == NULL)
        return ENSO_NO_MEMORY;
    s->mode = (enum pool_mode)i;
    *ret = &s->bound;
    return ENSO_OK;
}
