/* SPDX-License-Identifier: Apache-2.0
 *
 * enso models and enso health: what a server says about itself.
 */
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "base/json.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/options.h"

static const struct enso_cli_option models_options[] = {
    {'s', "server", "URL", "Server to ask: http://HOST:PORT, HOST:PORT or unix:PATH."},
    {'j', "json", NULL, "The server's answer as it is."},
    {0}};

static const struct enso_cli_command models_command = {
    .name = "models",
    .arguments = "",
    .description = "What the server serves: id, task, state, device, memory of the weights. A "
                   "model that\ncould not be loaded is listed with its error.",
    .options = models_options,
};

static const struct enso_cli_command health_command = {
    .name = "health",
    .arguments = "",
    .description = "Is the server alive (/health), is it ready (/ready)? Exit status 0 when both.",
    .options = models_options,
};

struct question {
    const char *server;
    bool json;
};

/* One of the keys of ENSO_CLI_KEY_*; arguments are refused. */
static int parse(const struct enso_cli_command *command, int argc, char *argv[],
                 struct question *ret, struct enso_error *err)
{
    struct enso_cli_line line;
    const char *value;
    int key;

    enso_cli_line_init(&line, command, argc, argv);
    while ((key = enso_cli_line_next(&line, &value, err)) > 0) {
        if (key == 's')
            ret->server = value;
        else
            ret->json = true;
    }
    if (key == ENSO_CLI_KEY_END && line.n_arguments != 0) {
        (void)enso_cli_usage(err, "'%.60s' is one argument too many", argv[0]);
        return ENSO_CLI_KEY_ERROR;
    }
    return key;
}

/* --- models ------------------------------------------------------------------------------------
 */

enum { N_COLUMNS = 5 };

struct row {
    char cells[N_COLUMNS][128];
};

static void copy_cell(char cell[128], const json_t *value)
{
    const char *text = json_string_value(value);

    (void)snprintf(cell, 128, "%s", text != NULL ? text : "-"); /* cut */
}

static void fill_row(struct row *row, const json_t *model)
{
    static const char *const keys[] = {"id", "task", "state", "device"};
    const json_t *bytes = json_object_get(model, "weight_bytes");

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(keys); i++)
        copy_cell(row->cells[i], json_object_get(model, keys[i]));
    copy_cell(row->cells[4], NULL);
    if (json_is_integer(bytes)) {
        double mib = (double)json_integer_value(bytes) / (1 << 20);

        (void)snprintf(row->cells[4], sizeof row->cells[4], "%.1f MiB", mib); /* fits */
    }
}

static void print_rows(const struct row *rows, size_t n)
{
    size_t width[N_COLUMNS] = {0};

    for (size_t r = 0; r < n; r++) {
        for (size_t c = 0; c < N_COLUMNS; c++)
            width[c] = ENSO_MAX(width[c], strlen(rows[r].cells[c]));
    }
    for (size_t r = 0; r < n; r++) {
        for (size_t c = 0; c + 1 < N_COLUMNS; c++)
            (void)printf("%-*s  ", (int)width[c], rows[r].cells[c]);
        (void)printf("%*s\n", (int)width[N_COLUMNS - 1], rows[r].cells[N_COLUMNS - 1]);
    }
}

static enum enso_status print_models(const json_t *answer, struct enso_error *err)
{
    json_t *models = NULL;
    struct row *rows;
    size_t n;
    enum enso_status st =
        enso_json_get_array(answer, "", "data", ENSO_JSON_REQUIRED, &models, NULL);

    if (st != ENSO_OK)
        return enso_error_set(err, ENSO_UNAVAILABLE,
                              "the server's answer lists no models; is it an ensod?");
    n = json_array_size(models);
    rows = enso_alloc_zero(n + 1, sizeof *rows);
    if (rows == NULL)
        return enso_error_no_memory(err, "the table");
    rows[0] = (struct row){{"ID", "TASK", "STATE", "DEVICE", "BYTES"}};
    for (size_t i = 0; i < n; i++)
        fill_row(&rows[i + 1], json_array_get(models, i));
    print_rows(rows, n + 1);
    enso_free(rows);
    for (size_t i = 0; i < n; i++) {
        const json_t *model = json_array_get(models, i);
        const char *error = json_string_value(json_object_get(model, "error"));
        const char *id = json_string_value(json_object_get(model, "id"));

        if (error != NULL)
            (void)printf("%s: %s\n", id != NULL ? id : "?", error);
    }
    return ENSO_OK;
}

