/* SPDX-License-Identifier: Apache-2.0
 *
 * Stand-ins for what dialects are between: see fake.h.
 */
#include "tests/server/fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/text/tokenizer.h"
#include "server/dialect.h"
#include "server/lost.h"
#include "server/registry.h"

/* Outside Check too (fuzzers): the process ends. */
static void must(bool condition, const char *what)
{
    if (condition)
        return;
    (void)fprintf(stderr, "fake: %s\n", what); /* we end anyway */
    abort();
}

/* --- models ---------------------------------------------------------------------------------- */

struct enso_model {
    struct enso_model_info info;
};

static const char *const three[] = {"yes", "no", "say \"maybe\""};
static const char *const seven[] = {"shirt", "shoe", "bag", "hat", "coat", "belt", "sock"};
static const struct enso_tensor_info pixels[] = {{"pixels", ENSO_DTYPE_F32, 3, {-1, 2, 2}}};
static const struct enso_tensor_info logits[] = {{"logits", ENSO_DTYPE_F32, 2, {-1, 7}}};
static const struct enso_tensor_info graph_in[] = {{"x", ENSO_DTYPE_F32, 2, {-1, 2}},
                                                   {"n", ENSO_DTYPE_I64, 1, {-1}},
                                                   {"flag", ENSO_DTYPE_BOOL, 1, {1}}};
static const struct enso_tensor_info graph_out[] = {{"y", ENSO_DTYPE_F32, 2, {-1, 2}},
                                                    {"z", ENSO_DTYPE_I32, 1, {-1}},
                                                    {"h", ENSO_DTYPE_F16, 1, {2}}};

#define TEXT .format = "safetensors", .takes_text = true, .max_tokens = 16, .batched = true
static struct enso_model models[] = {
    {{TEXT, .id = "intents", .task = ENSO_TASK_TEXT_CLASSIFICATION, .n_labels = 3,
      .labels = three}},
    {{TEXT, .id = "tags", .task = ENSO_TASK_TEXT_CLASSIFICATION, .n_labels = 2, .labels = three,
      .multi_label = true}},
    {{TEXT, .id = "bert", .task = ENSO_TASK_EMBEDDING, .dimensions = 4, .pooling = "mean"}},
    {{TEXT, .id = "minilm", .task = ENSO_TASK_EMBEDDING, .dimensions = 4, .pooling = "mean",
      .pooling_given = true, .normalized = true}},
    {{.id = "fashion",
      .format = "onnx",
      .task = ENSO_TASK_IMAGE_CLASSIFICATION,
      .takes_images = true,
      .image_height = 2,
      .image_width = 2,
      .image_channels = 1,
      .n_labels = 7,
      .labels = seven,
      .inputs = pixels,
      .n_inputs = 1,
      .outputs = logits,
      .n_outputs = 1,
      .batched = true}},
    {{.id = "graph",
      .format = "onnx",
      .task = ENSO_TASK_TENSORS,
      .inputs = graph_in,
      .n_inputs = 3,
      .outputs = graph_out,
      .n_outputs = 3,
      .batched = true}},
    {{.id = "one",
      .format = "onnx",
      .task = ENSO_TASK_TENSORS,
      .inputs = graph_in,
      .n_inputs = 1,
      .outputs = graph_out,
      .n_outputs = 1,
      .batched = true}},
};
#define N_MODELS ENSO_ARRAY_SIZE(models)

static struct enso_tokenizer *tokenizer;

const struct enso_model_info *enso_model_info(const struct enso_model *model)
{
    return &model->info;
}

const struct enso_tokenizer *enso_model_tokenizer(const struct enso_model *model)
{
    return model->info.takes_text ? tokenizer : NULL;
}

const char *enso_task_name(enum enso_task task)
{
    static const char *const names[] = {"text-classification", "image-classification",
                                        "feature-extraction", "tensors"};

    return names[task];
}

