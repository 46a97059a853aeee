/* SPDX-License-Identifier: Apache-2.0
 *
 * enso classify: POST /v1/classify for texts (several in one request) and pictures (bare, one by
 * one), answers printed in the order of the inputs.
 */
#include <stdio.h>

#include <jansson.h>

#include "base/json.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/inputs.h"
#include "cli/options.h"

static const struct enso_cli_option options[] = {
    {'s', "server", "URL", "Server to ask: http://HOST:PORT, HOST:PORT or unix:PATH."},
    {'m', "model", "ID", "Model to ask; may be left out where only one classifies."},
    {'t', "top", "K", "How many labels to show, the best first (default 5; 0: all)."},
    {'b', "batch", "N", "Most texts in one request (default 32)."},
    {'j', "json", NULL, "One JSON object a line: input, label, score, top."},
    {0}};

static const struct enso_cli_command command = {
    .name = "classify",
    .arguments = "TEXT|FILE|-...",
    .description =
        "Labels and probabilities for texts and pictures. An argument that names a JPEG, PNG or\n"
        "WebP file is a picture; '-' reads texts from standard input, one a line; all else is a\n"
        "text.",
    .options = options,
};

struct classify {
    struct enso_client *client;
    const char *model;
    int64_t top, batch;
    bool json;
    json_t *texts; /* waiting to be sent */
    bool printed;  /* something was */
};

/* --- printing ----------------------------------------------------------------------------------
 */

static void print_json(const char *name, bool picture, json_t *row)
{
    json_t *line = json_pack("{s:s,s:O?,s:O?,s:O?}", picture ? "file" : "input", name, "label",
                             json_object_get(row, "label"), "score", json_object_get(row, "score"),
                             "top", json_object_get(row, "top"));

    if (line != NULL && json_is_true(json_object_get(row, "truncated")))
        (void)json_object_set_new(line, "truncated", json_true()); /* told or not: not vital */
    if (line != NULL)
        (void)json_dumpf(line, stdout,
                         JSON_COMPACT | JSON_REAL_PRECISION(9)); /* enso_cli_finish sees failures */
    (void)fputc('\n', stdout);
    json_decref(line);
}

static const json_t *label_of(const json_t *entry)
{
    return json_object_get(entry, "label");
}

static void print_table(struct classify *c, const char *name, const json_t *row)
{
    const json_t *top = json_object_get(row, "top");
    size_t width = 0;

    if (c->printed)
        (void)fputc('\n', stdout);
    c->printed = true;
    (void)printf("%s%s\n", name,
                 json_is_true(json_object_get(row, "truncated")) ? "  [cut to the model's length]"
                                                                 : "");
    for (size_t i = 0; i < json_array_size(top); i++)
        width = ENSO_MAX(width, json_string_length(label_of(json_array_get(top, i))));
    for (size_t i = 0; i < json_array_size(top); i++) {
        const json_t *entry = json_array_get(top, i);
        const char *label = json_string_value(label_of(entry));

        (void)printf("  %-*s  %.4f\n", (int)ENSO_MIN(width, (size_t)200),
                     label != NULL ? label : "?",
                     json_number_value(json_object_get(entry, "score")));
    }
}

static void print_row(struct classify *c, const char *name, bool picture, json_t *row)
{
    if (c->json)
        print_json(name, picture, row);
    else
        print_table(c, name, row);
}

static enum enso_status rows_of(const json_t *answer, size_t n, json_t **ret,
                                struct enso_error *err)
{
    enum enso_status st = enso_json_get_array(answer, "", "data", ENSO_JSON_REQUIRED, ret, NULL);

    if (st == ENSO_OK && json_array_size(*ret) == n)
        return ENSO_OK;
    return enso_error_set(err, ENSO_UNAVAILABLE,
                          "the server's answer does not have %zu rows of data; is it an ensod?", n);
}

/* --- asking ------------------------------------------------------------------------------------
 */

static enum enso_status send_texts(struct classify *c, struct enso_error *err)
{
    size_t n = json_array_size(c->texts);
    json_t *answer = NULL, *rows = NULL;
    enum enso_status st;

