/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any body at the native and Hugging Face routes. The first three bytes choose route,
 * model and Content-Type. What is taken must hold up to be read, and its answer must be JSON; what
 * is refused must have a sentence.
 */
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/server/fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const routes[] = {"classify", "embeddings", "huggingface", "tokenize"};
static const char *const models[] = {"intents", "bert", "fashion", "minilm", "tags", "graph"};
static const char *const types[] = {NULL, "application/json", "image/png",
                                    "multipart/form-data; boundary=b"};

/* Reads every byte that an input names: the sanitizer looks. */
static unsigned touch(const struct enso_input *in)
{
    unsigned sum = 0;

    for (size_t i = 0; i < in->text_size; i++)
        sum += (unsigned char)in->text[i];
    for (size_t i = 0; i < in->pair_size; i++)
        sum += (unsigned char)in->pair[i];
    for (size_t i = 0; i < in->image_size; i++)
        sum += in->image[i];
    for (size_t i = 0; i < in->n_ids; i++)
        sum += (unsigned)in->ids[i];
    return sum;
}

static void check_json(const struct fake *f)
{
    struct enso_json_limits limits = {64, 10000000};
    json_t *root = NULL;

    if (enso_json_parse(f->answer, f->answer_size, &limits, &root, NULL) != ENSO_OK)
        abort();
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static float rows[2048 * 7];
    static volatile unsigned sink;
    struct fake f;
    int status;

    if (size < 3)
        return 0;
    fake_load_tokenizer();
    fake_begin(&f, routes[data[0] % ENSO_ARRAY_SIZE(routes)],
               models[data[1] % ENSO_ARRAY_SIZE(models)]);
    f.req.content_type = types[data[2] % ENSO_ARRAY_SIZE(types)];
    status = fake_decode_bytes(&f, data + 3, size - 3);
    if (status != 200) {
        if (status < 400 || status > 503 || status == 500 || f.err.message[0] == '\0')
            abort();
        check_json(&f);
    } else if (f.req.route->decode == NULL) {
        check_json(&f);
    } else {
        if (f.req.n_inputs == 0)
            abort();
        for (size_t i = 0; i < f.req.n_inputs; i++)
            sink += touch(&f.req.inputs[i]);
        (void)sink;
        fake_output_rows(&f, rows, 1, fake_width(&f));
        if (fake_encode(&f) == 500)
            abort();
        check_json(&f);
    }
    fake_end(&f);
    return 0;
}