void fake_load_tokenizer(void)
{
    static const char json[] =
        "{\"version\":\"1.0\",\"added_tokens\":["
        "{\"id\":1,\"content\":\"[CLS]\",\"special\":true,\"single_word\":false,\"lstrip\":false,"
        "\"rstrip\":false,\"normalized\":false},"
        "{\"id\":2,\"content\":\"[SEP]\",\"special\":true,\"single_word\":false,\"lstrip\":false,"
        "\"rstrip\":false,\"normalized\":false}],"
        "\"normalizer\":null,\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"},"
        "\"post_processor\":{\"type\":\"BertProcessing\",\"sep\":[\"[SEP]\",2],"
        "\"cls\":[\"[CLS]\",1]},\"decoder\":null,"
        "\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\",\"continuing_subword_prefix\":"
        "\"##\",\"max_input_chars_per_word\":100,\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,"
        "\"h\\u00e9\":3,\"##llo\":4,\"you\":5}}}";
    struct enso_error err = {0};

    must(tokenizer != NULL || enso_tokenizer_load_json(json, sizeof json - 1, "tokenizer.json",
                                                       &tokenizer, &err) == ENSO_OK,
         err.message);
}

/* --- the registry ----------------------------------------------------------------------------- */

static struct enso_served served[N_MODELS];
static struct enso_entry entries[N_MODELS + 2];

static void set_up_models(void)
{
    for (size_t i = 0; i < N_MODELS; i++) {
        served[i].model = &models[i];
        served[i].id = models[i].info.id;
        served[i].truncate = true;
        served[i].created = 1790000000;
        entries[i] = (struct enso_entry){
            .id = models[i].info.id, .state = ENSO_ENTRY_READY, .served = &served[i]};
    }
    entries[N_MODELS] = (struct enso_entry){.id = "loading", .state = ENSO_ENTRY_LOADING};
    entries[N_MODELS + 1] = (struct enso_entry){.id = "broken", .state = ENSO_ENTRY_FAILED};
    (void)snprintf(entries[N_MODELS + 1].error.message, 40, "config.json: no such file");
}

int fake_n_served(void)
{
    int n = 0;

    for (size_t i = 0; i < N_MODELS; i++)
        n += (int)atomic_load(&served[i].refs);
    return n;
}

bool enso_place_is_lost(const struct enso_place *place, struct enso_error *err)
{
    (void)place;
    (void)err;
    return false;
}

struct enso_served *enso_served_ref(struct enso_served *s)
{
    atomic_fetch_add(&s->refs, 1);
    return s;
}

void enso_served_unref(struct enso_served *s)
{
    if (s != NULL)
        atomic_fetch_sub(&s->refs, 1);
}

size_t enso_registry_n_entries(const struct enso_registry *registry)
{
    (void)registry;
    return ENSO_ARRAY_SIZE(entries);
}

const struct enso_entry *enso_registry_entry(const struct enso_registry *registry, size_t i)
{
    (void)registry;
    return &entries[i];
}

const struct enso_entry *enso_registry_entry_named(const struct enso_registry *registry,
                                                   const char *name, struct enso_error *err)
{
    (void)registry;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(entries); i++)
        if (strcmp(entries[i].id, name) == 0)
            return &entries[i];
    enso_error_param(err, "model");
    enso_error_code(err, "model_not_found");
    (void)enso_error_set(err, ENSO_NOT_FOUND, "there is no model '%.100s'", name);
    return NULL;
}

enum enso_entry_state enso_registry_state(struct enso_registry *registry,
                                          const struct enso_entry *entry,
                                          struct enso_served **ret_served,
                                          struct enso_error *ret_error)
{
    (void)registry;
    if (ret_served != NULL)
        *ret_served = entry->served != NULL ? enso_served_ref(entry->served) : NULL;
    if (ret_error != NULL)
        *ret_error = entry->error;
    return entry->state;
}

const char *fake_lost;

void enso_lost_check(struct enso_app *app)
{
    (void)app;
}

void enso_registry_readiness(struct enso_registry *registry, struct enso_readiness *ret)
{
    (void)registry;
    *ret = (struct enso_readiness){.n_ready = N_MODELS, .n_loading = 1, .n_failed = 1};
    ret->n_lost = fake_lost != NULL;
    if (fake_lost != NULL)
        (void)enso_error_set(&ret->lost, ENSO_UNAVAILABLE, "%s", fake_lost);
}

/* The only model of a task, unless it is named. */
static struct enso_served *find_only(unsigned tasks)
{
    struct enso_served *found = NULL;

