/* SPDX-License-Identifier: Apache-2.0
 *
 * Running a batch of samples on a lane: pack them end to end into flat arrays, run the plan, cut
 * the outputs into the samples' own, and turn logits into what the task promises. One context and
 * one staging block per lane and model, reused by every batch.
 */
#include <math.h>
#include <string.h>

#include "engine/model/model_internal.h"

#define MAX_BORDERS 64 /* inputs or outputs of a graph */

/* --- per-lane state ------------------------------------------------------------------------ */

static struct enso_model_lane *find_lane(struct enso_model *m, struct enso_lane *lane,
                                         struct enso_error *err)
{
    struct enso_model_lane *l;

    (void)pthread_mutex_lock(&m->lock); /* a plain mutex: locking cannot fail */
    for (l = m->lanes; l != NULL && l->lane != lane; l = l->next)
        ;
    if (l == NULL && (l = enso_alloc_zero(1, sizeof *l)) != NULL) {
        l->lane = lane;
        if (enso_context_create(m->program, &l->context, err) != ENSO_OK) {
            enso_free(l);
            l = NULL;
        } else {
            l->next = m->lanes;
            m->lanes = l;
        }
    } else if (l == NULL) {
        (void)enso_error_no_memory(err, "a lane's context");
    }
    (void)pthread_mutex_unlock(&m->lock);
    return l;
}

void enso__model_lanes_done(struct enso_model *m)
{
    while (m->lanes != NULL) {
        struct enso_model_lane *l = m->lanes;

        m->lanes = l->next;
        enso_context_destroy(l->context);
        enso_free(l->staging);
        enso_free(l);
    }
}

void enso_model_forget_lane(struct enso_model *m, const struct enso_lane *lane)
{
    (void)pthread_mutex_lock(&m->lock);
    for (struct enso_model_lane **at = &m->lanes; *at != NULL; at = &(*at)->next) {
        struct enso_model_lane *l = *at;

        if (l->lane != lane)
            continue;
        *at = l->next;
        enso_context_destroy(l->context);
        enso_free(l->staging);
        enso_free(l);
        break;
    }
    (void)pthread_mutex_unlock(&m->lock);
}

/* Staging of at least size bytes; content is lost when it grows. */
static bool reserve_staging(struct enso_model_lane *l, size_t size)
{
    if (size <= l->staging_bytes)
        return true;
    if (size == SIZE_MAX)
        return false;
    enso_free(l->staging);
    l->staging = enso_alloc_aligned(ENSO_CACHE_LINE, size);
    l->staging_bytes = l->staging != NULL ? size : 0;
    return l->staging != NULL;
}

/* A cursor that hands out 64-byte aligned pieces; with base NULL it only counts. */
struct carver {
    char *base;
    size_t used; /* SIZE_MAX: more than can be addressed */
};

static void *carve(struct carver *c, size_t size)
{
    void *p = c->base != NULL ? c->base + c->used : NULL;

    if (!enso_size_add(size, ENSO_CACHE_LINE - 1, &size) ||
        !enso_size_add(c->used, size & ~(size_t)(ENSO_CACHE_LINE - 1), &c->used))
        c->used = SIZE_MAX;
    return p;
}

/* --- what the task makes of logits ------------------------------------------------------------ */

static void softmax(float *x, size_t n)
{
    float max = x[0], sum = 0;

    for (size_t i = 1; i < n; i++)
        max = x[i] > max ? x[i] : max;
    for (size_t i = 0; i < n; i++)
        sum += x[i] = expf(x[i] - max);
    for (size_t i = 0; i < n; i++)
        x[i] /= sum;
}

/* n_rows × n_labels logits to probabilities, unless the graph made them already. */
static void to_probabilities(const struct enso_model *m, float *x, size_t n_rows)
{
    size_t n = m->info.n_labels;

    if (m->outputs_probabilities)
        return;
    for (size_t row = 0; row < n_rows; row++, x += n) {
        if (m->outputs_log_probabilities) {
            for (size_t i = 0; i < n; i++)
                x[i] = expf(x[i]);
        } else if (m->info.multi_label) {
            for (size_t i = 0; i < n; i++)
                x[i] = 1.0f / (1.0f + expf(-x[i]));
        } else {
            softmax(x, n);
        }
    }
}

