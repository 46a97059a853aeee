/* SPDX-License-Identifier: Apache-2.0
 *
 * tokenize_cli FOLDER: encodes texts as JSON lines, for comparisons with the reference
 * (tests/parity/tokenizers_parity.py). Reads {"text": "...", "pair": "...", "special": true,
 * "max_length": 8, "truncate": "right"} a line (all but text optional) and writes
 * {"ids": [...], "offsets": [[0, 3], ...], "segments": [...], "special": [...]} a line, offsets in
 * characters, or {"error": "..."}.
 *
 * tokenize_cli --speed FOLDER FILE: encodes the file's lines for a second and prints MB/s.
 */
#include "ensod_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "engine/text/tokenizer.h"

static void print_encoding(const struct enso_encoding *e)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;

    enso_buffer_puts(&b, "{\"ids\":[");
    for (uint32_t i = 0; i < e->n; i++)
        enso_buffer_printf(&b, "%s%d", i ? "," : "", (int)e->ids[i]);
    enso_buffer_puts(&b, "],\"offsets\":[");
    for (uint32_t i = 0; i < e->n; i++)
        enso_buffer_printf(&b, "%s[%u,%u]", i ? "," : "", e->offsets[i].start, e->offsets[i].end);
    enso_buffer_puts(&b, "],\"segments\":[");
    for (uint32_t i = 0; i < e->n; i++)
        enso_buffer_printf(&b, "%s%d", i ? "," : "", (int)e->segments[i]);
    enso_buffer_puts(&b, "],\"special\":[");
    for (uint32_t i = 0; i < e->n; i++)
        enso_buffer_printf(&b, "%s%d", i ? "," : "", e->special[i]);
    enso_buffer_puts(&b, "]}");
    puts(b.failed ? "{\"error\":\"out of memory\"}" : b.data);
    enso_buffer_done(&b);
}

static enum enso_status encode_line(const struct enso_tokenizer *tok, const json_t *line,
                                    struct enso_error *err)
{
    struct enso_encode_options options = {.want_offsets = true};
    const char *text, *pair = NULL, *truncate = "none";
    size_t size, pair_size = 0;
    int64_t max_length = 0;
    struct enso_encoding *e;
    enum enso_status st;

    if ((st = enso_json_get_string(line, "", "text", ENSO_JSON_REQUIRED, &text, &size, err)) ||
        (st = enso_json_get_string(line, "", "pair", ENSO_JSON_OPTIONAL, &pair, &pair_size, err)) ||
        (st = enso_json_get_string(line, "", "truncate", ENSO_JSON_OPTIONAL, &truncate, NULL,
                                   err)) ||
        (st = enso_json_get_bool(line, "", "special", ENSO_JSON_OPTIONAL,
                                 &options.add_special_tokens, err)) ||
        (st = enso_json_get_int(line, "", "max_length", ENSO_JSON_OPTIONAL, 0, INT32_MAX,
                                &max_length, err)))
        return st;
    options.max_length = (uint32_t)max_length;
    options.truncate = strcmp(truncate, "right") == 0  ? ENSO_TRUNCATE_RIGHT
                       : strcmp(truncate, "left") == 0 ? ENSO_TRUNCATE_LEFT
                                                       : ENSO_TRUNCATE_NONE;
    st = enso_tokenizer_encode(tok, text, size, pair, pair_size, &options, &e, err);
    if (st != ENSO_OK)
        return st;
    enso_encoding_to_characters(e, text, size, pair, pair_size);
    print_encoding(e);
    enso_encoding_destroy(e);
    return ENSO_OK;
}

static void encode_lines(const struct enso_tokenizer *tok)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;

    while ((n = getline(&line, &capacity, stdin)) >= 0) {
        struct enso_error err = {0};
        json_t *root = NULL;

        if (enso_json_parse(line, (size_t)n, NULL, &root, &err) != ENSO_OK ||
            encode_line(tok, root, &err) != ENSO_OK) {
            struct enso_buffer b = ENSO_BUFFER_INIT;

            enso_buffer_put_json_string(&b, err.message, strlen(err.message));
            printf("{\"error\":%s}\n", b.failed ? "\"\"" : b.data);
            enso_buffer_done(&b);
        }
        json_decref(root);
        fflush(stdout);
    }
    free(line); /* getline's */
}

/* Encode the file line by line, again and again, for a second. */
static int measure(const struct enso_tokenizer *tok, const char *path, bool want_offsets)
{
    const struct enso_encode_options options = {.want_offsets = want_offsets};
    uint64_t start = enso_clock_now_ns(), end = start + ENSO_NS_PER_S, now = start;
    struct enso_error err = {0};
    size_t size, bytes = 0, tokens = 0;
    char *data;

    if (enso_file_read(path, (size_t)1 << 30, &data, &size, &err) != ENSO_OK) {
        fprintf(stderr, "%s\n", err.message);
        return EXIT_FAILURE;
    }
    for (; now < end && size > 0; now = enso_clock_now_ns()) {
        for (size_t i = 0; i < size;) {
            const char *stop = memchr(data + i, '\n', size - i);
            size_t n = stop != NULL ? (size_t)(stop - data) - i : size - i;
            struct enso_encoding *e;

            if (enso_tokenizer_encode(tok, data + i, n, NULL, 0, &options, &e, &err) == ENSO_OK) {
                tokens += e->n;
                enso_encoding_destroy(e);
            }
            i += n + 1;
        }
        bytes += size;
    }
    printf("%s offsets: %.1f MB/s, %.1f million tokens/s\n", want_offsets ? "with" : "without",
           (double)bytes * 1e3 / (double)(now - start),
           (double)tokens * 1e3 / (double)(now - start));
    enso_free(data);
    return EXIT_SUCCESS;
}

int main(int argc, char **argv)
{
    bool speed = argc == 4 && strcmp(argv[1], "--speed") == 0;
    struct enso_tokenizer *tok;
    struct enso_error err = {0};
    int status = EXIT_SUCCESS;

    if (argc != 2 && !speed) {
        fprintf(stderr, "usage: tokenize_cli [--speed] FOLDER [FILE]\n");
        return EXIT_FAILURE;
    }
    if (enso_tokenizer_load(argv[speed ? 2 : 1], &tok, &err) != ENSO_OK) {
        fprintf(stderr, "%s\n", err.message);
        return EXIT_FAILURE;
    }
    if (speed) {
        printf("%zu bytes held\n", enso_tokenizer_bytes(tok));
        status = measure(tok, argv[3], false) | measure(tok, argv[3], true);
    } else
        encode_lines(tok);
    enso_tokenizer_destroy(tok);
    return status;
}
