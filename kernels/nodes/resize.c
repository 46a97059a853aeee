/* SPDX-License-Identifier: Apache-2.0
 *
 * What Resize means, for every device: see resize.h. The formulas are those of ONNX's operator
 * description (opset 19) and, where that leaves something open, of its reference implementation:
 * taps outside of the input read its edge, align_corners and half_pixel_symmetric reckon with the
 * length that the scale asks for, which need not be whole. Positions are made in double, but where
 * nearest goes by a given scale their quotient is rounded to float: a scale of 1/3 is a float that
 * is a little larger, and three times it must be position 1, as it is for those who reckon in
 * float.
 */
#include "ensod_build.h"

#include "kernels/nodes/resize.h"

#include <math.h>
#include <string.h>

/* Most entries of a table: 16 MiB with the weights. */
#define MOST_ENTRIES ((size_t)1 << 21)

enum coordinates {
    HALF_PIXEL,
    HALF_PIXEL_SYMMETRIC,
    PYTORCH_HALF_PIXEL,
    ALIGN_CORNERS,
    ASYMMETRIC,
    N_COORDINATES
};
enum interpolation { NEAREST, LINEAR, CUBIC, N_INTERPOLATIONS };
enum rounding { PREFER_FLOOR, PREFER_CEIL, FLOOR, CEIL, SIMPLE, N_ROUNDINGS };

static const char *const coordinate_names[] = {"half_pixel", "half_pixel_symmetric",
                                               "pytorch_half_pixel", "align_corners", "asymmetric"};
static const char *const mode_names[] = {"nearest", "linear", "cubic"};
static const char *const rounding_names[] = {"round_prefer_floor", "round_prefer_ceil", "floor",
                                             "ceil", "simple"};

struct how {
    enum coordinates coordinates;
    enum interpolation mode;
    enum rounding rounding;
    bool antialias, exclude_outside;
    double cubic;
};

/* An axis while its table is made. The scale is to / from; `length` is what it makes of `in`. */
struct axis {
    int64_t in, out;
    double from, to, length;
    bool given; /* the model gives the scale, as a float */
};

static int find(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return (int)i;
    return -1;
}

static int read_how(const struct enso__bind *b, struct how *h, struct enso_error *err)
{
    const char *coordinates =
        enso_node_string(b->node, "coordinate_transformation_mode", "half_pixel");
    const char *mode = enso_node_string(b->node, "mode", "nearest");
    const char *rounding = enso_node_string(b->node, "nearest_mode", "round_prefer_floor");
    int c = find(coordinate_names, N_COORDINATES, coordinates);
    int m = find(mode_names, N_INTERPOLATIONS, mode);
    int r = find(rounding_names, N_ROUNDINGS, rounding);

    if (c < 0)
        return enso__unsupported(b, err, "coordinate_transformation_mode '%s'", coordinates);
    if (m < 0)
        return enso__unsupported(b, err, "mode '%s'", mode);
    if (r < 0)
        return enso__unsupported(b, err, "nearest_mode '%s'", rounding);
    *h = (struct how){
        .coordinates = (enum coordinates)c,
        .mode = (enum interpolation)m,
        .rounding = (enum rounding)r,
        .antialias = enso_node_int(b->node, "antialias", 0) != 0,
        .exclude_outside = enso_node_int(b->node, "exclude_outside", 0) != 0,
        .cubic = (double)enso_node_float(b->node, "cubic_coeff_a", -0.75f),
    };
    if (h->antialias && h->mode == NEAREST)
        return enso__unsupported(b, err, "antialias with mode 'nearest'");
    return ENSO_OK;
}

/* at / scale; see the head. */
static double by_scale(const struct how *h, const struct axis *a, double at)
{
    double quotient = at * a->from / a->to;

    return h->mode == NEAREST && a->given ? (double)(float)quotient : quotient;
}

/* Where position x of the output lies in the input. */
static double position(const struct how *h, const struct axis *a, int64_t x)
{
    double middle = by_scale(h, a, (double)x + 0.5) - 0.5;

    switch (h->coordinates) {
    case ALIGN_CORNERS:
        return x == 0 ? 0 : (double)x * (double)(a->in - 1) / (a->length - 1);
    case ASYMMETRIC:
        return by_scale(h, a, (double)x);
    case PYTORCH_HALF_PIXEL:
        return a->length > 1 ? middle : 0;
    case HALF_PIXEL_SYMMETRIC:
        /* both middles on each other; one quotient, so that whole places come out whole */
        return (((double)(2 * x + 1) - (double)a->out) * a->from + (double)(a->in - 1) * a->to) /
               (2 * a->to);
    default:
        return middle;
    }
}