static bool classifies(const struct enso_model *m)
{
    return m->info.task == ENSO_TASK_TEXT_CLASSIFICATION ||
           m->info.task == ENSO_TASK_IMAGE_CLASSIFICATION;
}

/* A sample's output of one tensor [rows, ...] copied from a batch. */
static float *keep_rows(struct enso_sample *s, const float *rows, size_t n_rows, size_t width)
{
    struct enso_tensor *t = enso_arena_alloc_zero(&s->arena, 1, sizeof *t);
    float *data = enso_arena_alloc(&s->arena, n_rows * width * sizeof *data);

    if (t == NULL || data == NULL)
        return NULL;
    memcpy(data, rows, n_rows * width * sizeof *data);
    *t = (struct enso_tensor){ENSO_DTYPE_F32, 2, {(int64_t)n_rows, (int64_t)width}, data};
    s->outputs = t;
    s->n_outputs = 1;
    return data;
}

/* --- ragged text ------------------------------------------------------------------------------ */

/* The arrays of a ragged batch in staging. */
struct text_batch {
    int32_t *tokens, *positions, *segments, *starts; /* [T], [T], [T], [B + 1] */
    int32_t *work;                                   /* [T / 64 + B, 2] */
    float *pooled;                                   /* [B, labels or dimensions], or NULL */
    float *hidden;                                   /* [T, hidden], or NULL */
};

static void carve_text(struct text_batch *b, struct carver *c, const struct enso_extents *e,
                       size_t width, size_t hidden)
{
    size_t t = (size_t)e->n_tokens, s = (size_t)e->n_sequences;

    b->tokens = carve(c, t * sizeof *b->tokens);
    b->positions = carve(c, t * sizeof *b->positions);
    b->segments = carve(c, t * sizeof *b->segments);
    b->starts = carve(c, (s + 1) * sizeof *b->starts);
    b->work = carve(c, (t / ENSO_ATTENTION_TILE + s) * 2 * sizeof *b->work);
    b->pooled = width != 0 ? carve(c, s * width * sizeof *b->pooled) : NULL;
    b->hidden = hidden != 0 ? carve(c, t * hidden * sizeof *b->hidden) : NULL;
}

static void fill_text(struct text_batch *b, struct enso_sample *const *samples, size_t n)
{
    int32_t at = 0;

    for (size_t i = 0; i < n; i++) {
        const struct enso_sample *s = samples[i];

        b->starts[i] = at;
        memcpy(b->tokens + at, s->tokens, s->n_tokens * sizeof *s->tokens);
        for (uint32_t k = 0; k < s->n_tokens; k++) {
            b->positions[at + (int32_t)k] = (int32_t)k;
            b->segments[at + (int32_t)k] = s->segments != NULL ? s->segments[k] : 0;
        }
        at += (int32_t)s->n_tokens;
    }
    b->starts[n] = at;
    enso__attention_work(b->starts, n, (size_t)at / ENSO_ATTENTION_TILE + n, b->work);
}

/* An I32 input [n]. */
static struct enso_tensor vector(int32_t *data, int64_t n)
{
    return (struct enso_tensor){ENSO_DTYPE_I32, 1, {n}, data};
}

/* Every sample gets its rows; out of memory is the sample's batch's error. */
static int keep_text(const struct enso_model *m, const struct text_batch *b,
                     struct enso_sample *const *samples, size_t n, size_t width, size_t hidden,
                     struct enso_error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct enso_sample *s = samples[i];
        float *kept = s->want_tokens ? keep_rows(s, b->hidden + (size_t)b->starts[i] * hidden,
                                                 s->n_tokens, hidden)
                                     : keep_rows(s, b->pooled + i * width, 1, width);

        if (kept == NULL)
            return enso_error_no_memory(err, "a sample's outputs");
        if (classifies(m) && !s->want_raw)
            to_probabilities(m, kept, 1);
    }
    return ENSO_OK;
}

