/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole configuration as a file that reads back as the same: --check-config.
 */
#include "config/config.h"

#include <string.h>

#include "base/buffer.h"
#include "config/loader.h"
#include "config/options.h"

static void write_option(const struct enso_option *o, const void *base, const char *comment,
                         struct enso_buffer *b)
{
    const char *mark = *comment != '\0' ? " ; " : "";

    if (o->type == ENSO_OPTION_LIST) { /* an item a line: a line has a limit */
        const struct enso_config_list *list = (const void *)((const char *)base + o->offset);

        for (size_t i = 0; i < list->n; i++)
            enso_buffer_printf(b, "%s = %s%s%s\n", o->name, list->items[i], mark, comment);
        if (list->n != 0)
            return;
    }
    enso_buffer_printf(b, "%s = ", o->name);
    enso_option_format(o, base, b);
    enso_buffer_printf(b, "%s%s\n", mark, comment);
}

void enso_config_write(const struct enso_config *config, struct enso_buffer *b)
{
    static const char *const origins[] = {"default", "", "environment", "command line"};

    for (size_t s = 0; s < enso_n_option_sections; s++) {
        const char *section = enso_option_sections[s].name;

        if (strcmp(section, "model") == 0)
            continue;
        enso_buffer_printf(b, "%s[%s]\n", s != 0 ? "\n" : "", section);
        for (size_t i = 0; i < enso_n_options; i++) {
            if (strcmp(enso_options[i].section, section) == 0)
                write_option(&enso_options[i], config, origins[config->origin[i]], b);
        }
    }
    for (size_t m = 0; m < config->n_model_entries; m++) {
        const struct enso_config_model *model = &config->model_entries[m];

        if (model->name == NULL) /* it is in [server] models */
            continue;
        enso_buffer_printf(b, "\n[model %s]\n", model->name);
        for (size_t i = 0; i < enso_n_options; i++) {
            const struct enso_option *o = &enso_options[i];

            if (!enso__option_is_model(o) ||
                (o->type == ENSO_OPTION_STRING &&
                 *(const char *const *)(const void *)((const char *)model + o->offset) == NULL))
                continue;
            write_option(o, model, "", b);
        }
    }
}
