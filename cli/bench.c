/* SPDX-License-Identifier: Apache-2.0
 *
 * enso bench: the command line of the load generator (cli/load.h). What is sent is either said in
 * full (--url, --body, --header; any server) or made for an ensod (--model with --text, --texts or
 * --picture: the model's task chooses the path).
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "base/utf8.h"
#include "cli/cli.h"
#include "cli/client.h"
#include "cli/load.h"
#include "cli/options.h"
#include "cli/report.h"

#define FILE_MAX ((size_t)1 << 30)
#define MOST_HEADERS 64
#define MOST_CONNECTIONS 100000
#define SPARE_FILES 64

enum key {
    KEY_SERVER = 1,
    KEY_MODEL,
    KEY_TEXT,
    KEY_TEXTS,
    KEY_BATCH,
    KEY_PICTURE,
    KEY_URL,
    KEY_BODY,
    KEY_HEADER,
    KEY_METHOD,
    KEY_CONNECTIONS,
    KEY_RATE,
    KEY_ARRIVALS,
    KEY_SEED,
    KEY_DURATION,
    KEY_REQUESTS,
    KEY_WARMUP,
    KEY_TIMEOUT,
    KEY_JSON
};

static const struct enso_cli_option options[] = {
    {KEY_SERVER, "server", "URL", "Server to ask: http://HOST:PORT, HOST:PORT or unix:PATH."},
    {KEY_MODEL, "model", "ID", "Model of an ensod; its task chooses what is asked."},
    {KEY_TEXT, "text", "TEXT", "With --model: the text to send."},
    {KEY_TEXTS, "texts", "FILE", "With --model: texts to send in turn, one a line."},
    {KEY_BATCH, "batch", "N", "With --model: texts in each request (default 1)."},
    {KEY_PICTURE, "picture", "FILE", "With --model: the picture to send."},
    {KEY_URL, "url", "URL", "Any URL, or a path of the --server such as /health."},
    {KEY_BODY, "body", "TEXT|@FILE", "Body for --url (then POST); may be repeated: sent in turn."},
    {KEY_HEADER, "header", "'NAME: VALUE'", "A header more; may be repeated."},
    {KEY_METHOD, "method", "METHOD", "Method for --url (default GET, or POST with a body)."},
    {KEY_CONNECTIONS, "connections", "N",
     "Most requests in flight, each on a connection (default 32; 1000 with --rate)."},
    {KEY_RATE, "rate", "R", "Open loop: R requests a second are due, whatever the server does."},
    {KEY_ARRIVALS, "arrivals", "poisson|fixed", "When they are due with --rate (default poisson)."},
    {KEY_SEED, "seed", "N", "Seed of the random arrivals (default 1)."},
    {KEY_DURATION, "duration", "TIME", "How long to measure (default 10s unless --requests)."},
    {KEY_REQUESTS, "requests", "N", "How many requests to measure."},
    {KEY_WARMUP, "warmup", "TIME", "Time before measuring begins (default 1s)."},
    {KEY_TIMEOUT, "timeout", "TIME", "Longest wait for one answer (default 30s)."},
    {KEY_JSON, "json", NULL, "The report as one JSON object, times in milliseconds."},
    {0}};

static const struct enso_cli_command command = {
    .name = "bench",
    .arguments = "",
    .description =
        "Measure a server: throughput, latency percentiles, a histogram, Server-Timing.\n\n"
        "  enso bench --model intents --text 'Where is my card?'\n"
        "  enso bench --model intents --texts questions.txt --rate 200 --duration 30s\n"
        "  enso bench --url http://127.0.0.1:9000/predict --body @request.json\n\n"
        "Without --rate the loop is closed: each connection sends its next request when the last\n"
        "was answered. With --rate it is open: requests are due at times of their own, and "
        "latency\n"
        "counts from when a request was due, so that a stalled server shows the whole wait.",
    .options = options,
};

struct bench {
    struct enso_load_spec spec;
    struct enso_server_address address;
    const char *server, *model, *text, *texts, *picture, *url;
    int64_t batch, connections;
    bool json, has_duration, has_connections;
    const char **given_bodies; /* of --body; as many as spec.n_bodies */
    struct enso_load_body *bodies;
    const char *headers[MOST_HEADERS + 1];
    struct enso_buffer full_url;
};

static volatile int stop; /* set by SIGINT */

static void on_interrupt(int number)
{
    (void)number;
    stop = 1;
    (void)signal(SIGINT, SIG_DFL); /* a second one ends us at once */
}