    for (size_t i = 0; i < N_MODELS; i++) {
        if ((tasks & 1u << models[i].info.task) == 0)
            continue;
        if (found != NULL)
            return NULL;
        found = &served[i];
    }
    return found;
}

int enso_registry_find(struct enso_registry *registry, const char *name, unsigned tasks,
                       struct enso_served **ret_served, struct enso_error *err)
{
    const struct enso_entry *e =
        name != NULL ? enso_registry_entry_named(registry, name, err) : NULL;
    struct enso_served *s = name == NULL ? find_only(tasks) : e != NULL ? e->served : NULL;

    if (name == NULL && s == NULL)
        return enso_error_set(err, ENSO_INVALID, "several models could be meant");
    if (name != NULL && e == NULL)
        return ENSO_NOT_FOUND;
    if (s == NULL)
        return enso_error_set(err, ENSO_UNAVAILABLE, "model '%s' is not ready", name);
    if (tasks != 0 && (tasks & 1u << s->model->info.task) == 0) {
        enso_error_code(err, "wrong_task");
        return enso_error_set(err, ENSO_INVALID, "model '%s' has the task %s", s->id,
                              enso_task_name(s->model->info.task));
    }
    *ret_served = enso_served_ref(s);
    return ENSO_OK;
}

/* --- the call and the meters --------------------------------------------------------------------
 */

static struct enso_http_target target;
static void *target_room;

void fake_query(struct fake *f, const char *query)
{
    char text[512];
    struct enso_error err = {0};

    (void)f;
    (void)snprintf(text, sizeof text, "/x?%s", query);
    free(target_room);
    target_room = malloc(enso_http_target_room(text, strlen(text)));
    ENSO_TEST_OK(enso_http_target_parse(text, strlen(text), target_room, &target, &err), &err);
}

const struct enso_http_target *enso_http_call_target(const struct enso_http_call *call)
{
    (void)call;
    return &target;
}

const char *fake_accept;

const char *enso_http_call_header(const struct enso_http_call *call, const char *name)
{
    (void)call;
    return strcmp(name, "Accept") == 0 ? fake_accept : NULL;
}

struct fake_prediction fake_predicted;

void enso_meters_predicted(struct enso_model_meters *mm, uint32_t label, float confidence)
{
    (void)mm;
    fake_predicted = (struct fake_prediction){fake_predicted.n + 1, label, confidence};
}

/* --- a request ----------------------------------------------------------------------------------
 */

void fake_begin(struct fake *f, const char *route, const char *model)
{
    set_up_models();
    target = (struct enso_http_target){.n_params = 0};
    fake_predicted = (struct fake_prediction){0};
    *f = (struct fake){.config = {.max_json_depth = 64,
                                  .max_json_values = 2000000,
                                  .max_inputs = 2048,
                                  .batching = {.truncate = true}}};
    f->app.config = &f->config;
    f->req.app = &f->app;
    f->req.input_key = "input";
    f->req.parameters =
        (struct enso_parameters){.truncate = true, .top_k = 5, .priority = ENSO_PRIORITY_DEFAULT};
    f->req.path_model = f->req.model_name = model;
    (void)snprintf(f->req.tag, sizeof f->req.tag, "7");
    for (size_t i = 0; i < enso_n_routes; i++)
        if (strcmp(enso_routes[i].name, route) == 0)
            f->req.route = &enso_routes[i];
    must(f->req.route != NULL, route);
}

static void drop_samples(struct fake *f)
{
    for (uint32_t i = 0; i < f->job.n_samples; i++)
        enso_sample_destroy(f->samples[i]);
    free(f->samples);
    f->samples = NULL;
    f->job.n_samples = 0;
}

void fake_end(struct fake *f)
{
    drop_samples(f);
    enso_served_unref(f->req.served);
    json_decref(f->req.json);
    enso_buffer_done(&f->req.answer);
    enso_arena_done(&f->req.arena);
    free(f->answer);
    free(target_room);
    target_room = NULL;
    must(fake_n_served() == 0, "a model is still referenced");
}

static void take_answer(struct fake *f)
{
    free(f->answer);
    f->answer_size = f->req.answer.size;
    f->answer = malloc(f->answer_size + 1);
    if (f->answer_size != 0)
        memcpy(f->answer, f->req.answer.data, f->answer_size);
    f->answer[f->answer_size] = '\0';
}

