/* SPDX-License-Identifier: Apache-2.0
 *
 * enso embed: POST /v1/embeddings for texts, vectors printed one a line in the order of the inputs.
 */
#include <stdio.h>

#include <jansson.h>

#include "base/json.h"
#include "base/number.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/inputs.h"
#include "cli/options.h"

static const struct enso_cli_option options[] = {
    {'s', "server", "URL", "Server to ask: http://HOST:PORT, HOST:PORT or unix:PATH."},
    {'m', "model", "ID", "Model to ask; may be left out where only one embeds."},
    {'d', "dimensions", "N", "Only the first N numbers of each vector, of length 1 again."},
    {'b', "batch", "N", "Most texts in one request (default 32)."},
    {'j', "json", NULL, "One JSON object a line: input, embedding."},
    {'6', "base64", NULL, "Vectors as base64 of little-endian float32."},
    {0}};

static const struct enso_cli_command command = {
    .name = "embed",
    .arguments = "TEXT|-...",
    .description =
        "Vectors for texts, one a line, numbers with blanks between. '-' reads texts from\n"
        "standard input, one a line.",
    .options = options,
};

struct embed {
    struct enso_client *client;
    const char *model;
    int64_t dimensions, batch;
    bool json, base64;
    json_t *texts; /* waiting to be sent */
};

static void print_vector(struct embed *e, json_t *text, json_t *vector)
{
    json_t *line;

    if (e->json) {
        line = json_pack("{s:O,s:O}", "input", text, "embedding", vector);
        if (line != NULL)
            (void)json_dumpf(line, stdout,
                             JSON_COMPACT |
                                 JSON_REAL_PRECISION(9)); /* enso_cli_finish sees failures */
        json_decref(line);
    } else if (json_is_string(vector)) {
        (void)fputs(json_string_value(vector), stdout);
    } else {
        for (size_t i = 0; i < json_array_size(vector); i++) {
            char digits[ENSO_NUMBER_F32_SIZE];

            (void)enso_number_write_f32((float)json_number_value(json_array_get(vector, i)),
                                        digits);
            (void)printf(i != 0 ? " %s" : "%s", digits);
        }
    }
    (void)fputc('\n', stdout);
}

static enum enso_status send_texts(struct embed *e, struct enso_error *err)
{
    size_t n = json_array_size(e->texts);
    json_t *body, *answer = NULL, *rows = NULL;
    enum enso_status st;

    if (n == 0)
        return ENSO_OK;
    body = json_pack("{s:s*,s:O,s:s,s:o*}", "model", e->model, "input", e->texts, "encoding_format",
                     e->base64 ? "base64" : "float", "dimensions",
                     e->dimensions != 0 ? json_integer(e->dimensions) : NULL);
    st = enso_client_post(e->client, "/v1/embeddings", body, &answer, err);
    if (st == ENSO_OK)
        (void)enso_json_get_array(answer, "", "data", ENSO_JSON_OPTIONAL, &rows, NULL);
    if (st == ENSO_OK && json_array_size(rows) != n)
        st = enso_error_set(err, ENSO_UNAVAILABLE,
                            "the server's answer does not have %zu vectors; is it an ensod?", n);
    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        print_vector(e, json_array_get(e->texts, i),
                     json_object_get(json_array_get(rows, i), "embedding"));
    json_decref(answer);
    (void)json_array_clear(e->texts);
    return st;
}

static enum enso_status embed_all(struct embed *e, struct enso_cli_inputs *inputs,
                                  struct enso_error *err)
{
    for (;;) {
        struct enso_cli_input input;
        bool more;
        enum enso_status st = enso_cli_inputs_next(inputs, &input, &more, err);

        if (st == ENSO_OK && !more)
            return send_texts(e, err);
        if (st == ENSO_OK && json_array_append_new(e->texts, json_string(input.name)) != 0)
            st = enso_error_no_memory(err, "the request");
        if (st == ENSO_OK && json_array_size(e->texts) >= (size_t)e->batch)
            st = send_texts(e, err);
        if (st != ENSO_OK || ferror(stdout))
            return st;
    }
}

static int parse(struct embed *e, struct enso_cli_line *line, const char **server,
                 struct enso_error *err)
{
    const char *value;
    int key;
    enum enso_status st = ENSO_OK;

    while (st == ENSO_OK && (key = enso_cli_line_next(line, &value, err)) != ENSO_CLI_KEY_END) {
        switch (key) {
        case 's':
            *server = value;
            break;
        case 'm':
            e->model = value;
            break;
        case 'd':
            st = enso_cli_parse_count("dimensions", value, 1, 1000000, &e->dimensions, err);
            break;
        case 'b':
            st = enso_cli_parse_count("batch", value, 1, 2048, &e->batch, err);
            break;
        case 'j':
            e->json = true;
            break;
        case '6':
            e->base64 = true;
            break;
        default:
            return key;
        }
    }
    if (st == ENSO_OK && line->n_arguments == 0)
        st = enso_cli_usage(err, "nothing to embed; give a text or '-'");
    return st == ENSO_OK ? ENSO_CLI_KEY_END : ENSO_CLI_KEY_ERROR;
}

int enso_cli_embed(int argc, char *argv[])
{
    struct embed e = {.batch = 32};
    struct enso_error err = {0};
    struct enso_cli_line line;
    struct enso_cli_inputs inputs;
    const char *server = NULL;
    enum enso_status st;
    int key;

    enso_cli_line_init(&line, &command, argc, argv);
    key = parse(&e, &line, &server, &err);
    if (key == ENSO_CLI_KEY_HELP)
        return ENSO_EXIT_OK;
    if (key == ENSO_CLI_KEY_ERROR)
        return enso_cli_fail(command.name, &err);
    st = enso_client_create(server, &e.client, &err);
    if (st == ENSO_OK && (e.texts = json_array()) == NULL)
        st = enso_error_no_memory(&err, "the request");
    enso_cli_inputs_init(&inputs, line.n_arguments, argv, false);
    if (st == ENSO_OK)
        st = embed_all(&e, &inputs, &err);
    enso_cli_inputs_done(&inputs);
    json_decref(e.texts);
    enso_client_destroy(e.client);
    return st == ENSO_OK ? ENSO_EXIT_OK : enso_cli_fail(command.name, &err);
}
