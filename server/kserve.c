/* SPDX-License-Identifier: Apache-2.0
 *
 * KServe V2: what the server and a model are. See kserve.h.
 */
#include "ensod_build.h"

#include "server/kserve.h"

#include <string.h>

#include "base/number.h"
#include "server/app.h"
#include "server/handlers.h"
#include "server/registry.h"

#define MODEL_VERSION "1" /* of every model: a new one takes the old one's place */

/* --- borders --------------------------------------------------------------------------------- */

static struct enso_v2_border strings(const char *name, bool optional)
{
    return (struct enso_v2_border){name, ENSO_V2_BYTES, 1, {-1}, optional};
}

static struct enso_v2_border rows(const char *name, uint32_t width)
{
    return (struct enso_v2_border){name, ENSO_DTYPE_F32, 2, {-1, width}, false};
}

static struct enso_v2_border own(const struct enso_tensor_info *info)
{
    struct enso_v2_border b = {.name = info->name, .dtype = info->dtype, .rank = info->rank};

    memcpy(b.dims, info->dims, sizeof b.dims);
    return b;
}

bool enso_v2_input(const struct enso_model_info *info, enum enso_v2_drive drive, size_t i,
                   struct enso_v2_border *ret)
{
    if (i >= (drive == ENSO_V2_TEXT ? 2 : drive == ENSO_V2_IMAGES ? 1 : info->n_inputs))
        return false;
    if (drive == ENSO_V2_TEXT)
        *ret = i == 0 ? strings("text", false) : strings("text_pair", true);
    else if (drive == ENSO_V2_IMAGES)
        *ret = strings("image", false);
    else
        *ret = own(&info->inputs[i]);
    return true;
}

bool enso_v2_output(const struct enso_model_info *info, enum enso_v2_drive drive, size_t i,
                    struct enso_v2_border *ret)
{
    bool embeds = info->task == ENSO_TASK_EMBEDDING;

    if (i >= (drive == ENSO_V2_OWN ? info->n_outputs : embeds ? 1 : 2))
        return false;
    if (drive == ENSO_V2_OWN)
        *ret = own(&info->outputs[i]);
    else if (embeds)
        *ret = rows("embedding", info->dimensions);
    else
        *ret = i == 0 ? rows("probabilities", info->n_labels) : strings("label", false);
    return true;
}

const char *enso_v2_dtype_name(int dtype)
{
    return dtype == ENSO_V2_BYTES ? "BYTES" : enso_dtype_name((enum enso_dtype)dtype);
}

bool enso_v2_dtype_parse(const char *name, int *ret_dtype)
{
    enum enso_dtype dtype = ENSO_DTYPE_F32;
    bool is_bytes = strcmp(name, "BYTES") == 0;

    if (!is_bytes && !enso_dtype_from_v2(name, &dtype))
        return false;
    *ret_dtype = is_bytes ? ENSO_V2_BYTES : (int)dtype;
    return true;
}

int enso_v2_check_version(const struct enso_request *req, const char *model, struct enso_error *err)
{
    if (req->path_version == NULL || strcmp(req->path_version, MODEL_VERSION) == 0)
        return ENSO_OK;
    enso_error_param(err, "version");
    enso_error_code(err, "version_not_found");
    return enso_error_set(err, ENSO_NOT_FOUND,
                          "model '%s' has the version " MODEL_VERSION
                          " only, not '%.40s'; leave it out "
                          "of the path",
                          model, req->path_version);
}

/* --- metadata -------------------------------------------------------------------------------- */

int enso_answer_v2_server(struct enso_request *req, struct enso_error *err)
{
    (void)err;
    enso_buffer_puts(&req->answer, "{\"name\":\"ensod\",\"version\":\"" PACKAGE_VERSION
                                   "\",\"extensions\":[\"binary_tensor_data\",\"classification\","
                                   "\"parameters\"]}\n");
    return 200;
}

static void put_border(struct enso_buffer *b, const struct enso_v2_border *border, bool first,
                       bool optional)
{
    enso_buffer_puts(b, first ? "{\"name\":" : ",{\"name\":");
    enso_buffer_put_json_string(b, border->name, strlen(border->name));
    enso_buffer_printf(b, ",\"datatype\":\"%s\",\"shape\":[", enso_v2_dtype_name(border->dtype));
    for (uint8_t d = 0; d < border->rank; d++)
        enso_buffer_printf(b, d != 0 ? ",%lld" : "%lld", (long long)border->dims[d]);
    enso_buffer_puts(b, optional ? "],\"parameters\":{\"optional\":true}}" : "]}");
}

typedef bool (*border_fn)(const struct enso_model_info *info, enum enso_v2_drive drive, size_t i,
                          struct enso_v2_border *ret);

/* Pictures can be sent encoded or as the graph's own input: either is optional, both are listed. */
static void put_borders(struct enso_buffer *b, const struct enso_model_info *info, border_fn border)
{
    enum enso_v2_drive first = info->takes_text     ? ENSO_V2_TEXT
                               : info->takes_images ? ENSO_V2_IMAGES
                                                    : ENSO_V2_OWN;
    enum enso_v2_drive last = first == ENSO_V2_IMAGES ? ENSO_V2_OWN : first;
    size_t n = 0;

    for (int drive = (int)first; drive <= (int)last; drive++) {
        struct enso_v2_border one;

        for (size_t i = 0; border(info, (enum enso_v2_drive)drive, i, &one); i++)
            put_border(b, &one, n++ == 0,
                       one.optional || (border == enso_v2_input && first != last));
    }
}

int enso_answer_v2_model(struct enso_request *req, struct enso_error *err)
{
    struct enso_buffer *b = &req->answer;
    const struct enso_model_info *info;
    int st = enso_registry_find(req->app->registry, req->path_model, 0, &req->served, err);

    if (st == ENSO_OK)
        st = enso_v2_check_version(req, req->served->id, err);
    if (st != ENSO_OK)
        return st;
    info = enso_model_info(req->served->model);
    enso_buffer_puts(b, "{\"name\":");
    enso_buffer_put_json_string(b, req->served->id, strlen(req->served->id));
    enso_buffer_printf(
        b, ",\"versions\":[\"" MODEL_VERSION "\"],\"platform\":\"ensod_%s\",\"inputs\":[",
        info->format);
    put_borders(b, info, enso_v2_input);
    enso_buffer_puts(b, "],\"outputs\":[");
    put_borders(b, info, enso_v2_output);
    enso_buffer_puts(b, "]}\n");
    return 200;
}

int enso_answer_v2_model_ready(struct enso_request *req, struct enso_error *err)
{
    const struct enso_entry *e =
        enso_registry_entry_named(req->app->registry, req->path_model, err);
    struct enso_buffer *b = &req->answer;
    bool ready;
    int st;

    if (e == NULL)
        return ENSO_NOT_FOUND;
    st = enso_v2_check_version(req, e->id, err);
    if (st != ENSO_OK)
        return st;
    ready = enso_registry_state(req->app->registry, e, NULL, NULL) == ENSO_ENTRY_READY;
    enso_buffer_puts(b, "{\"name\":");
    enso_buffer_put_json_string(b, e->id, strlen(e->id));
    enso_buffer_printf(b, ",\"ready\":%s}\n", ready ? "true" : "false");
    return ready ? 200 : 503;
}
