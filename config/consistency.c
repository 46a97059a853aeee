/* SPDX-License-Identifier: Apache-2.0
 *
 * Checks over several keys, once all are read.
 */
#include "config/loader.h"

#include <string.h>

/* The i-th id by which a model may be called, or NULL. */
static const char *public_name(const struct enso_config_model *m, size_t i)
{
    if (i == 0)
        return m->served_name != NULL ? m->served_name : m->name;
    return i - 1 < m->aliases.n ? m->aliases.items[i - 1] : NULL;
}

static enum enso_status check_names(const struct enso__loader *l, struct enso_error *err)
{
    for (size_t i = 0; i < l->n_models; i++) {
        const char *name;

        for (size_t k = 0; (name = public_name(&l->models[i], k)) != NULL; k++) {
            for (size_t j = 0; j <= i; j++) {
                const char *other;

                for (size_t n = 0; (other = public_name(&l->models[j], n)) != NULL; n++) {
                    if ((j == i && n >= k) || strcmp(name, other) != 0)
                        continue;
                    return enso_error_set(err, ENSO_INVALID,
                                          "%s:%u: [model %s]: '%s' is also a "
                                          "name of [model %s] (line %u)",
                                          l->file, l->models[i].line, l->models[i].name, name,
                                          l->models[j].name, l->models[j].line);
                }
            }
        }
    }
    return ENSO_OK;
}

/* A model's devices are such as will be open. Of "auto" that is known at the start only; the
 * first GPU, which it tries first, may be named. */
static enum enso_status check_devices(const struct enso__loader *l, struct enso_error *err)
{
    const char *given = l->config.device;
    int gpus[ENSO_CONFIG_MAX_GPUS] = {0}, wanted[ENSO_CONFIG_MAX_GPUS];
    size_t n = 0, n_wanted;

    (void)enso_config_parse_device(given, gpus, &n, NULL); /* it was checked */
    if (strcmp(given, "auto") == 0)
        n = 1;
    for (size_t i = 0; i < l->n_models; i++) {
        const struct enso_config_model *m = &l->models[i];

        if (m->device == NULL)
            continue;
        (void)enso_config_parse_device(m->device, wanted, &n_wanted, NULL); /* it was checked */
        for (size_t k = 0; k < n_wanted; k++) {
            bool found = false;

            for (size_t g = 0; g < n; g++)
                found = found || gpus[g] == wanted[k];
            if (found)
                continue;
            return enso_error_set(err, ENSO_INVALID,
                                  "%s:%u: [model %s] device: cuda:%d is not one of [device] device "
                                  "= %s; write %s%scuda:%d there",
                                  l->file, m->line, m->name, wanted[k], given,
                                  strncmp(given, "cuda", 4) == 0 ? given
                                  : strcmp(given, "auto") == 0   ? "cuda:0"
                                                                 : "",
                                  strcmp(given, "cpu") == 0 ? "" : ",", wanted[k]);
        }
    }
    return ENSO_OK;
}

enum enso_status enso__loader_check(const struct enso__loader *l, struct enso_error *err)
{
    const struct enso_config *c = &l->config;

    if (c->listen.n == 0) {
        enso_error_param(err, "server.listen");
        return enso_error_set(err, ENSO_INVALID,
                              "[server] listen is empty; give an address such "
                              "as 127.0.0.1:8080");
    }
    for (size_t i = 0; i < c->listen.n; i++) {
        for (size_t j = 0; j < i; j++) {
            if (strcmp(c->listen.items[i], c->listen.items[j]) == 0) {
                enso_error_param(err, "server.listen");
                return enso_error_set(err, ENSO_INVALID, "[server] listen has '%.120s' twice",
                                      c->listen.items[i]);
            }
        }
    }
    if (c->max_image_pixels > c->max_request_pixels) {
        enso_error_param(err, "limits.max_image_pixels");
        return enso_error_set(err, ENSO_INVALID,
                              "[limits] max_image_pixels (%lld) is more than "
                              "max_request_pixels (%lld); raise the latter",
                              (long long)c->max_image_pixels, (long long)c->max_request_pixels);
    }
    if (c->max_body_bytes > c->request_memory_bytes) {
        enso_error_param(err, "limits.max_body");
        return enso_error_set(err, ENSO_INVALID,
                              "[limits] max_body (%llu bytes) is more than "
                              "request_memory (%llu bytes); raise the latter",
                              (unsigned long long)c->max_body_bytes,
                              (unsigned long long)c->request_memory_bytes);
    }
    enum enso_status st = check_devices(l, err);

    return st == ENSO_OK ? check_names(l, err) : st;
}
