/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of architecture families: see architecture.h.
 */
#include "engine/architectures/architecture.h"

#include <string.h>

static const struct enso_architecture *const architectures[] = {
    &enso_architecture_bert,
    &enso_architecture_distilbert,
};

const struct enso_architecture *enso_architecture_find(const char *model_type)
{
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(architectures); i++)
        if (strcmp(architectures[i]->model_type, model_type) == 0)
            return architectures[i];
    return NULL;
}

const char *enso_architecture_list(void)
{
    return "bert, distilbert";
}