/* --- the command line --------------------------------------------------------------------------
 */

static enum enso_status add_body(struct bench *b, const char *value, struct enso_error *err)
{
    void *grown =
        enso_realloc_array(b->given_bodies, b->spec.n_bodies + 1, sizeof *b->given_bodies);

    if (grown == NULL)
        return enso_error_no_memory(err, "the bodies");
    b->given_bodies = grown;
    b->given_bodies[b->spec.n_bodies++] = value;
    return ENSO_OK;
}

static enum enso_status add_header(struct bench *b, const char *value, struct enso_error *err)
{
    if (strchr(value, ':') == NULL || strpbrk(value, "\r\n") != NULL)
        return enso_cli_usage(err, "--header: '%.60s' is not NAME: VALUE", value);
    if (b->spec.n_headers == MOST_HEADERS)
        return enso_cli_usage(err, "--header: at most %d headers", MOST_HEADERS);
    b->headers[b->spec.n_headers++] = value;
    return ENSO_OK;
}

static enum enso_status set_source(struct bench *b, int key, const char *value,
                                   struct enso_error *err)
{
    switch (key) {
    case KEY_SERVER:
        b->server = value;
        return ENSO_OK;
    case KEY_MODEL:
        b->model = value;
        return ENSO_OK;
    case KEY_TEXT:
        b->text = value;
        return ENSO_OK;
    case KEY_TEXTS:
        b->texts = value;
        return ENSO_OK;
    case KEY_BATCH:
        return enso_cli_parse_count("batch", value, 1, 1000000, &b->batch, err);
    case KEY_PICTURE:
        b->picture = value;
        return ENSO_OK;
    case KEY_URL:
        b->url = value;
        return ENSO_OK;
    case KEY_BODY:
        return add_body(b, value, err);
    case KEY_HEADER:
        return add_header(b, value, err);
    default:
        b->spec.method = value;
        return ENSO_OK;
    }
}

static enum enso_status set_pace(struct bench *b, int key, const char *value,
                                 struct enso_error *err)
{
    struct enso_load_spec *spec = &b->spec;
    int64_t n = 0;
    enum enso_status st = ENSO_OK;

    switch (key) {
    case KEY_CONNECTIONS:
        b->has_connections = true;
        return enso_cli_parse_count("connections", value, 1, MOST_CONNECTIONS, &b->connections,
                                    err);
    case KEY_RATE:
        return enso_cli_parse_rate("rate", value, &spec->rate, err);
    case KEY_ARRIVALS:
        spec->poisson = strcmp(value, "poisson") == 0;
        if (!spec->poisson && strcmp(value, "fixed") != 0)
            return enso_cli_usage(err, "--arrivals: '%.60s' is neither poisson nor fixed", value);
        return ENSO_OK;
    case KEY_SEED:
        st = enso_cli_parse_count("seed", value, 0, INT64_MAX, &n, err);
        spec->seed = (uint64_t)n;
        return st;
    case KEY_DURATION:
        b->has_duration = true;
        return enso_cli_parse_seconds("duration", value, &spec->duration_ns, err);
    case KEY_REQUESTS:
        st = enso_cli_parse_count("requests", value, 1, INT64_MAX, &n, err);
        spec->n_requests = (uint64_t)n;
        return st;
    case KEY_WARMUP:
        return enso_cli_parse_seconds("warmup", value, &spec->warmup_ns, err);
    case KEY_TIMEOUT:
        st = enso_cli_parse_seconds("timeout", value, &spec->timeout_ns, err);
        if (st == ENSO_OK && spec->timeout_ns < ENSO_NS_PER_MS)
            st = enso_cli_usage(err, "--timeout: at least 1ms");
        return st;
    default:
        b->json = true;
        return ENSO_OK;
    }
}

static enum enso_status check_line(struct bench *b, const struct enso_cli_line *line,
                                   struct enso_error *err)
{
    int n_sources = (b->text != NULL) + (b->texts != NULL) + (b->picture != NULL);

