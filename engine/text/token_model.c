/* SPDX-License-Identifier: Apache-2.0
 *
 * The table of tokenizer models by type name, and the guess for files that do not name theirs.
 */
#include "ensod_build.h"

#include <string.h>

#include "engine/text/text_internal.h"

static const struct enso__token_model_type *const types[] = {
    &enso__wordpiece_type,
};

static const char *type_name(size_t i)
{
    return i < ENSO_ARRAY_SIZE(types) ? types[i]->name : NULL;
}

static const char *guess(const json_t *stage)
{
    if (json_object_get(stage, "merges") != NULL)
        return "BPE";
    if (json_is_array(json_object_get(stage, "vocab")))
        return "Unigram";
    if (json_object_get(stage, "max_input_chars_per_word") != NULL ||
        json_object_get(stage, "continuing_subword_prefix") != NULL)
        return "WordPiece";
    return "WordLevel";
}

enum enso_status enso__token_model_find(struct enso__loader *l, const json_t *stage,
                                        const char *path, const struct enso__token_model_type **ret,
                                        struct enso_error *err)
{
    const char *name;

    if (json_is_object(stage) && json_object_get(stage, "type") == NULL)
        name = guess(stage);
    else {
        enum enso_status st = enso__load_type(l, stage, path, &name, err);

        if (st != ENSO_OK)
            return st;
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(types); i++)
        if (strcmp(types[i]->name, name) == 0) {
            *ret = types[i];
            return ENSO_OK;
        }
    return enso__load_unsupported(l, path, "model", name, type_name, err);
}
