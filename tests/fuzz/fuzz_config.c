/* SPDX-License-Identifier: Apache-2.0
 *
 * Configuration files: whatever the bytes, an answer with a sentence; what is accepted, written out
 * again, is accepted again and is the same.
 */
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "config/config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void changed(const char *section, const char *key, bool is_reloadable, const char *old_value,
                    const char *new_value, void *context)
{
    (void)section;
    (void)key;
    (void)is_reloadable;
    (void)old_value;
    (void)new_value;
    (void)context;
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct enso_config config, again;
    struct enso_error err = {0};
    struct enso_buffer b = ENSO_BUFFER_INIT;

    if (enso_config_load_text("fuzz", (const char *)data, size, &config, &err) != ENSO_OK) {
        if (err.message[0] == '\0')
            abort();
        return 0;
    }
    enso_config_write(&config, &b);
    if (b.failed || enso_config_load_text("again", b.data, b.size, &again, &err) != ENSO_OK ||
        again.n_model_entries != config.n_model_entries ||
        enso_config_compare(&config, &again, changed, NULL, &err) != ENSO_OK)
        abort();
    enso_buffer_done(&b);
    enso_config_done(&again);
    enso_config_done(&config);
    return 0;
}
