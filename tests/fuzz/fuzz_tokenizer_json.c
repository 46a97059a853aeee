/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as a tokenizer.json. Whatever loads must keep its promises: every id it
 * gives is in the vocabulary and has a piece, offsets lie in the text, also for strange settings.
 */
#include "ensod_build.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char text[] =
    "The <t>  caf\xC3\xA9 [MASK]ab [mask] \xE6\x97\xA5\xE6\x9C\xAC \xCC\xA3\xCC\x81 "
    "unaffable\xE2\x80\x8D!? a\0b \xEF\xAC\x81";

static void check(const struct enso_tokenizer *tok, const struct enso_encoding *e)
{
    for (uint32_t i = 0; i < e->n; i++) {
        size_t end = e->sequence[i] ? 4 : sizeof text - 1;

        if (e->ids[i] < 0 || (uint32_t)e->ids[i] >= enso_tokenizer_size(tok) ||
            enso_tokenizer_piece(tok, e->ids[i], NULL) == NULL || e->offsets[i].start > end ||
            e->offsets[i].end > end)
            abort();
    }
    if (e->n > e->n_untruncated)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct enso_encode_options options = {.add_special_tokens = true,
                                                .want_offsets = true,
                                                .max_length = 40,
                                                .truncate = ENSO_TRUNCATE_RIGHT};
    struct enso_tokenizer *tok;
    struct enso_encoding *e;

    if (enso_tokenizer_load_json((const char *)data, size, "fuzz", &tok, NULL) != ENSO_OK)
        return 0;
    for (int pair = 0; pair < 2; pair++) {
        if (enso_tokenizer_encode(tok, text, sizeof text - 1, pair ? "pair" : NULL, 4, &options, &e,
                                  NULL) != ENSO_OK)
            continue; /* more added tokens than 40 */
        check(tok, e);
        enso_encoding_to_characters(e, text, sizeof text - 1, pair ? "pair" : NULL, 4);
        enso_encoding_destroy(e);
    }
    enso_tokenizer_destroy(tok);
    return 0;
}