    if (line->n_arguments != 0)
        return enso_cli_usage(err, "'%.60s' is one argument too many; texts go with --text",
                              line->argv[0]);
    if ((b->url != NULL) == (b->model != NULL))
        return enso_cli_usage(err, "say what to measure: either --url or --model");
    if (b->model != NULL && (n_sources != 1 || b->spec.n_bodies != 0 || b->spec.method != NULL))
        return enso_cli_usage(err, "with --model say what to send by one of --text, --texts and "
                                   "--picture; --body and --method go with --url");
    if (b->url != NULL && n_sources != 0)
        return enso_cli_usage(err, "--text, --texts and --picture go with --model; with --url say "
                                   "--body");
    if (b->has_duration && b->spec.duration_ns == 0)
        return enso_cli_usage(err, "--duration must be above 0");
    if (!b->has_duration && b->spec.n_requests == 0)
        b->spec.duration_ns = 10 * ENSO_NS_PER_S;
    if (!b->has_connections)
        b->connections = b->spec.rate > 0 ? 1000 : 32;
    b->spec.n_connections = (unsigned)b->connections;
    return ENSO_OK;
}

static int parse(struct bench *b, int argc, char *argv[], struct enso_error *err)
{
    struct enso_cli_line line;
    const char *value;
    int key;

    enso_cli_line_init(&line, &command, argc, argv);
    while ((key = enso_cli_line_next(&line, &value, err)) > 0) {
        enum enso_status st =
            key < KEY_CONNECTIONS ? set_source(b, key, value, err) : set_pace(b, key, value, err);

        if (st != ENSO_OK)
            return ENSO_CLI_KEY_ERROR;
    }
    if (key == ENSO_CLI_KEY_END && check_line(b, &line, err) != ENSO_OK)
        return ENSO_CLI_KEY_ERROR;
    return key;
}

/* --- what is sent ------------------------------------------------------------------------------
 */

static enum enso_status new_bodies(struct bench *b, size_t n, struct enso_error *err)
{
    b->bodies = enso_alloc_zero(n, sizeof *b->bodies);
    b->spec.bodies = b->bodies;
    b->spec.n_bodies = b->bodies != NULL ? n : 0;
    return b->bodies != NULL ? ENSO_OK : enso_error_no_memory(err, "the bodies");
}

/* Takes `data` (of enso_alloc). */
static void set_body(struct bench *b, size_t i, char *data, size_t size)
{
    b->bodies[i] = (struct enso_load_body){data, size};
}

static bool has_header(const struct bench *b, const char *name)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < b->spec.n_headers; i++) {
        if (strncasecmp(b->headers[i], name, n) == 0 && b->headers[i][n] == ':')
            return true;
    }
    return false;
}

static const char *type_of(const struct enso_load_body *body)
{
    const char *bytes = body->data;

    if (body->size >= 4 && memcmp(bytes, "\x89PNG", 4) == 0)
        return "Content-Type: image/png";
    if (body->size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0)
        return "Content-Type: image/jpeg";
    if (body->size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0)
        return "Content-Type: image/webp";
    return "Content-Type: application/json";
}

/* --url and --body as they were given. */
static enum enso_status prepare_url(struct bench *b, struct enso_error *err)
{
    size_t n = b->spec.n_bodies;
    enum enso_status st = n != 0 ? new_bodies(b, n, err) : ENSO_OK;

    if (*b->url == '/') {
        enso_buffer_puts(&b->full_url, b->address.url);
    } else if (strstr(b->url, "://") == NULL) {
        return enso_cli_usage(err, "--url: '%.100s' is neither http://... nor a path with '/'",
                              b->url);
    } else {
        enso_free(b->address.unix_path);
        b->address.unix_path = NULL;
    }
    enso_buffer_puts(&b->full_url, b->url);
    for (size_t i = 0; st == ENSO_OK && i < n; i++) {
        const char *given = b->given_bodies[i];
        char *data = NULL;
        size_t size = strlen(given);

        if (given[0] == '@')
            st = enso_file_read(given + 1, FILE_MAX, &data, &size, err);
        else if ((data = enso_strdup(given)) == NULL)
            st = enso_error_no_memory(err, "the bodies");
        if (st == ENSO_OK)
            set_body(b, i, data, size);
    }
    return st;
}

/* The lines of --texts, or --text alone, as a JSON array. */
static enum enso_status read_texts(struct bench *b, json_t *list, struct enso_error *err)
{
    ENSO_AUTO_FREE char *text = NULL;
    size_t size, line = 1;
    enum enso_status st = ENSO_OK;