static int64_t nearest(const struct how *h, const struct axis *a, double at)
{
    double base = floor(at), rest = at - base;
    bool up;

    switch (h->rounding) {
    case PREFER_FLOOR:
        up = rest > 0.5;
        break;
    case PREFER_CEIL:
        up = rest >= 0.5;
        break;
    case FLOOR:
        up = false;
        break;
    case CEIL:
        up = rest > 0;
        break;
    default:
        up = rest > 0 && a->to < a->from;
    }
    return (int64_t)base + up;
}

/* The filter at a distance from its middle. */
static double filter(const struct how *h, double distance)
{
    double d = fabs(distance), c = h->cubic;

    if (h->mode == LINEAR)
        return d < 1 ? 1 - d : 0;
    if (d <= 1)
        return ((c + 2) * d - (c + 3)) * d * d + 1;
    return d < 2 ? ((c * d - 5 * c) * d + 8 * c) * d - 4 * c : 0;
}

/* How much wider than in the input's raster the filter is, to take all in when the image
 * shrinks. */
static double stretch(const struct how *h, const struct axis *a)
{
    return h->antialias && a->to < a->from ? a->from / a->to : 1;
}

/* Taps of every position, and how far before it the first stands. */
static size_t count_taps(const struct how *h, const struct axis *a, int64_t *ret_before)
{
    double reach = (h->mode == LINEAR ? 1 : 2) * stretch(h, a);

    if (h->mode == NEAREST) {
        *ret_before = 0;
        return 1;
    }
    *ret_before = (int64_t)ceil(reach) - 1;
    return 2 * ((size_t)*ret_before + 1);
}

static int64_t inside(const struct axis *a, int64_t place)
{
    return ENSO_MAX(ENSO_MIN(place, a->in - 1), (int64_t)0);
}

/* Column `x` of a table. */
static void fill(const struct how *h, const struct axis *a, struct enso__resize_table *t, int64_t x)
{
    double at = position(h, a, x), wide = stretch(h, a), sum = 0;
    int64_t before, first;
    size_t column = (size_t)x, pitch = (size_t)t->out;
    bool normalise = h->antialias || h->exclude_outside;

    (void)count_taps(h, a, &before);
    /* far beyond either end all taps read the edge anyway */
    at = fmax(fmin(at, (double)a->in + (double)t->n_taps), -(double)t->n_taps);
    if (h->mode == NEAREST) {
        t->places[column] = (int32_t)inside(a, nearest(h, a, at));
        return;
    }
    first = (int64_t)floor(at) - before;
    for (size_t k = 0; k < t->n_taps; k++) {
        int64_t place = first + (int64_t)k;
        bool counts = !h->exclude_outside || (place >= 0 && place < a->in);

        t->places[k * pitch + column] = (int32_t)inside(a, place);
        t->weights[k * pitch + column] =
            counts ? (float)filter(h, ((double)place - at) / wide) : 0.0f;
        sum += counts ? filter(h, ((double)place - at) / wide) : 0;
    }
    if (normalise && sum == 0) /* all of it lies outside: the edge */
        t->weights[column] = 1;
    for (size_t k = 0; normalise && sum != 0 && k < t->n_taps; k++)
        t->weights[k * pitch + column] = (float)((double)t->weights[k * pitch + column] / sum);
}

size_t enso__resize_bytes(const struct enso__resize_table *t)
{
    return (size_t)t->out * t->n_taps * sizeof(float);
}

static int make_table(const struct enso__bind *b, const struct how *h, const struct axis *a,
                      struct enso__resize_table *t, struct enso_error *err)
{
    int64_t before;
    size_t n;

    /* Inference keeps to this; what is not true of attributes from a file would make giant
     * tables. */
    if (a->in > INT32_MAX ||
        (a->out > 0 && !(a->length > 0.49 && fabs(a->length - (double)a->out) < 2)))
        return enso__unsupported(b, err, "an axis of %lld that becomes %lld by a scale of %g",
                                 (long long)a->in, (long long)a->out, a->to / a->from);
    *t = (struct enso__resize_table){.resized = true,
                                     .in = a->in,
                                     .out = a->out,
                                     .n_taps = a->out > 0 ? count_taps(h, a, &before) : 1};
    if (!enso_size_mul((size_t)a->out, t->n_taps, &n) || n > MOST_ENTRIES)
        return enso__unsupported(b, err,
                                 "an axis of %lld that becomes %lld takes %zu elements for each "
                                 "one, but a table holds at most %zu in all",
                                 (long long)a->in, (long long)a->out, t->n_taps, MOST_ENTRIES);
    n *= sizeof(float);
    t->places = enso_alloc(n + 1);
    t->weights = h->mode == NEAREST ? NULL : enso_alloc(n + 1);
    if (t->places == NULL || (t->weights == NULL && h->mode != NEAREST))
        return enso_error_no_memory(err, "the taps of a Resize");
    for (int64_t x = 0; x < a->out; x++)
        fill(h, a, t, x);
    return ENSO_OK;
}

