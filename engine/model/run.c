/* SPDX-License-Identifier: Apache-2.0
 *
 * Running a batch of samples on a lane: begin packs them end to end into the slot's inputs and
 * starts the plan; finish waits, cuts the outputs into the samples' own, and turns logits into what
 * the task promises. One context per lane and model, reused by every batch.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
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
            l->promised = m->n_kept != 0;
            if (l->promised) {
                m->n_kept--;
                enso_context_use_promise(l->context, &m->promised);
            }
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
        m->n_kept += l->promised;
        enso_free(l);
        break;
    }
    (void)pthread_mutex_unlock(&m->lock);
}

/* Sequences shape little of a text's memory; without a limit there are as many as tokens allow. */
static int lane_need(const struct enso_model *m, uint64_t max_tokens, uint64_t max_items,
                     struct enso_context_need *ret_need, struct enso_error *err)
{
    struct enso_extents e = {.n_items = 1, .n_tokens = 1, .n_sequences = 1};

    if (m->info.takes_text) {
        e.n_tokens = (int64_t)ENSO_MAX((uint64_t)m->info.max_tokens, max_tokens);
        if (max_tokens != 0)
            e.n_sequences =
                (int64_t)(max_items != 0 ? ENSO_MIN(max_items, max_tokens) : max_tokens);
    } else if (m->info.batched) {
        e.n_items = (int64_t)ENSO_MAX(max_items, UINT64_C(1));
    }
    return enso_context_need(m->program, &e, ret_need, err);
}