/* As flow.c answers a failure. */
static int failed(struct fake *f)
{
    int status = f->req.route->dialect->status(&f->err);

    enso_buffer_done(&f->req.answer);
    f->req.route->dialect->error(&f->err, status, &f->req.answer);
    take_answer(f);
    return status;
}

int fake_decode_bytes(struct fake *f, const void *body, size_t size)
{
    struct enso_request *req = &f->req;
    int st;

    req->body = body;
    req->body_size = size;
    if (req->route->decode == NULL) {
        st = req->route->answer(req, &f->err);
        if (st < 100)
            return failed(f);
        take_answer(f);
        return st;
    }
    st = req->route->decode(req, &f->err);
    if (st == ENSO_OK && req->served == NULL)
        st = enso_registry_find(NULL, req->model_name, req->route->tasks, &req->served, &f->err);
    return st == ENSO_OK ? 200 : failed(f);
}

int fake_decode(struct fake *f, const char *body)
{
    return fake_decode_bytes(f, body, strlen(body));
}

size_t fake_width(const struct fake *f)
{
    const struct enso_model_info *info = &f->req.served->model->info;

    return info->task == ENSO_TASK_EMBEDDING ? info->dimensions : info->n_labels;
}

static void begin_outputs(struct fake *f)
{
    drop_samples(f);
    f->job.n_samples = (uint32_t)f->req.n_inputs;
    f->samples = calloc(f->req.n_inputs, sizeof *f->samples);
    f->job.samples = f->samples;
    f->req.job = &f->job;
    for (size_t i = 0; i < f->req.n_inputs; i++)
        must((f->samples[i] = enso_sample_create()) != NULL, "out of memory");
}

void fake_output_rows(struct fake *f, const float *values, size_t n_rows, size_t width)
{
    begin_outputs(f);
    for (size_t i = 0; i < f->req.n_inputs; i++) {
        struct enso_sample *s = f->samples[i];
        size_t bytes = n_rows * width * sizeof *values;

        s->outputs = enso_arena_alloc_zero(&s->arena, 1, sizeof *s->outputs);
        s->outputs[0] = (struct enso_tensor){ENSO_DTYPE_F32,
                                             2,
                                             {(int64_t)n_rows, (int64_t)width},
                                             enso_arena_alloc(&s->arena, bytes)};
        memcpy(s->outputs[0].data, values + i * n_rows * width, bytes);
        s->n_outputs = 1;
    }
}

void fake_output_tensors(struct fake *f, const struct enso_tensor *tensors, size_t n)
{
    begin_outputs(f);
    f->samples[0]->outputs = enso_arena_alloc_zero(&f->samples[0]->arena, n, sizeof *tensors);
    memcpy(f->samples[0]->outputs, tensors, n * sizeof *tensors);
    f->samples[0]->n_outputs = (uint32_t)n;
}

int fake_encode(struct fake *f)
{
    int st = f->req.route->encode(&f->req, &f->err);

    if (st == ENSO_OK && f->req.answer.failed)
        st = enso_error_no_memory(&f->err, "the answer");
    if (st != ENSO_OK)
        return failed(f);
    take_answer(f);
    return 200;
}

void fake_refuses_bytes(struct fake *f, const void *body, size_t size, int status,
                        const char *sentence, const char *param, const char *file, int line)
{
    void *copy = malloc(size + 1); /* reading past its end is caught by the sanitizer */
    int got;

    memcpy(copy, body, size);
    copy = realloc(copy, size != 0 ? size : 1);
    got = fake_decode_bytes(f, copy, size);
    ck_assert_msg(got == status, "%s:%d: status %d instead of %d: %s", file, line, got, status,
                  f->err.message);
    ck_assert_msg(strstr(f->err.message, sentence) != NULL, "%s:%d: no \"%s\" in: %s", file, line,
                  sentence, f->err.message);
    ck_assert_msg(param == NULL || strcmp(f->err.param, param) == 0,
                  "%s:%d: the place is \"%s\" instead of \"%s\" in: %s", file, line, f->err.param,
                  param, f->err.message);
    free(copy);
}
