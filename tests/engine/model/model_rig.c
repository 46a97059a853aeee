/* SPDX-License-Identifier: Apache-2.0
 *
 * Models and inputs for tests: see model_rig.h.
 */
#include "ensod_build.h"

#include "tests/engine/model/model_rig.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "engine/host.h"
#include "tests/engine/model/step_times.h"

#define MAX_FILE ((size_t)1 << 30)

static int open_rig(struct model_rig *rig, const char *folder, const struct enso_backend *backend,
                    const struct enso_device_options *how, enum enso_model_dtype dtype,
                    struct enso_error *err)
{
    struct enso_model_options options = {
        .path = folder, .id = "m", .backend = backend, .dtype = dtype};
    int st;

    *rig = (struct model_rig){.backend = backend};
    st = backend->device_open(how, &rig->device, err);
    if (st == ENSO_OK)
        st = backend->lane_open(rig->device, &rig->lane, err);
    options.device = rig->device;
    if (st == ENSO_OK)
        st = enso_model_load(&options, &rig->model, err);
    if (st != ENSO_OK)
        model_rig_close(rig);
    return st;
}

int model_rig_open(struct model_rig *rig, const char *folder, const char *isa, unsigned n_threads,
                   struct enso_error *err)
{
    const struct enso_device_options how = {.name = "cpu", .n_threads = n_threads, .isa = isa};

    return open_rig(rig, folder, enso_backend_cpu(), &how, ENSO_MODEL_DTYPE_AUTO, err);
}

int model_rig_open_on(struct model_rig *rig, const char *folder, const char *module,
                      const char *device, enum enso_model_dtype dtype, struct enso_error *err)
{
    const struct enso_device_options how = {.name = device,
                                            .cublaslt = getenv("ENSO_TEST_CUBLASLT")};
    const struct enso_backend *backend = NULL;
    enso_backend_entry_fn entry = NULL;
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);

    *rig = (struct model_rig){0};
    if (library == NULL)
        return enso_error_set(err, ENSO_NOT_FOUND, "%s", dlerror());
    *(void **)&entry = dlsym(library, "enso_backend_entry");
    if (entry != NULL)
        backend = entry(enso_host());
    if (backend == NULL)
        return enso_error_set(err, ENSO_UNSUPPORTED, "'%s' is no module of this build", module);
    return open_rig(rig, folder, step_times_wrap(backend), &how, dtype, err);
}

void model_rig_close(struct model_rig *rig)
{
    if (rig->model != NULL)
        enso_model_forget_lane(rig->model, rig->lane);
    rig->model = enso_model_unref(rig->model);
    rig->backend->lane_close(rig->lane);
    rig->backend->device_close(rig->device);
    *rig = (struct model_rig){0};
}

/* --- tensors told in JSON -----------------------------------------------------------------------
 */

double model_rig_number(const struct enso_tensor *t, size_t i)
{
    switch (t->dtype) {
    case ENSO_DTYPE_F32:
        return ((const float *)t->data)[i];
    case ENSO_DTYPE_I64:
        return (double)((const int64_t *)t->data)[i];
    case ENSO_DTYPE_I32:
        return ((const int32_t *)t->data)[i];
    case ENSO_DTYPE_BOOL:
    case ENSO_DTYPE_U8:
        return ((const uint8_t *)t->data)[i];
    default:
        return 0.0 / 0.0; /* types that no test asks for: equal to nothing */
    }
}

static int put_number(struct enso_tensor *t, size_t i, double x, struct enso_error *err)
{
    switch (t->dtype) {
    case ENSO_DTYPE_F32:
        ((float *)t->data)[i] = (float)x;
        return ENSO_OK;
    case ENSO_DTYPE_I64:
        ((int64_t *)t->data)[i] = (int64_t)x;
        return ENSO_OK;
    case ENSO_DTYPE_I32:
        ((int32_t *)t->data)[i] = (int32_t)x;
        return ENSO_OK;
    case ENSO_DTYPE_BOOL:
    case ENSO_DTYPE_U8:
        ((uint8_t *)t->data)[i] = (uint8_t)x;
        return ENSO_OK;
    default:
        return enso_error_set(err, ENSO_UNSUPPORTED, "the rig makes no %s tensors",
                              enso_dtype_name(t->dtype));
    }
}

static int fill_numbers(struct enso_tensor *t, const json_t *told, struct enso_error *err)
{
    const json_t *values = json_object_get(told, "values");
    json_int_t seed = json_integer_value(json_object_get(told, "ramp"));
    json_int_t below = json_integer_value(json_object_get(told, "below"));
    size_t n = (size_t)enso_tensor_count(t);
    int st = ENSO_OK;

    if (values != NULL && json_array_size(values) != n)
        return enso_error_set(err, ENSO_INVALID, "%zu values for %zu elements",
                              json_array_size(values), n);
    for (size_t k = 0; st == ENSO_OK && k < n; k++) {
        int64_t mess = (seed * 7919 + (int64_t)k * 104729) % 65521;

        st = put_number(t, k,
                        values != NULL ? json_number_value(json_array_get(values, k))
                        : below > 0    ? (double)(mess % below)
                                       : (double)(mess % 2048) / 1024 - 1,
                        err);
    }
    return st;
}

