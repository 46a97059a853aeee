/* SPDX-License-Identifier: Apache-2.0
 *
 * Two configurations: what differs, and what of it is taken over while running.
 */
#include "config/config.h"

#include <string.h>

#include "base/buffer.h"
#include "config/loader.h"
#include "config/options.h"

/* Both for enso_config_compare and, with take (which is a), for enso_config_take_over. */
static enum enso_status compare(const struct enso_config *a, const struct enso_config *b,
                                struct enso_config *take, enso_config_changed_fn changed,
                                void *context, struct enso_error *err)
{
    struct enso_buffer old = ENSO_BUFFER_INIT, new = ENSO_BUFFER_INIT;
    enum enso_status st = ENSO_OK;

    for (size_t i = 0; i < enso_n_options && st == ENSO_OK; i++) {
        const struct enso_option *o = &enso_options[i];

        if (enso__option_is_model(o))
            continue;
        enso_buffer_clear(&old);
        enso_buffer_clear(&new);
        enso_buffer_puts(&old, "");
        enso_buffer_puts(&new, "");
        enso_option_format(o, a, &old);
        enso_option_format(o, b, &new);
        if (old.failed || new.failed) {
            st = enso_error_no_memory(err, "comparing configurations");
            continue;
        }
        if (strcmp(old.data, new.data) == 0)
            continue;
        if (take != NULL && o->reloadable) {
            st = enso_option_set(o, take, &take->arena, new.data, false, err);
            take->origin[i] = b->origin[i];
        }
        if (st == ENSO_OK && changed != NULL)
            changed(o->section, o->name, o->reloadable, old.data, new.data, context);
    }
    enso_buffer_done(&old);
    enso_buffer_done(&new);
    return st;
}

enum enso_status enso_config_compare(const struct enso_config *a, const struct enso_config *b,
                                     enso_config_changed_fn changed, void *context,
                                     struct enso_error *err)
{
    return compare(a, b, NULL, changed, context, err);
}

enum enso_status enso_config_take_over(struct enso_config *config, const struct enso_config *fresh,
                                       enso_config_changed_fn changed, void *context,
                                       struct enso_error *err)
{
    return compare(config, fresh, config, changed, context, err);
}
