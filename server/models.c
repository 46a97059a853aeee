/* SPDX-License-Identifier: Apache-2.0
 *
 * GET /v1/models and /v1/models/{id}: what is served, in OpenAI's shape with our own facts beside.
 */
#include <string.h>

#include "base/number.h"
#include "server/app.h"
#include "server/handlers.h"
#include "server/lost.h"
#include "server/registry.h"

static void put_string(struct enso_buffer *b, const char *key, const char *value)
{
    enso_buffer_printf(b, ",\"%s\":", key);
    if (value != NULL)
        enso_buffer_put_json_string(b, value, strlen(value));
    else
        enso_buffer_puts(b, "null");
}

static void put_tensors(struct enso_buffer *b, const char *key,
                        const struct enso_tensor_info *tensors, size_t n)
{
    enso_buffer_printf(b, ",\"%s\":[", key);
    for (size_t i = 0; i < n; i++) {
        enso_buffer_puts(b, i != 0 ? ",{\"name\":" : "{\"name\":");
        enso_buffer_put_json_string(b, tensors[i].name, strlen(tensors[i].name));
        enso_buffer_printf(b, ",\"datatype\":\"%s\",\"shape\":[",
                           enso_dtype_name(tensors[i].dtype));
        for (uint8_t d = 0; d < tensors[i].rank; d++)
            enso_buffer_printf(b, d != 0 ? ",%lld" : "%lld", (long long)tensors[i].dims[d]);
        enso_buffer_puts(b, "]}");
    }
    enso_buffer_putc(b, ']');
}

static void put_labels(struct enso_buffer *b, const struct enso_model_info *info)
{
    enso_buffer_puts(b, ",\"labels\":[");
    for (uint32_t i = 0; i < info->n_labels; i++) {
        if (i != 0)
            enso_buffer_putc(b, ',');
        enso_buffer_put_json_string(b, info->labels[i], strlen(info->labels[i]));
    }
    enso_buffer_printf(b, "],\"multi_label\":%s", info->multi_label ? "true" : "false");
}

static void put_facts(struct enso_buffer *b, const struct enso_served *s, bool whole)
{
    const struct enso_model_info *info = enso_model_info(s->model);

    put_string(b, "task", enso_task_name(info->task));
    put_string(b, "architecture", info->architecture);
    put_string(b, "format", info->format);
    put_string(b, "device", info->device);
    if (s->n_replicas > 1) {
        enso_buffer_puts(b, ",\"devices\":[");
        for (size_t i = 0, n = 0; i < s->n_replicas; i++) {
            const char *device = enso_model_info(s->replicas[i].model)->device;

            if (enso_place_is_lost(s->replicas[i].place, NULL))
                continue;
            if (n++ != 0)
                enso_buffer_putc(b, ',');
            enso_buffer_put_json_string(b, device, strlen(device));
        }
        enso_buffer_putc(b, ']');
    }
    if (s->fallback.status != ENSO_OK)
        put_string(b, "device_fallback", s->fallback.message);
    put_string(b, "dtype", info->dtype);
    if (info->dtype_reason != NULL)
        put_string(b, "dtype_reason", info->dtype_reason);
    enso_buffer_printf(
        b, ",\"weight_bytes\":%llu,\"load_seconds\":", (unsigned long long)info->weight_bytes);
    enso_buffer_put_f64(b, info->load_seconds);
    enso_buffer_printf(b, ",\"batched\":%s,\"batch_invariant\":%s",
                       info->batched ? "true" : "false", info->batch_invariant ? "true" : "false");
    if (info->takes_text)
        enso_buffer_printf(b, ",\"max_tokens\":%u,\"vocabulary_size\":%u", info->max_tokens,
                           info->vocabulary_size);
    if (info->takes_images)
        enso_buffer_printf(b, ",\"image\":{\"height\":%u,\"width\":%u,\"channels\":%u}",
                           info->image_height, info->image_width, info->image_channels);
    if (info->task == ENSO_TASK_EMBEDDING) {
        enso_buffer_printf(b, ",\"dimensions\":%u", info->dimensions);
        put_string(b, "pooling", info->pooling);
        enso_buffer_printf(b, ",\"normalized\":%s", info->normalized ? "true" : "false");
    }
    if (info->n_labels != 0) {
        enso_buffer_printf(b, ",\"num_classes\":%u", info->n_labels);
        if (whole)
            put_labels(b, info);
    }
    if (whole && !info->takes_text) {
        put_tensors(b, "inputs", info->inputs, info->n_inputs);
        put_tensors(b, "outputs", info->outputs, info->n_outputs);
    }
}

static void put_entry(struct enso_request *req, const struct enso_entry *e, bool whole)
{
    static const char *const states[] = {"loading", "ready", "failed"};
    struct enso_buffer *b = &req->answer;
    struct enso_served *s;
    struct enso_error error;
    enum enso_entry_state state = enso_registry_state(req->app->registry, e, &s, &error);

    enso_buffer_puts(b, "{\"id\":");
    enso_buffer_put_json_string(b, e->id, strlen(e->id));
    enso_buffer_printf(b, ",\"object\":\"model\",\"created\":%lld,\"owned_by\":\"ensod\"",
                       s != NULL ? (long long)s->created : 0);
    put_string(b, "state", states[state]);
    if (state == ENSO_ENTRY_FAILED)
        put_string(b, "error", error.message);
    if (s != NULL)
        put_facts(b, s, whole);
    enso_buffer_putc(b, '}');
    enso_served_unref(s);
}

int enso_answer_models(struct enso_request *req, struct enso_error *err)
{
    (void)err;
    enso_buffer_puts(&req->answer, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < enso_registry_n_entries(req->app->registry); i++) {
        if (i != 0)
            enso_buffer_putc(&req->answer, ',');
        put_entry(req, enso_registry_entry(req->app->registry, i), false);
    }
    enso_buffer_puts(&req->answer, "]}\n");
    return 200;
}

int enso_answer_model(struct enso_request *req, struct enso_error *err)
{
    const struct enso_entry *e =
        enso_registry_entry_named(req->app->registry, req->path_model, err);

    if (e == NULL)
        return ENSO_NOT_FOUND;
    put_entry(req, e, true);
    enso_buffer_putc(&req->answer, '\n');
    return 200;
}
