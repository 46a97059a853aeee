/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as texts for a tokenizer with all kinds of stages. The first byte picks a
 * tokenizer and options; what follows is the text, after a 0xFF byte the pair. Ids must be in the
 * vocabulary, offsets in order and in the text at the edges of characters.
 */
#include "ensod_build.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "engine/text/tokenizer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MODEL                                                                                      \
    "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"max_input_chars_per_word\":12,"   \
    "\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"a\":3,\"##a\":4,\"e\":5,\"##e\":6,\"ab\":7," \
    "\"##ab\":8,\"\\u00e9\":9,\"\\u4e2d\":10,\"##\\u0301\":11,\"f\":12,\"##i\":13,\"!\":14}},"     \
    "\"added_tokens\":[{\"id\":1,\"content\":\"[CLS]\",\"special\":true},"                         \
    "{\"id\":15,\"content\":\"<x>\",\"lstrip\":true,\"rstrip\":true,\"normalized\":false},"        \
    "{\"id\":16,\"content\":\"A e\",\"single_word\":true}],"                                       \
    "\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",1],\"sep\":[\"[SEP]\",2]}" \
    ","
#define ALL(list) "{\"type\":\"Sequence\"," list "}"

static const char *const tokenizers[] = {
    "{" MODEL "\"normalizer\":{\"type\":\"BertNormalizer\"},"
    "\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}}",
    "{" MODEL "\"normalizer\":{\"type\":\"BertNormalizer\",\"strip_accents\":false},"
    "\"pre_tokenizer\":{\"type\":\"WhitespaceSplit\"}}",
    "{" MODEL
    "\"normalizer\":" ALL("\"normalizers\":[{\"type\":\"Strip\"},{\"type\":\"NFKC\"},{\"type\":"
                          "\"Replace\","
                          "\"pattern\":{\"String\":\"e\"},\"content\":\"ab\"},{\"type\":"
                          "\"Lowercase\"}]") ","
                                             "\"pre_tokenizer\":{\"type\":\"Whitespace\"}}",
    "{" MODEL "\"normalizer\":" ALL(
        "\"normalizers\":[{\"type\":\"NFKD\"},{\"type\":\"StripAccents\"},{\"type\":\"Prepend\","
        "\"prepend\":\"a\"},{\"type\":\"NFC\"}]") "}",
};
#define N_TOKENIZERS (sizeof tokenizers / sizeof tokenizers[0])

static bool at_edge(const char *text, size_t size, size_t at)
{
    return at <= size && (at == size || ((unsigned char)text[at] & 0xC0) != 0x80);
}

static void check(const struct enso_tokenizer *tok, const struct enso_encoding *e, const char *text,
                  size_t size, const char *pair, size_t pair_size)
{
    for (uint32_t i = 0; i < e->n; i++) {
        const char *own = e->sequence[i] ? pair : text;
        size_t own_size = e->sequence[i] ? pair_size : size;

        if (enso_tokenizer_piece(tok, e->ids[i], NULL) == NULL ||
            !at_edge(own, own_size, e->offsets[i].start) ||
            !at_edge(own, own_size, e->offsets[i].end))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct enso_tokenizer *loaded[N_TOKENIZERS];
    struct enso_encode_options options = {.want_offsets = true};
    const char *text, *pair;
    size_t text_size, pair_size = 0;
    const struct enso_tokenizer *tok;
    struct enso_encoding *e;

    if (size == 0)
        return 0;
    if (loaded[data[0] % N_TOKENIZERS] == NULL &&
        enso_tokenizer_load_json(tokenizers[data[0] % N_TOKENIZERS],
                                 strlen(tokenizers[data[0] % N_TOKENIZERS]), "fuzz",
                                 &loaded[data[0] % N_TOKENIZERS], NULL) != ENSO_OK)
        abort();
    tok = loaded[data[0] % N_TOKENIZERS];
    options.add_special_tokens = data[0] & 0x10;
    options.max_length = data[0] & 0x20 ? 7 : 0;
    options.truncate = data[0] & 0x40 ? ENSO_TRUNCATE_LEFT : ENSO_TRUNCATE_RIGHT;
    text = (const char *)data + 1;
    text_size = size - 1;
    pair = memchr(text, 0xFF, text_size); /* in no UTF-8 */
    if (pair != NULL) {
        pair_size = text_size - (size_t)(++pair - text);
        text_size = (size_t)(pair - 1 - text);
    }
    if (enso_tokenizer_encode(tok, text, text_size, pair, pair_size, &options, &e, NULL) !=
        ENSO_OK) {
        if (enso_utf8_valid(text, text_size, NULL) &&
            (pair == NULL || enso_utf8_valid(pair, pair_size, NULL)))
            abort(); /* nothing else can be wrong */
        return 0;
    }
    check(tok, e, text, text_size, pair, pair_size);
    enso_encoding_to_characters(e, text, text_size, pair, pair_size);
    enso_encoding_destroy(e);
    return 0;
}
