/* SPDX-License-Identifier: Apache-2.0
 *
 * Pad (ONNX, opset 19): modes constant, reflect, edge and wrap; negative pads cut. All element
 * types. Row by row of the last dimension: what lies inside of the input is copied in one piece.
 */
#include "ensod_build.h"

#include "kernels/cpu/cpu_internal.h"

#include <string.h>

enum pad_mode { PAD_CONSTANT, PAD_REFLECT, PAD_EDGE, PAD_WRAP };

struct pad {
    struct enso_bound bound;
    enum pad_mode mode;
    struct enso__ints pads, axes;
};

struct pad_work {
    enum pad_mode mode;
    const unsigned char *x;
    unsigned char *y;
    unsigned char value[8];
    size_t bytes, rank;
    int64_t in[ENSO_MAX_RANK], out[ENSO_MAX_RANK], before[ENSO_MAX_RANK];
};

/* Where position i (0 = the input's first) of a dimension of n reads; -1: the constant. */
static int64_t source(enum pad_mode mode, int64_t i, int64_t n)
{
    if (i >= 0 && i < n)
        return i;
    if (n == 0 || mode == PAD_CONSTANT)
        return -1;
    if (mode == PAD_EDGE)
        return i < 0 ? 0 : n - 1;
    int64_t period = mode == PAD_WRAP ? n : n == 1 ? 1 : 2 * (n - 1);

    i %= period;
    i += i < 0 ? period : 0;
    return i < n ? i : period - i;
}

static void pad_row(const struct pad_work *w, const unsigned char *x, unsigned char *y)
{
    size_t d = w->rank - 1;
    int64_t first = ENSO_MIN(ENSO_MAX(w->before[d], (int64_t)0), w->out[d]);
    int64_t last = ENSO_MAX(ENSO_MIN(w->before[d] + w->in[d], w->out[d]), first);

    for (int64_t o = 0; o < w->out[d]; o++) {
        if (o == first && last > first && x != NULL) {
            memcpy(y + (size_t)o * w->bytes, x + (size_t)(o - w->before[d]) * w->bytes,
                   (size_t)(last - first) * w->bytes);
            o = last - 1;
            continue;
        }
        int64_t i = x == NULL ? -1 : source(w->mode, o - w->before[d], w->in[d]);

        memcpy(y + (size_t)o * w->bytes, i < 0 ? w->value : x + (size_t)i * w->bytes, w->bytes);
    }
}

static void pad_piece(void *arg, size_t first, size_t last, unsigned thread)
{
    const struct pad_work *w = arg;
    size_t width = (size_t)w->out[w->rank - 1];

    (void)thread;
    for (size_t row = first; row < last; row++) {
        size_t index = row;
        int64_t offset = 0, stride = w->in[w->rank - 1];
        bool outside = false;

        for (size_t d = w->rank - 1; d-- > 0;) {
            int64_t i =
                source(w->mode, (int64_t)(index % (size_t)w->out[d]) - w->before[d], w->in[d]);

            outside = outside || i < 0;
            offset += i * stride;
            stride *= w->in[d];
            index /= (size_t)w->out[d];
        }
        pad_row(w, outside || stride == 0 ? NULL : w->x + (size_t)offset * w->bytes,
                w->y + row * width * w->bytes);
    }
}

static int read_pads(const struct enso__call *call, const struct enso_tensor *x, struct pad_work *w,
                     struct enso_error *err)
{
    const struct pad *op = (const struct pad *)call->bound;
    struct enso__ints storage[2];
    const struct enso__ints *pads, *axes;
    int st = enso__ints_get(call, &op->pads, &storage[0], &pads, err);

    if (st == ENSO_OK)
        st = enso__ints_get(call, &op->axes, &storage[1], &axes, err);
    if (st != ENSO_OK)
        return st;
    size_t n = axes->present ? axes->n : x->rank;

    if (pads->n != 2 * n)
        return enso__run_error(call, err, ENSO_INVALID, "%u pads for %zu dimensions", pads->n, n);
    for (size_t i = 0; i < n; i++) {
        int axis = enso__axis(axes->present ? axes->v[i] : (int64_t)i, x->rank);

        if (axis < 0)
            return enso__run_error(call, err, ENSO_INVALID, "an axis is out of range");
        w->before[axis] = pads->v[i];
    }
    return ENSO_OK;
}

static int pad_run(const struct enso__call *call, struct enso_error *err)
{
    const struct pad *op = (const struct pad *)call->bound;
    const struct enso_tensor *x = enso__in(call, 0), *value = enso__in(call, 2);
    const struct enso_tensor *y = enso__out(call, 0);
    struct pad_work w = {.mode = op->mode,
                         .x = x->data,
                         .y = y->data,
                         .bytes = enso_dtype_row_bytes(x->dtype, 1),
                         .rank = ENSO_MAX(x->rank, (uint8_t)1)};

    if (x->rank != y->rank)
        return enso__run_error(call, err, ENSO_INTERNAL, "input and output differ in rank");
    int st = read_pads(call, x, &w, err);
    if (st != ENSO_OK)
        return st;
    for (size_t d = 0; d < w.rank; d++) {
        w.in[d] = x->rank == 0 ? 1 : x->dims[d];
        w.out[d] = x->rank == 0 ? 1 : y->dims[d];
        if (w.in[d] == 0 && w.mode != PAD_CONSTANT)
            return enso__run_error(call, err, ENSO_INVALID, "nothing to repeat along axis %zu", d);
    }
    if (value != NULL) {
        if (value->dtype != x->dtype || enso_tensor_count(value) != 1)
            return enso__run_error(call, err, ENSO_INVALID, "the value must be one element of %s",
                                   enso_dtype_name(x->dtype));
        memcpy(w.value, value->data, w.bytes);
    }
    size_t width = (size_t)w.out[w.rank - 1];

    enso__parallel(call, (size_t)enso_tensor_count(y) / width, width * w.bytes, pad_piece, &w);
    return ENSO_OK;
}

int enso__bind_pad(const struct enso__bind *b, struct enso_bound **ret, struct enso_error *err)
{
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    const char *mode = enso_node_string(b->node, "mode", "constant");
    size_t i = 0;

    while (i < ENSO_ARRAY_SIZE(names) && strcmp(names[i], mode) != 0)
        i++;
    if (i == ENSO_ARRAY_SIZE(names))
        return enso__unsupported(b, err, "mode '%s'", mode);
    struct pad *p = enso__bound_new(b, sizeof(*p), pad_run, err);
    if (p == NULL)
        return ENSO_NO_MEMORY;
    p->mode = (enum pad_mode)i;
    int st = enso__ints_bind(b, 1, "pads", &p->pads, err);
    if (st == ENSO_OK)
        st = enso__ints_bind(b, 3, "axes", &p->axes, err);
    if (st != ENSO_OK) {
        enso__bound_free(&p->bound);
        return st;
    }
    *ret = &p->bound;
    return ENSO_OK;
}