static int fill_from_file(struct enso_tensor *t, const char *path, struct enso_error *err)
{
    char *bytes;
    size_t size;
    int st = enso_file_read(path, MAX_FILE, &bytes, &size, err);

    if (st != ENSO_OK)
        return st;
    if (size != enso_tensor_bytes(t))
        st = enso_error_set(err, ENSO_INVALID, "%s has %zu bytes, not %zu", path, size,
                            enso_tensor_bytes(t));
    else
        memcpy(t->data, bytes, size);
    enso_free(bytes);
    return st;
}

/* Shape, type and content; t->data is the caller's to free, also on failure. */
static int tell_tensor(struct enso_tensor *t, const json_t *told, struct enso_error *err)
{
    const json_t *shape = json_object_get(told, "shape");
    const char *dtype = json_string_value(json_object_get(told, "dtype"));
    const char *file = json_string_value(json_object_get(told, "file"));
    int64_t n;

    if (dtype == NULL || !enso_dtype_from_v2(dtype, &t->dtype) ||
        json_array_size(shape) > ENSO_MAX_RANK)
        return enso_error_set(err, ENSO_INVALID, "a tensor without dtype or with a wrong shape");
    t->rank = (uint8_t)json_array_size(shape);
    for (uint8_t d = 0; d < t->rank; d++)
        t->dims[d] = json_integer_value(json_array_get(shape, d));
    if (!enso_dims_count(t->dims, t->rank, &n) || (size_t)n > MAX_FILE / 8)
        return enso_error_set(err, ENSO_INVALID, "a tensor of impossible shape");
    t->data = enso_alloc_array((size_t)n + 1, 8);
    if (t->data == NULL)
        return enso_error_no_memory(err, "a tensor");
    return file != NULL ? fill_from_file(t, file, err) : fill_numbers(t, told, err);
}

static int tensors_sample(const struct enso_model *model, const json_t *inputs,
                          struct enso_sample **ret_sample, struct enso_error *err)
{
    struct enso_tensor tensors[8] = {0};
    size_t n = json_array_size(inputs);
    int st = n <= ENSO_ARRAY_SIZE(tensors)
                 ? ENSO_OK
                 : enso_error_set(err, ENSO_INVALID, "more than 8 input tensors");

    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        st = tell_tensor(&tensors[i], json_array_get(inputs, i), err);
    if (st == ENSO_OK)
        st = enso_model_encode_tensors(model, tensors, n, ret_sample, err);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(tensors); i++)
        enso_free(tensors[i].data);
    return st;
}

/* --- the other kinds ----------------------------------------------------------------------------
 */

static int ids_sample(const struct enso_model *model, const json_t *told,
                      const struct enso_sample_options *options, struct enso_sample **ret_sample,
                      struct enso_error *err)
{
    size_t n = json_array_size(told);
    int64_t *ids = enso_alloc_array(n + 1, sizeof *ids);
    int st;

    if (ids == NULL)
        return enso_error_no_memory(err, "token ids");
    for (size_t i = 0; i < n; i++)
        ids[i] = json_integer_value(json_array_get(told, i));
    st = enso_model_encode_tokens(model, ids, n, options, ret_sample, err);
    enso_free(ids);
    return st;
}

static int image_sample(const struct enso_model *model, const char *folder, const char *name,
                        const struct enso_sample_options *options, struct enso_sample **ret_sample,
                        struct enso_error *err)
{
    char path[4096], *bytes;
    size_t size;
    int st;

    /* a cut name is not found */
    (void)snprintf(path, sizeof path, "%s%s%s", name[0] == '/' ? "" : folder,
                   name[0] == '/' ? "" : "/", name);
    st = enso_file_read(path, MAX_FILE, &bytes, &size, err);
    if (st == ENSO_OK) {
        st = enso_model_encode_image(model, bytes, size, options, ret_sample, err);
        enso_free(bytes);
    }
    return st;
}

int model_rig_sample(const struct enso_model *model, const char *folder, const json_t *item,
                     struct enso_sample **ret_sample, struct enso_error *err)
{
    const char *want = json_string_value(json_object_get(item, "want"));
    const json_t *text = json_object_get(item, "text"), *pair = json_object_get(item, "pair");
    const json_t *ids = json_object_get(item, "ids"), *image = json_object_get(item, "image");
    struct enso_sample_options options = {
        .truncate = !json_is_false(json_object_get(item, "truncate")),
        .truncate_left = json_is_true(json_object_get(item, "truncate_left")),
        .want_raw = want == NULL || strcmp(want, "raw") == 0,
        .want_tokens = want != NULL && strcmp(want, "tokens") == 0,
    };

    if (text != NULL)
        return enso_model_encode_text(model, json_string_value(text), json_string_length(text),
                                      json_string_value(pair), json_string_length(pair), &options,
                                      ret_sample, err);
    if (ids != NULL)
        return ids_sample(model, ids, &options, ret_sample, err);
    if (image != NULL)
        return image_sample(model, folder, json_string_value(image), &options, ret_sample, err);
    return tensors_sample(model, json_object_get(item, "inputs"), ret_sample, err);
}