static int run_text(struct enso_model *m, struct enso_lane *lane, struct enso_model_lane *l,
                    struct enso_sample *const *samples, size_t n, struct enso_error *err)
{
    struct enso_extents e = {.n_sequences = (int64_t)n};
    size_t width = 0, hidden = 0;
    struct carver c = {NULL, 0};
    struct text_batch b;
    void *outputs[2];
    int st;

    for (size_t i = 0; i < n; i++) {
        e.n_tokens += samples[i]->n_tokens;
        if (samples[i]->want_tokens)
            hidden = (size_t)m->info.outputs[m->info.n_outputs - 1].dims[1];
        else
            width = (size_t)m->info.outputs[0].dims[1];
    }
    carve_text(&b, &c, &e, width, hidden);
    if (!reserve_staging(l, c.used))
        return enso_error_no_memory(err, "a batch's tokens");
    c = (struct carver){l->staging, 0};
    carve_text(&b, &c, &e, width, hidden);
    fill_text(&b, samples, n);
    outputs[0] = b.pooled;
    outputs[1] = b.hidden;
    st = enso_context_run(
        l->context, lane, &e,
        (const struct enso_tensor[]){
            vector(b.tokens, e.n_tokens),
            vector(b.positions, e.n_tokens),
            vector(b.segments, e.n_tokens),
            vector(b.starts, e.n_sequences + 1),
            {ENSO_DTYPE_I32, 2, {e.n_tokens / ENSO_ATTENTION_TILE + e.n_sequences, 2}, b.work}},
        outputs, err);
    return st != ENSO_OK ? st : keep_text(m, &b, samples, n, width, hidden, err);
}

/* --- dense inputs ----------------------------------------------------------------------------- */

/* A sample's part of output i of a batch, copied: its rows, or all of it where nothing is stacked.
 */
static int keep_output(const struct enso_model *m, const struct enso_tensor *from, size_t first,
                       struct enso_sample *s, struct enso_tensor *to, struct enso_error *err)
{
    size_t bytes, offset = 0;

    *to = *from;
    if (m->info.batched)
        to->dims[0] = s->n_items;
    bytes = enso_tensor_bytes(to);
    if (m->info.batched)
        offset = bytes / s->n_items * first;
    to->data = enso_arena_alloc(&s->arena, bytes);
    if (to->data == NULL)
        return enso_error_no_memory(err, "a sample's outputs");
    memcpy(to->data, (const char *)from->data + offset, bytes);
    return ENSO_OK;
}

/* outputs: the batch's; first: the item at which this sample's begin. */
static int keep_dense(const struct enso_model *m, const struct enso_tensor *outputs, size_t first,
                      struct enso_sample *s, struct enso_error *err)
{
    bool only_scores = classifies(m) && !s->want_own;
    size_t n = only_scores ? 1 : m->info.n_outputs;
    struct enso_tensor *t = enso_arena_alloc_zero(&s->arena, n, sizeof *t);
    int st = ENSO_OK;

    if (t == NULL)
        return enso_error_no_memory(err, "a sample's outputs");
    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        st = keep_output(m, &outputs[only_scores ? (size_t)m->label_output : i], first, s, &t[i],
                         err);
    if (st != ENSO_OK)
        return st;
    if (only_scores) {
        int64_t rows = enso_tensor_count(&t[0]) / m->info.n_labels;

        if (!s->want_raw)
            to_probabilities(m, t[0].data, (size_t)rows);
        t[0] = (struct enso_tensor){ENSO_DTYPE_F32, 2, {rows, m->info.n_labels}, t[0].data};
    }
    s->outputs = t;
    s->n_outputs = (uint32_t)n;
    return ENSO_OK;
}