int enso_cli_models(int argc, char *argv[])
{
    struct enso_error err = {0};
    struct question question = {0};
    struct enso_client *client = NULL;
    json_t *answer = NULL;
    int key = parse(&models_command, argc, argv, &question, &err);
    enum enso_status st;

    if (key == ENSO_CLI_KEY_HELP)
        return ENSO_EXIT_OK;
    if (key == ENSO_CLI_KEY_ERROR)
        return enso_cli_fail("models", &err);
    st = enso_client_create(question.server, &client, &err);
    if (st == ENSO_OK)
        st = enso_client_call(client, &(struct enso_client_request){.path = "/v1/models"}, &answer,
                              &err);
    if (st == ENSO_OK && question.json) {
        (void)json_dumpf(answer, stdout,
                         JSON_INDENT(2) |
                             JSON_REAL_PRECISION(15)); /* enso_cli_finish sees failures */
        (void)fputc('\n', stdout);
    } else if (st == ENSO_OK) {
        st = print_models(answer, &err);
    }
    json_decref(answer);
    enso_client_destroy(client);
    return st == ENSO_OK ? ENSO_EXIT_OK : enso_cli_fail("models", &err);
}

/* --- health ------------------------------------------------------------------------------------
 */

static void print_health(const struct question *question, long alive, long ready,
                         const json_t *facts)
{
    const json_t *models = json_object_get(facts, "models");

    if (question->json) {
        json_t *line = json_pack("{s:b,s:b,s:O?}", "alive", alive == 200, "ready", ready == 200,
                                 "models", models);

        if (line != NULL)
            (void)json_dumpf(line, stdout, JSON_COMPACT); /* enso_cli_finish sees failures */
        (void)fputc('\n', stdout);
        json_decref(line);
        return;
    }
    (void)printf("alive: %s\nready: %s", alive == 200 ? "yes" : "no", ready == 200 ? "yes" : "no");
    if (json_is_object(models))
        (void)printf(" (models: %lld ready, %lld loading, %lld failed%s)",
                     json_integer_value(json_object_get(models, "ready")),
                     json_integer_value(json_object_get(models, "loading")),
                     json_integer_value(json_object_get(models, "failed")),
                     json_is_true(json_object_get(facts, "draining")) ? "; draining" : "");
    (void)fputc('\n', stdout);
}

int enso_cli_health(int argc, char *argv[])
{
    struct enso_error err = {0};
    struct question question = {0};
    struct enso_client *client = NULL;
    struct enso_buffer body = ENSO_BUFFER_INIT;
    json_t *facts = NULL;
    long alive = 0, ready = 0;
    int key = parse(&health_command, argc, argv, &question, &err);
    enum enso_status st;

    if (key == ENSO_CLI_KEY_HELP)
        return ENSO_EXIT_OK;
    if (key == ENSO_CLI_KEY_ERROR)
        return enso_cli_fail("health", &err);
    st = enso_client_create(question.server, &client, &err);
    if (st == ENSO_OK)
        st = enso_client_fetch(client, &(struct enso_client_request){.path = "/health"}, &alive,
                               &body, &err);
    if (st == ENSO_OK)
        st = enso_client_fetch(client, &(struct enso_client_request){.path = "/ready"}, &ready,
                               &body, &err);
    if (st == ENSO_OK) {
        /* without facts the two answers still stand */
        (void)enso_json_parse(body.data != NULL ? body.data : "", body.size, NULL, &facts, NULL);
        print_health(&question, alive, ready, facts);
    }
    json_decref(facts);
    enso_buffer_done(&body);
    enso_client_destroy(client);
    if (st != ENSO_OK)
        return enso_cli_fail("health", &err);
    return alive == 200 && ready == 200 ? ENSO_EXIT_OK : ENSO_EXIT_FAILURE;
}
