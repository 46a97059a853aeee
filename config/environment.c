/* SPDX-License-Identifier: Apache-2.0
 *
 * The environment into a loader.
 */
#include "config/loader.h"

#include <string.h>

const char *enso__environment_find(char *const envp[], const char *name)
{
    size_t n = strlen(name);

    for (; envp != NULL && *envp != NULL; envp++) {
        if (strncmp(*envp, name, n) == 0 && (*envp)[n] == '=')
            return *envp + n + 1;
    }
    return NULL;
}

enum enso_status enso__loader_read_environment(struct enso__loader *l, char *const envp[],
                                               struct enso_error *err)
{
    for (size_t i = 0; i < enso_n_options; i++) {
        const struct enso_option *o = &enso_options[i];
        const char *value =
            o->environment != NULL ? enso__environment_find(envp, o->environment) : NULL;

        if (value == NULL)
            continue;

        enum enso_status st =
            enso__loader_set(l, o, value, false, ENSO_CONFIG_FROM_ENVIRONMENT, err);

        if (st != ENSO_OK) {
            enso_error_prefix(err, "environment variable %s: ", o->environment);
            return st;
        }
    }
    return ENSO_OK;
}
