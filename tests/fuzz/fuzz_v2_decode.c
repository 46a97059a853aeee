/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any body at KServe V2's infer. The first byte chooses the model, the next two say
 * where the JSON ends (or that the header is not there). Tensors that are taken must have the bytes
 * that their shape says; the answer must be JSON and as long as it says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "tests/server/fake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const models[] = {"intents", "minilm", "fashion", "graph", "one"};

static void touch(const void *bytes, size_t size)
{
    static volatile unsigned sink;

    for (size_t i = 0; i < size; i++)
        sink += ((const uint8_t *)bytes)[i];
    (void)sink;
}

static void touch_input(const struct enso_input *in)
{
    touch(in->text, in->text_size);
    touch(in->pair, in->pair_size);
    touch(in->image, in->image_size);
    for (size_t i = 0; i < in->n_tensors; i++)
        touch(in->tensors[i].data, enso_tensor_bytes(&in->tensors[i]));
}

/* The run, whatever the shapes were. */
static void run(struct fake *f)
{
    static float rows[2048 * 7];
    static uint16_t halves[2] = {0x3C00, 0};
    static int32_t integers[3] = {1, -2, 3};
    const struct enso_tensor outputs[] = {{ENSO_DTYPE_F32, 2, {3, 2}, rows},
                                          {ENSO_DTYPE_I32, 1, {3}, integers},
                                          {ENSO_DTYPE_F16, 1, {2}, halves}};
    const struct enso_tensor logits = {ENSO_DTYPE_F32, 2, {3, 7}, rows};

    if (f->req.inputs[0].kind != ENSO_INPUT_TENSORS)
        fake_output_rows(f, rows, 1, fake_width(f));
    else if (strcmp(f->req.model_name, "fashion") == 0)
        fake_output_tensors(f, &logits, 1);
    else
        fake_output_tensors(f, outputs, 3);
}

static void check_answer(const struct fake *f)
{
    size_t json_size = f->req.json_header_size != 0 ? f->req.json_header_size : f->answer_size;
    json_t *root = NULL;

    if (json_size > f->answer_size ||
        enso_json_parse(f->answer, json_size, NULL, &root, NULL) != ENSO_OK)
        abort();
    json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char header[24];
    struct fake f;
    int status;

    if (size < 3)
        return 0;
    fake_begin(&f, "v2_infer", models[data[0] % ENSO_ARRAY_SIZE(models)]);
    if ((data[2] & 0x80) == 0) {
        (void)snprintf(header, sizeof header, "%u", data[1] | (unsigned)data[2] << 8);
        f.req.inference_header = header;
    }
    status = fake_decode_bytes(&f, data + 3, size - 3);
    if (status == 200) {
        for (size_t i = 0; i < f.req.n_inputs; i++)
            touch_input(&f.req.inputs[i]);
        run(&f);
        if (fake_encode(&f) != 200)
            abort();
    } else if (status < 400 || status == 500 || f.err.message[0] == '\0') {
        abort();
    }
    check_answer(&f);
    fake_end(&f);
    return 0;
}