/* The first and the last axis that is resized. */
static int find_axes(const struct enso__bind *b, const int64_t *sizes, size_t rank,
                     struct enso__resize *r, struct enso_error *err)
{
    size_t last = 0;

    r->rank = (uint8_t)rank;
    for (size_t i = 0; i < rank; i++) {
        if (sizes[i] < 0)
            continue;
        if (r->n_axes == 0)
            r->first = (uint8_t)i;
        last = i;
        r->n_axes = (uint8_t)(last - r->first + 1);
    }
    if (r->n_axes > ENSO__RESIZE_AXES)
        return enso__unsupported(b, err, "axes %u and %zu are too far apart", r->first, last);
    return ENSO_OK;
}

int enso__resize_bind(const struct enso__bind *b, struct enso__resize *ret, struct enso_error *err)
{
    const struct enso_value *x = enso__bind_input(b, 0);
    size_t n = 0, n_scales = 0;
    const int64_t *sizes = enso_node_ints(b->node, "resized_sizes", &n);
    const float *scales = enso_node_floats(b->node, "resized_scales", &n_scales);
    int64_t ratio = enso_node_int(b->node, "ratio_axis", -1);
    struct how h = {0};
    int st = read_how(b, &h, err);

    *ret = (struct enso__resize){.nearest = h.mode == NEAREST};
    if (st != ENSO_OK)
        return st;
    if (x == NULL || sizes == NULL || scales == NULL || n != x->shape.rank || n_scales != n)
        return enso__unsupported(b, err, "sizes that inference has not seen");
    st = find_axes(b, sizes, n, ret, err);
    for (size_t i = 0; st == ENSO_OK && i < ret->n_axes; i++) {
        size_t d = ret->first + i;
        struct axis a = {.in = x->shape.dims[d].factor, .out = sizes[d]};

        if (sizes[d] < 0)
            continue;
        a.from = ratio >= 0 ? (double)x->shape.dims[ratio].factor : (double)a.in;
        a.to = ratio >= 0 ? (double)sizes[ratio] : (double)a.out;
        a.length = ratio >= 0 ? (double)a.in * a.to / a.from : (double)a.out;
        if (ratio < 0 && scales[d] != 0) {
            a.from = 1;
            a.to = (double)scales[d];
            a.length = (double)a.in * a.to;
            a.given = true;
        }
        st = make_table(b, &h, &a, &ret->tables[i], err);
    }
    return st;
}

void enso__resize_done(struct enso__resize *r)
{
    for (size_t i = 0; i < ENSO__RESIZE_AXES; i++) {
        enso_free(r->tables[i].places);
        enso_free(r->tables[i].weights);
        r->tables[i].places = NULL;
        r->tables[i].weights = NULL;
    }
}

bool enso__resize_resolve(const struct enso__resize *r, const struct enso_tensor *x,
                          const struct enso_tensor *y, struct enso__resize_shape *ret)
{
    size_t shift = ENSO__RESIZE_AXES - r->n_axes;

    if (x->rank != r->rank || y->rank != r->rank || x->dtype != y->dtype)
        return false;
    *ret = (struct enso__resize_shape){.outer = enso__count(x->dims, 0, r->first),
                                       .inner = enso__count(x->dims, r->first + r->n_axes, x->rank),
                                       .in = {1, 1, 1},
                                       .out = {1, 1, 1}};
    for (size_t d = 0; d < r->rank; d++) {
        bool is_axis = d >= r->first && d < (size_t)r->first + r->n_axes;
        const struct enso__resize_table *t = is_axis ? &r->tables[d - r->first] : NULL;
        bool resized = t != NULL && t->resized;

        if (resized ? x->dims[d] != t->in || y->dims[d] != t->out : x->dims[d] != y->dims[d])
            return false;
        if (!is_axis)
            continue;
        ret->in[shift + d - r->first] = (size_t)x->dims[d];
        ret->out[shift + d - r->first] = (size_t)y->dims[d];
        ret->tables[shift + d - r->first] = resized ? t : NULL;
    }
    return true;
}