/* The batch's tensors in staging; a single sample's inputs are used where they are. */
static void carve_dense(const struct enso_model *m, struct carver *c,
                        struct enso_sample *const *samples, size_t n, int64_t n_items,
                        struct enso_tensor *inputs, struct enso_tensor *outputs)
{
    for (size_t i = 0; i < m->info.n_inputs; i++) {
        size_t bytes = 0;

        inputs[i] = samples[0]->inputs[i];
        if (n == 1)
            continue;
        for (size_t k = 0; k < n; k++) /* they exist, so their sum can be addressed */
            bytes += enso_tensor_bytes(&samples[k]->inputs[i]);
        inputs[i].dims[0] = n_items;
        inputs[i].data = carve(c, bytes);
    }
    for (size_t i = 0; i < m->info.n_outputs; i++)
        outputs[i].data = carve(c, enso_tensor_bytes(&outputs[i]));
}

/* Put the samples' inputs end to end. */
static void stack_inputs(const struct enso_model *m, struct enso_sample *const *samples, size_t n,
                         const struct enso_tensor *inputs)
{
    for (size_t i = 0; i < m->info.n_inputs; i++) {
        char *to = inputs[i].data;

        for (size_t k = 0; k < n; k++) {
            size_t bytes = enso_tensor_bytes(&samples[k]->inputs[i]);

            memcpy(to, samples[k]->inputs[i].data, bytes);
            to += bytes;
        }
    }
}

static int run_dense(struct enso_model *m, struct enso_lane *lane, struct enso_model_lane *l,
                     struct enso_sample *const *samples, size_t n, struct enso_error *err)
{
    struct enso_tensor inputs[MAX_BORDERS], outputs[MAX_BORDERS];
    void *data[MAX_BORDERS];
    struct enso_extents e = {0};
    struct carver c = {NULL, 0};
    size_t first = 0;
    int st = ENSO_OK;

    for (size_t i = 0; i < n; i++)
        e.n_items += samples[i]->n_items;
    for (size_t i = 0; st == ENSO_OK && i < m->info.n_outputs; i++)
        st = enso_program_output_tensor(m->program, i, &e, &outputs[i], err);
    if (st != ENSO_OK)
        return st;
    carve_dense(m, &c, samples, n, e.n_items, inputs, outputs);
    if (!reserve_staging(l, c.used))
        return enso_error_no_memory(err, "a batch's tensors");
    c = (struct carver){l->staging, 0};
    carve_dense(m, &c, samples, n, e.n_items, inputs, outputs);
    if (n > 1)
        stack_inputs(m, samples, n, inputs);
    for (size_t i = 0; i < m->info.n_outputs; i++)
        data[i] = outputs[i].data;
    st = enso_context_run(l->context, lane, &e, inputs, data, err);
    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        st = keep_dense(m, outputs, first, samples[i], err);
        first += samples[i]->n_items;
    }
    return st;
}

int enso_model_run(void *model, struct enso_lane *lane, struct enso_sample *const *samples,
                   size_t n, struct enso_error *err)
{
    struct enso_model *m = model;
    struct enso_model_lane *l = find_lane(m, lane, err);

    if (l == NULL)
        return ENSO_NO_MEMORY;
    if (m->info.takes_text)
        return run_text(m, lane, l, samples, n, err);
    if (!m->info.batched && n > 1)
        return enso_error_set(err, ENSO_INTERNAL, "model '%s' runs one sample a batch", m->info.id);
    return run_dense(m, lane, l, samples, n, err);
}

/* --- is a batch the same as its rows? ------------------------------------------------------------
 */

#define PROBE_ITEMS 3
#define MAX_ITEM_BYTES ((size_t)1 << 30)
#define MAX_STACKED_BYTES ((size_t)64 << 20) /* larger items gain nothing by being batched */

/* Fill a probe with values that differ from item to item. */
static void fill_probe(struct enso_sample *s, unsigned seed)
{
    for (uint32_t i = 0; i < s->n_inputs; i++) {
        struct enso_tensor *t = &s->inputs[i];
        int64_t n = enso_tensor_count(t);

        if (t->dtype != ENSO_DTYPE_F32)
            continue; /* zeros are valid indices, bytes and flags */
        for (int64_t k = 0; k < n; k++)
            ((float *)t->data)[k] =
                (float)((seed * 7919u + (unsigned)k * 104729u) % 2048) / 1024 - 1;
    }
}