    if (n == 0)
        return ENSO_OK;
    st = enso_client_post(c->client, "/v1/classify",
                          json_pack("{s:s*,s:O,s:I}", "model", c->model, "input", c->texts, "top_k",
                                    (json_int_t)c->top),
                          &answer, err);
    if (st == ENSO_OK)
        st = rows_of(answer, n, &rows, err);
    for (size_t i = 0; st == ENSO_OK && i < n; i++)
        print_row(c, json_string_value(json_array_get(c->texts, i)), false,
                  json_array_get(rows, i));
    json_decref(answer);
    (void)json_array_clear(c->texts);
    return st;
}

static enum enso_status send_picture(struct classify *c, const struct enso_cli_input *input,
                                     struct enso_error *err)
{
    struct enso_buffer path = ENSO_BUFFER_INIT;
    json_t *answer = NULL, *rows = NULL;
    enum enso_status st = ENSO_OK;

    enso_buffer_printf(&path, "/v1/classify?top_k=%lld", (long long)c->top);
    if (c->model != NULL) {
        enso_buffer_puts(&path, "&model=");
        enso_buffer_put_url(&path, c->model, 0);
    }
    if (path.failed)
        st = enso_error_no_memory(err, "the request");
    if (st == ENSO_OK)
        st = enso_client_call(c->client,
                              &(struct enso_client_request){.path = path.data,
                                                            .body = input->picture,
                                                            .body_size = input->size,
                                                            .content_type = input->type},
                              &answer, err);
    enso_buffer_done(&path);
    if (st == ENSO_OK)
        st = rows_of(answer, 1, &rows, err);
    if (st == ENSO_OK)
        print_row(c, input->name, true, json_array_get(rows, 0));
    else
        enso_error_prefix(err, "%.200s: ", input->name);
    json_decref(answer);
    return st;
}

static enum enso_status classify_all(struct classify *c, struct enso_cli_inputs *inputs,
                                     struct enso_error *err)
{
    enum enso_status st = ENSO_OK;
    bool more = true;

    while (st == ENSO_OK && more) {
        struct enso_cli_input input;

        st = enso_cli_inputs_next(inputs, &input, &more, err);
        if (st != ENSO_OK || !more)
            break;
        if (input.picture != NULL) {
            st = send_texts(c, err);
            if (st == ENSO_OK)
                st = send_picture(c, &input, err);
        } else if (json_array_append_new(c->texts, json_string(input.name)) != 0) {
            st = enso_error_no_memory(err, "the request");
        } else if (json_array_size(c->texts) >= (size_t)c->batch) {
            st = send_texts(c, err);
        }
        enso_cli_input_done(&input);
        if (ferror(stdout))
            more = false; /* nobody reads any more */
    }
    return st == ENSO_OK ? send_texts(c, err) : st;
}

static int parse(struct classify *c, struct enso_cli_line *line, const char **server,
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
            c->model = value;
            break;
        case 't':
            st = enso_cli_parse_count("top", value, 0, 1000000, &c->top, err);
            break;
        case 'b':
            st = enso_cli_parse_count("batch", value, 1, 2048, &c->batch, err);
            break;
        case 'j':
            c->json = true;
            break;
        default:
            return key;
        }
    }
    if (st == ENSO_OK && line->n_arguments == 0)
        st = enso_cli_usage(err, "nothing to classify; give a text, a picture's file or '-'");
    return st == ENSO_OK ? ENSO_CLI_KEY_END : ENSO_CLI_KEY_ERROR;
}

int enso_cli_classify(int argc, char *argv[])
{
    struct classify c = {.top = 5, .batch = 32};
    struct enso_error err = {0};
    struct enso_cli_line line;
    struct enso_cli_inputs inputs;
    const char *server = NULL;
    enum enso_status st;
    int key;

    enso_cli_line_init(&line, &command, argc, argv);
    key = parse(&c, &line, &server, &err);
    if (key == ENSO_CLI_KEY_HELP)
        return ENSO_EXIT_OK;
    if (key == ENSO_CLI_KEY_ERROR)
        return enso_cli_fail(command.name, &err);
    st = enso_client_create(server, &c.client, &err);
    if (st == ENSO_OK && (c.texts = json_array()) == NULL)
        st = enso_error_no_memory(&err, "the request");
    enso_cli_inputs_init(&inputs, line.n_arguments, argv, true);
    if (st == ENSO_OK)
        st = classify_all(&c, &inputs, &err);
    enso_cli_inputs_done(&inputs);
    json_decref(c.texts);
    enso_client_destroy(c.client);
    return st == ENSO_OK ? ENSO_EXIT_OK : enso_cli_fail(command.name, &err);
}