    if (b->text != NULL)
        return json_array_append_new(list, json_string(b->text)) == 0
                   ? ENSO_OK
                   : enso_cli_usage(err, "--text is not UTF-8");
    st = enso_file_read(b->texts, FILE_MAX, &text, &size, err);
    if (st != ENSO_OK)
        return st;
    for (char *at = text, *end; at < text + size; at = end + 1, line++) {
        size_t n = strcspn(at, "\n");

        end = at + n;
        n -= n > 0 && at[n - 1] == '\r';
        if (n == 0)
            continue;
        if (!enso_utf8_valid(at, n, NULL))
            return enso_error_set(err, ENSO_INVALID, "%.200s:%zu: not UTF-8", b->texts, line);
        if (json_array_append_new(list, json_stringn(at, n)) != 0)
            return enso_error_no_memory(err, "the texts");
    }
    if (json_array_size(list) != 0)
        return ENSO_OK;
    return enso_error_set(err, ENSO_INVALID, "%.200s holds no texts", b->texts);
}

/* Requests of `batch` texts each, so many that every text is sent as often as any other. */
static enum enso_status make_text_bodies(struct bench *b, const json_t *texts,
                                         struct enso_error *err)
{
    size_t n = json_array_size(texts), batch = (size_t)b->batch;
    size_t n_bodies = batch == 1 ? n : (n + batch - 1) / batch, at = 0;
    enum enso_status st = new_bodies(b, n_bodies, err);

    for (size_t i = 0; st == ENSO_OK && i < n_bodies; i++) {
        json_t *input = json_array(), *body;
        char *data;

        for (size_t k = 0; input != NULL && k < batch; k++)
            (void)json_array_append(input, json_array_get(texts, at++ % n)); /* seen below */
        if (input != NULL && json_array_size(input) != batch) {
            json_decref(input);
            input = NULL;
        }
        body = json_pack("{s:s,s:O}", "model", b->model, "input",
                         batch == 1 && input != NULL ? json_array_get(input, 0) : input);
        data = body != NULL ? json_dumps(body, JSON_COMPACT) : NULL;
        json_decref(input);
        json_decref(body);
        if (data == NULL)
            st = enso_error_no_memory(err, "the requests");
        else
            set_body(b, i, data, strlen(data));
    }
    return st;
}

static enum enso_status make_picture_body(struct bench *b, struct enso_error *err)
{
    char *data;
    size_t size;
    enum enso_status st = enso_file_read(b->picture, FILE_MAX, &data, &size, err);

    if (st != ENSO_OK)
        return st;
    enso_buffer_puts(&b->full_url, "/v1/classify?model=");
    enso_buffer_put_url(&b->full_url, b->model, 0);
    st = new_bodies(b, 1, err);
    if (st == ENSO_OK)
        set_body(b, 0, data, size);
    else
        enso_free(data);
    return st;
}

/* The model's task, asked of the server, chooses the path. */
static enum enso_status choose_path(struct bench *b, struct enso_error *err)
{
    struct enso_buffer path = ENSO_BUFFER_INIT;
    struct enso_client *client = NULL;
    json_t *facts = NULL;
    const char *task = "";
    enum enso_status st = enso_client_create(b->server, &client, err);

    enso_buffer_puts(&path, "/v1/models/");
    enso_buffer_put_url(&path, b->model, 1);
    if (st == ENSO_OK && path.failed)
        st = enso_error_no_memory(err, "the request");
    if (st == ENSO_OK)
        st =
            enso_client_call(client, &(struct enso_client_request){.path = path.data}, &facts, err);
    if (st == ENSO_OK)
        st = enso_json_get_string(facts, "", "task", ENSO_JSON_OPTIONAL, &task, NULL, err);
    if (st == ENSO_OK && strcmp(task, "text-classification") == 0)
        enso_buffer_puts(&b->full_url, "/v1/classify");
    else if (st == ENSO_OK && strcmp(task, "feature-extraction") == 0)
        enso_buffer_puts(&b->full_url, "/v1/embeddings");
    else if (st == ENSO_OK)
        st = enso_error_set(err, ENSO_INVALID,
                            "model '%.100s' has the task '%.60s', which takes no texts; use "
                            "--picture, or --url with --body",
                            b->model, task);
    json_decref(facts);
    enso_client_destroy(client);
    enso_buffer_done(&path);
    return st;
}

static enum enso_status prepare_model(struct bench *b, struct enso_error *err)
{
    json_t *texts;
    enum enso_status st;

    enso_buffer_puts(&b->full_url, b->address.url);
    if (b->picture != NULL)
        return make_picture_body(b, err);
    texts = json_array();
    st = texts != NULL ? read_texts(b, texts, err) : enso_error_no_memory(err, "the texts");
    if (st == ENSO_OK)
        st = choose_path(b, err);
    if (st == ENSO_OK)
        st = make_text_bodies(b, texts, err);
    json_decref(texts);
    return st;
}