int enso_model_promise(struct enso_model *m, unsigned n_lanes, uint64_t max_tokens,
                       uint64_t max_items, size_t *ret_bytes, struct enso_error *err)
{
    struct enso_context_need need;
    char what[128];
    int st;

    *ret_bytes = 0;
    if (m->backend->promise == NULL)
        return ENSO_OK;
    st = lane_need(m, max_tokens, max_items, &need, err);
    if (st != ENSO_OK)
        return st;
    if (!enso_size_mul(need.all_bytes, n_lanes, ret_bytes))
        return enso_error_set(err, ENSO_TOO_LARGE, "the batches of %u lanes cannot be addressed",
                              n_lanes);
    (void)snprintf(what, sizeof what, "the batches of '%.100s'", m->info.id);
    st = m->backend->promise(m->device, *ret_bytes, what, err);
    if (st != ENSO_OK)
        return st;
    (void)pthread_mutex_lock(&m->lock);
    m->promised = need;
    m->n_promised = m->n_kept = n_lanes;
    (void)pthread_mutex_unlock(&m->lock);
    return ENSO_OK;
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

#define N_TEXT_INPUTS 5 /* tokens, positions, segments, starts, attention_work */

/* The samples end to end; where the device has rounded the batch up, tokens of padding behind them,
 * which belong to no sequence, and sequences without tokens. */
static void fill_text(const struct enso_tensor inputs[N_TEXT_INPUTS],
                      struct enso_sample *const *samples, size_t n)
{
    int32_t *tokens = inputs[0].data, *positions = inputs[1].data, *segments = inputs[2].data;
    int32_t *starts = inputs[3].data;
    size_t at = 0, padding;

    for (size_t i = 0; i < n; i++) {
        const struct enso_sample *s = samples[i];

        starts[i] = (int32_t)at;
        memcpy(tokens + at, s->tokens, s->n_tokens * sizeof *s->tokens);
        for (uint32_t k = 0; k < s->n_tokens; k++) {
            positions[at + k] = (int32_t)k;
            segments[at + k] = s->segments != NULL ? s->segments[k] : 0;
        }
        at += s->n_tokens;
    }
    for (size_t i = n; i < (size_t)inputs[3].dims[0]; i++)
        starts[i] = (int32_t)at;
    padding = (size_t)inputs[0].dims[0] - at;
    memset(tokens + at, 0, padding * sizeof *tokens); /* every table has a first row */
    memset(positions + at, 0, padding * sizeof *positions);
    memset(segments + at, 0, padding * sizeof *segments);
    enso__attention_work(starts, n, (size_t)inputs[4].dims[0], inputs[4].data);
}

static int begin_text(const struct enso_model *m, struct enso_lane *lane, struct enso_model_lane *l,
                      unsigned slot, struct enso_sample *const *samples, size_t n,
                      const struct enso_pace *pace, struct enso_error *err)
{
    struct enso_extents e = {.n_sequences = (int64_t)n};
    struct enso_tensor inputs[N_TEXT_INPUTS];
    bool wanted[MAX_BORDERS] = {false};
    int st;

    for (size_t i = 0; i < n; i++) {
        e.n_tokens += samples[i]->n_tokens;
        wanted[samples[i]->want_tokens ? m->info.n_outputs - 1 : 0] = true;
    }
    st = enso_context_stage(l->context, lane, slot, &e, inputs, err);
    if (st != ENSO_OK)
        return st;
    fill_text(inputs, samples, n);
    return enso_context_begin(l->context, lane, slot, inputs, wanted, pace, err);
}

/* Every sample gets its rows; out of memory is the sample's batch's error. */
static int keep_text(const struct enso_model *m, const struct enso_tensor *outputs,
                     struct enso_sample *const *samples, size_t n, struct enso_error *err)
{
    const struct enso_tensor *pooled = &outputs[0], *hidden = &outputs[m->info.n_outputs - 1];
    size_t at = 0;

    for (size_t i = 0; i < n; i++) {
        struct enso_sample *s = samples[i];
        const struct enso_tensor *from = s->want_tokens ? hidden : pooled;
        size_t width = (size_t)from->dims[1], row = s->want_tokens ? at : i;
        float *kept = keep_rows(s, (const float *)from->data + row * width,
                                s->want_tokens ? s->n_tokens : 1, width);

        if (kept == NULL)
            return enso_error_no_memory(err, "a sample's outputs");
        if (classifies(m) && !s->want_raw)
            to_probabilities(m, kept, 1);
        at += s->n_tokens;
    }
    return ENSO_OK;
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

static bool wants_scores_alone(const struct enso_model *m, const struct enso_sample *s)
{
    return classifies(m) && !s->want_own;
}

/* outputs: the batch's; first: the item at which this sample's begin. */
static int keep_dense(const struct enso_model *m, const struct enso_tensor *outputs, size_t first,
                      struct enso_sample *s, struct enso_error *err)
{
    bool only_scores = wants_scores_alone(m, s);
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

/* Whether all samples are pictures as bytes. */
static bool all_pixels(const struct enso_model *m, struct enso_sample *const *samples, size_t n)
{
    bool all = m->info.takes_images;

    for (size_t i = 0; all && i < n; i++)
        all = samples[i]->inputs[0].dtype == ENSO_DTYPE_U8;
    return all;
}

/* A sample's part of an input of a batch; returns where the next one's begins. Pictures that stand
 * beside somebody's tensors become what those are. */
static char *stack_input(const struct enso_model *m, const struct enso_tensor *from,
                         enum enso_dtype dtype, char *to)
{
    size_t bytes = enso_tensor_bytes(from);

    if (from->dtype == dtype) {
        memcpy(to, from->data, bytes);
        return to + bytes;
    }
    enso_image_normalise(&m->image, m->pixel_values, from->data, bytes / m->info.image_channels,
                         (float *)to);
    return to + bytes * sizeof(float);
}

/* Put the samples' inputs end to end. */
static void stack_inputs(const struct enso_model *m, struct enso_sample *const *samples, size_t n,
                         struct enso_tensor *inputs)
{
    if (all_pixels(m, samples, n))
        inputs[0] = enso__model_pixels(m, inputs[0].dims[0], inputs[0].data);
    for (size_t i = 0; i < m->info.n_inputs; i++) {
        char *to = inputs[i].data;

        for (size_t k = 0; k < n; k++)
            to = stack_input(m, &samples[k]->inputs[i], inputs[i].dtype, to);
    }
}

/* A single sample's inputs are used where they are. */
static int begin_dense(const struct enso_model *m, struct enso_lane *lane,
                       struct enso_model_lane *l, unsigned slot, struct enso_sample *const *samples,
                       size_t n, const struct enso_pace *pace, struct enso_error *err)
{
    struct enso_tensor stacked[MAX_BORDERS];
    const struct enso_tensor *inputs = samples[0]->inputs;
    struct enso_extents e = {0};
    bool wanted[MAX_BORDERS] = {false};
    int st;

    for (size_t i = 0; i < n; i++) {
        e.n_items += samples[i]->n_items;
        for (size_t k = 0; k < m->info.n_outputs; k++)
            wanted[k] =
                wanted[k] || !wants_scores_alone(m, samples[i]) || (int)k == m->label_output;
    }
    if (n == 1) {
        st = enso_context_prepare(l->context, lane, slot, &e, err);
    } else {
        st = enso_context_stage(l->context, lane, slot, &e, stacked, err);
        if (st == ENSO_OK)
            stack_inputs(m, samples, n, stacked);
        inputs = stacked;
    }
    return st == ENSO_OK ? enso_context_begin(l->context, lane, slot, inputs, wanted, pace, err)
                         : st;
}

/* --- batches ------------------------------------------------------------------------------------
 */

int enso_model_begin(void *model, struct enso_lane *lane, unsigned slot,
                     struct enso_sample *const *samples, size_t n, const struct enso_pace *pace,
                     struct enso_error *err)
{
    struct enso_model *m = model;
    struct enso_model_lane *l = find_lane(m, lane, err);

    if (l == NULL)
        return ENSO_NO_MEMORY;
    if (m->info.takes_text)
        return begin_text(m, lane, l, slot, samples, n, pace, err);
    if (!m->info.batched && n > 1)
        return enso_error_set(err, ENSO_INTERNAL, "model '%s' runs one sample a batch", m->info.id);
    return begin_dense(m, lane, l, slot, samples, n, pace, err);
}

int enso_model_finish(void *model, struct enso_lane *lane, unsigned slot,
                      struct enso_sample *const *samples, size_t n, struct enso_spent *ret_spent,
                      struct enso_error *err)
{
    struct enso_model *m = model;
    struct enso_model_lane *l = find_lane(m, lane, err);
    struct enso_tensor outputs[MAX_BORDERS];
    size_t first = 0;
    int st = l != NULL ? ENSO_OK : ENSO_NO_MEMORY;

    if (st == ENSO_OK)
        st = enso_context_finish(l->context, lane, slot, outputs, ret_spent, err);
    if (st == ENSO_OK && m->info.takes_text)
        return keep_text(m, outputs, samples, n, err);
    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        st = keep_dense(m, outputs, first, samples[i], err);
        first += samples[i]->n_items;
    }
    return st;
}

int enso_model_run(struct enso_model *model, struct enso_lane *lane,
                   struct enso_sample *const *samples, size_t n, struct enso_error *err)
{
    int st = enso_model_begin(model, lane, 0, samples, n, NULL, err);

    return st == ENSO_OK ? enso_model_finish(model, lane, 0, samples, n, NULL, err) : st;
}

/* --- is a batch the same as its rows? ------------------------------------------------------------
 */

#define PROBE_ITEMS 3
#define MAX_ITEM_BYTES ((size_t)1 << 30)
#define MAX_STACKED_BYTES ((size_t)64 << 20) /* larger items gain nothing by being batched */

/* Fill a probe with values that differ from item to item. */
static void fill_probe(struct enso_sample *s, bool pictures, unsigned seed)
{
    for (uint32_t i = 0; i < s->n_inputs; i++) {
        struct enso_tensor *t = &s->inputs[i];
        int64_t n = enso_tensor_count(t);

        for (int64_t k = 0; k < n; k++) {
            unsigned random = (seed * 7919u + (unsigned)k * 104729u) % 2048;

            if (t->dtype == ENSO_DTYPE_F32)
                ((float *)t->data)[k] = (float)random / 1024 - 1;
            else if (pictures)
                ((uint8_t *)t->data)[k] = (uint8_t)(random / 8);
        } /* else zeros, which are valid indices, bytes and flags */
    }
}

/* What another order of sums may change, beside the largest number of the output. */
static double rounding(const struct enso_model *m)
{
    if (m->info.batch_invariant)
        return 0;
    return strcmp(m->info.dtype, "float32") == 0 ? 1e-3 : 2e-2;
}

static bool near_floats(const float *a, const float *b, int64_t n, double tolerance)
{
    double largest = 0;

    for (int64_t i = 0; i < n; i++)
        largest = fmax(largest, fabs((double)a[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs((double)a[i] - (double)b[i]) <= tolerance * largest))
            return false;
    return true;
}

static bool same_outputs(const struct enso_sample *a, const struct enso_sample *b, double tolerance)
{
    bool same = a->n_outputs == b->n_outputs;

    for (uint32_t i = 0; same && i < a->n_outputs; i++) {
        const struct enso_tensor *x = &a->outputs[i], *y = &b->outputs[i];

        same = enso_tensor_bytes(x) == enso_tensor_bytes(y) &&
               (memcmp(x->data, y->data, enso_tensor_bytes(x)) == 0 ||
                (tolerance > 0 && x->dtype == ENSO_DTYPE_F32 &&
                 near_floats(x->data, y->data, enso_tensor_count(x), tolerance)));
    }
    return same;
}

/* Rows alone against the same rows in one batch: to the bit, but on a device that chooses its
 * kernels by the size of the batch. */
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
        fill_probe(alone[i], m->info.takes_images, i);
        fill_probe(together[i], m->info.takes_images, i);
        st = enso_model_run(m, lane, &alone[i], 1, err);
    }
    if (st == ENSO_OK)
        st = enso_model_run(m, lane, together, PROBE_ITEMS, err);
    for (unsigned i = 0; i < PROBE_ITEMS; i++) {
        if (st == ENSO_OK && !same_outputs(alone[i], together[i], rounding(m)))
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
    if (st == ENSO_OK && !same)
        enso_log(ENSO_LOG_WARNING, "one item a batch",
                 "model=%s reason=its_items_differ_in_a_batch", m->info.id);
    return st;
}