static bool same_outputs(const struct enso_sample *a, const struct enso_sample *b)
{
    bool same = a->n_outputs == b->n_outputs;

    for (uint32_t i = 0; same && i < a->n_outputs; i++)
        same =
            enso_tensor_bytes(&a->outputs[i]) == enso_tensor_bytes(&b->outputs[i]) &&
            memcmp(a->outputs[i].data, b->outputs[i].data, enso_tensor_bytes(&a->outputs[i])) == 0;
    return same;
}

/* Rows alone against the same rows in one batch, to the bit. */
static int compare_rows(struct enso_model *m, struct enso_lane *lane, bool *ret_same,
                        struct enso_error *err)
{
    struct enso_sample *alone[PROBE_ITEMS] = {NULL}, *together[PROBE_ITEMS] = {NULL};
    int st = ENSO_OK;

    *ret_same = true;
    for (unsigned i = 0; st == ENSO_OK && i < PROBE_ITEMS; i++) {
        st = enso_model_warmup_sample(m, 1, &alone[i], err);
        if (st == ENSO_OK)
            st = enso_model_warmup_sample(m, 1, &together[i], err);
        if (st != ENSO_OK)
            break;
        fill_probe(alone[i], i);
        fill_probe(together[i], i);
        st = enso_model_run(m, lane, &alone[i], 1, err);
    }
    if (st == ENSO_OK)
        st = enso_model_run(m, lane, together, PROBE_ITEMS, err);
    for (unsigned i = 0; i < PROBE_ITEMS; i++) {
        if (st == ENSO_OK && !same_outputs(alone[i], together[i]))
            *ret_same = false;
        enso_sample_destroy(alone[i]);
        enso_sample_destroy(together[i]);
    }
    return st;
}

/* Bytes of one item's inputs and outputs; SIZE_MAX when that cannot be addressed. */
static size_t item_bytes(const struct enso_model *m)
{
    const struct enso_extents one = {.n_items = 1, .n_tokens = 1, .n_sequences = 1};
    size_t total = 0;

    for (size_t i = 0; i < m->info.n_inputs + m->info.n_outputs; i++) {
        struct enso_tensor t = {.rank = 0};
        bool fits = true;

        if (i < m->info.n_inputs) {
            int64_t count;

            t.dtype = m->info.inputs[i].dtype;
            t.rank = m->info.inputs[i].rank;
            for (uint8_t d = 0; d < t.rank; d++)
                t.dims[d] = m->info.inputs[i].dims[d] < 0 ? 1 : m->info.inputs[i].dims[d];
            fits = enso_dims_count(t.dims, t.rank, &count);
        } else {
            fits = enso_program_output_tensor(m->program, i - m->info.n_inputs, &one, &t, NULL) ==
                   ENSO_OK;
        }
        if (!fits || !enso_size_add(total, enso_tensor_bytes(&t), &total))
            return SIZE_MAX;
    }
    return total;
}

int enso__model_check_batching(struct enso_model *m, struct enso_error *err)
{
    struct enso_lane *lane;
    bool same = true;
    size_t bytes;
    int st;

    if (m->info.n_inputs > MAX_BORDERS || m->info.n_outputs > MAX_BORDERS)
        return enso_error_set(err, ENSO_UNSUPPORTED, "the graph has more than %d inputs or outputs",
                              MAX_BORDERS);
    if (m->info.takes_text)
        return ENSO_OK; /* ragged by construction: rows know nothing of each other */
    bytes = item_bytes(m);
    if (bytes > MAX_ITEM_BYTES)
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "inputs and outputs of one item take %zu bytes, more than the %zu "
                              "that are possible; give open dimensions smaller sizes",
                              bytes, MAX_ITEM_BYTES);
    m->info.batched = enso_program_is_batched(m->program) && bytes <= MAX_STACKED_BYTES;
    if (!m->info.batched)
        return ENSO_OK;
    st = m->backend->lane_open(m->device, &lane, err);
    if (st != ENSO_OK)
        return st;
    st = compare_rows(m, lane, &same, err);
    enso_model_forget_lane(m, lane);
    m->backend->lane_close(lane);
    m->info.batched = same;
    return st;
}