/* As many descriptors as connections need. */
static enum enso_status raise_file_limit(unsigned n_connections, struct enso_error *err)
{
    struct rlimit limit;
    rlim_t need = n_connections + SPARE_FILES;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
        return ENSO_OK;
    limit.rlim_cur = limit.rlim_max == RLIM_INFINITY ? need : ENSO_MIN(need, limit.rlim_max);
    if (limit.rlim_cur == need && setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return ENSO_OK;
    return enso_error_set(err, ENSO_IO,
                          "%u connections need %llu open files, but only %llu are allowed here; "
                          "raise the limit (ulimit -Hn) or take fewer",
                          n_connections, (unsigned long long)need,
                          (unsigned long long)limit.rlim_max);
}

static enum enso_status prepare(struct bench *b, struct enso_error *err)
{
    enum enso_status st = enso_server_address_init(&b->address, b->server, err);

    if (st == ENSO_OK)
        st = raise_file_limit(b->spec.n_connections, err);
    if (st == ENSO_OK)
        st = b->url != NULL ? prepare_url(b, err) : prepare_model(b, err);
    if (st == ENSO_OK && b->full_url.failed)
        st = enso_error_no_memory(err, "the URL");
    if (st != ENSO_OK)
        return st;
    if (b->spec.n_bodies != 0 && !has_header(b, "Content-Type"))
        b->headers[b->spec.n_headers++] = type_of(&b->bodies[0]);
    b->spec.url = b->full_url.data;
    b->spec.unix_path = b->address.unix_path;
    b->spec.headers = b->headers;
    b->spec.stop = &stop;
    return ENSO_OK;
}

static void done(struct bench *b)
{
    for (size_t i = 0; b->bodies != NULL && i < b->spec.n_bodies; i++)
        enso_free((void *)b->bodies[i].data);
    enso_free(b->bodies);
    enso_free(b->given_bodies);
    enso_buffer_done(&b->full_url);
    enso_server_address_done(&b->address);
}

static enum enso_status run(struct bench *b, uint64_t *ret_n_ok, struct enso_error *err)
{
    struct enso_load_result *result = enso_alloc_zero(1, sizeof *result);
    struct enso_buffer report = ENSO_BUFFER_INIT, title = ENSO_BUFFER_INIT;
    enum enso_status st;

    if (result == NULL)
        return enso_error_no_memory(err, "the results");
    (void)signal(SIGINT, on_interrupt);
    st = enso_load_run(&b->spec, result, err);
    (void)signal(SIGINT, SIG_DFL);
    if (b->spec.unix_path != NULL)
        enso_buffer_printf(&title, "unix:%s ", b->spec.unix_path);
    enso_buffer_puts(&title, b->spec.url);
    if (st == ENSO_OK && !title.failed)
        (b->json ? enso_report_write_json : enso_report_write_text)(&b->spec, result, title.data,
                                                                    &report);
    if (st == ENSO_OK && (title.failed || report.failed))
        st = enso_error_no_memory(err, "the report");
    if (st == ENSO_OK)
        (void)fwrite(report.data, 1, report.size, stdout); /* enso_cli_finish sees failures */
    *ret_n_ok = result->n_ok;
    enso_buffer_done(&report);
    enso_buffer_done(&title);
    enso_load_result_done(result);
    enso_free(result);
    return st;
}

int enso_cli_bench(int argc, char *argv[])
{
    struct bench b = {.batch = 1,
                      .spec = {.poisson = true,
                               .seed = 1,
                               .warmup_ns = ENSO_NS_PER_S,
                               .timeout_ns = 30 * ENSO_NS_PER_S}};
    struct enso_error err = {0};
    uint64_t n_ok = 0;
    int key = parse(&b, argc, argv, &err), status = ENSO_EXIT_OK;

    if (key == ENSO_CLI_KEY_ERROR ||
        (key == ENSO_CLI_KEY_END &&
         (prepare(&b, &err) != ENSO_OK || run(&b, &n_ok, &err) != ENSO_OK))) {
        status = enso_cli_fail(command.name, &err);
    } else if (key == ENSO_CLI_KEY_END && n_ok == 0) {
        (void)fputs("enso bench: not one request was answered with success\n", stderr);
        status = ENSO_EXIT_FAILURE;
    }
    done(&b);
    return status;
}
