/* SPDX-License-Identifier: Apache-2.0
 *
 * Dialects without sockets, models and threads: requests are decoded and answers encoded by the
 * real route table, while the registry, the models behind it, the transport's call and the meters
 * are stand-ins (tests/server/fake.c defines their functions instead of server/registry.c,
 * engine/model and server/http_call.c).
 *
 *     struct fake f;
 *     fake_begin(&f, "classify", NULL);
 *     f.req.content_type = "application/json";
 *     ck_assert_int_eq(fake_decode(&f, "{\"input\":\"a\"}"), 200);
 *     fake_output_rows(&f, (const float[]){0.7f, 0.2f, 0.1f}, 1, 3);
 *     ck_assert_int_eq(fake_encode(&f), 200);  // f.answer has the body
 *     fake_end(&f);
 *
 * Models, by id (D or C in brackets):
 *   intents   text-classification, labels yes, no, "say \"maybe\"" [3]
 *   tags      text-classification, several labels at once [2]
 *   bert      feature-extraction, pooling not said [4]
 *   minilm    feature-extraction, mean pooling, normalised [4]
 *   fashion   image-classification, 7 labels; graph: pixels FP32 [-1,2,2] → logits FP32 [-1,7]
 *   graph     tensors: x FP32 [-1,2], n INT64 [-1], flag BOOL [1] → y FP32 [-1,2], z INT32 [-1],
 *             h FP16 [2]
 *   one       tensors: x FP32 [-1,2] → y FP32 [-1,2]
 *   loading   is loading; broken: failed
 */
#ifndef ENSO_TESTS_SERVER_FAKE_H
#define ENSO_TESTS_SERVER_FAKE_H

#include "batching/job.h"
#include "config/config.h"
#include "server/app.h"
#include "server/request.h"
#include "server/routes.h"
#include "tests/support/support.h"

struct enso_tokenizer;

/* The Accept header of every request; NULL: none. */
extern const char *fake_accept;

/* Why the device of a model is lost; NULL: none is. */
extern const char *fake_lost;

struct fake {
    struct enso_request req;
    struct enso_app app;
    struct enso_config config;
    struct enso_error err;
    struct enso_job job;
    struct enso_sample **samples;
    char *answer;       /* of the last encode or failure, NUL-terminated; NULL before */
    size_t answer_size; /* binary parts may hold NUL */
};

/* A request for the route of that name in the table ("classify"); model is "{id}", or NULL. */
void fake_begin(struct fake *f, const char *route, const char *model);
void fake_end(struct fake *f);

/* The query of the call, "top_k=3&model=x"; it holds until fake_end. */
void fake_query(struct fake *f, const char *query);

/* What flow.c does with a body up to the queue, or for plain routes to the answer: decode, find the
 * model. The HTTP status that the failure would have (f->err, f->answer tell more), or 200. */
int fake_decode(struct fake *f, const char *body);
int fake_decode_bytes(struct fake *f, const void *body, size_t size);

/* Labels or dimensions of the model. */
size_t fake_width(const struct fake *f);

/* The run: every sample i gets rows [n_rows, width] of values, which holds all of them one after
 * the other. */
void fake_output_rows(struct fake *f, const float *values, size_t n_rows, size_t width);
/* The run: the only sample gets these outputs; data is borrowed. */
void fake_output_tensors(struct fake *f, const struct enso_tensor *tensors, size_t n);
/* Encode the answer: 200, or the status of the failure. */
int fake_encode(struct fake *f);

/* Fails the test unless decoding gives that status, and sentence and place have those parts. */
void fake_refuses_bytes(struct fake *f, const void *body, size_t size, int status,
                        const char *sentence, const char *param, const char *file, int line);
#define FAKE_REFUSES(route, model, body, status, sentence, param)                                  \
    do {                                                                                           \
        struct fake fake_;                                                                         \
        fake_begin(&fake_, route, model);                                                          \
        fake_refuses_bytes(&fake_, body, strlen(body), status, sentence, param, __FILE__,          \
                           __LINE__);                                                              \
        fake_end(&fake_);                                                                          \
    } while (0)

/* What the meters were told last. */
extern struct fake_prediction {
    unsigned n;
    uint32_t label;
    float confidence;
} fake_predicted;

/* References that are held on served models. */
int fake_n_served(void);

/* The tokenizer of the text models; NULL (as with fake_begin) until this is called. */
void fake_load_tokenizer(void);

#endif
