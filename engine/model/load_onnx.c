/* SPDX-License-Identifier: Apache-2.0
 *
 * Models from ONNX files: the graph as it is, and what stands beside it about pictures and labels.
 *
 *   ensod.json                ours: file, task, labels, input, sizes (docs/ensod-json.md)
 *   preprocessor_config.json  Hugging Face: how pictures become the input
 *   config.json               Hugging Face: id2label
 *
 * With one of the first two the model classifies pictures; with none it is driven by its own
 * tensors.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "engine/formats/onnx.h"
#include "engine/model/model_internal.h"
#include "engine/passes/passes.h"

#define MAX_SIZES 32

struct onnx_folder {
    struct enso_model *model;
    const char *dir; /* NULL: a bare file */
    json_t *ensod, *preprocessor, *config;
    struct enso_graph *graph;
    struct enso_error *err;
};

/* --- which file ---------------------------------------------------------------------------- */

static int only_onnx_file(const char *dir, char name[256], struct enso_error *err)
{
    DIR *d = opendir(dir);
    size_t n = 0;

    if (d == NULL)
        return enso_error_set(err, ENSO_IO, "cannot read folder '%s'", dir);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t length = strlen(e->d_name);

        if (length > 5 && length < 256 && strcmp(e->d_name + length - 5, ".onnx") == 0) {
            memcpy(name, e->d_name, length + 1);
            n++;
        }
    }
    (void)closedir(d);
    if (n == 1)
        return ENSO_OK;
    return enso_error_set(err, n == 0 ? ENSO_NOT_FOUND : ENSO_INVALID,
                          n == 0 ? "'%s' holds no model: neither config.json with safetensors, "
                                   "nor modules.json, nor an .onnx file"
                                 : "'%s' holds several .onnx files; name one in ensod.json: "
                                   "{\"file\": \"model.onnx\"}",
                          dir);
}

static int onnx_path(struct onnx_folder *f, char path[ENSO_PATH_SIZE])
{
    const char *named = json_string_value(json_object_get(f->ensod, "file"));
    char found[256];
    int st;

    if (named != NULL) {
        if (strchr(named, '/') != NULL || !enso__model_has_file(f->dir, named))
            return enso_error_set(f->err, ENSO_CORRUPT,
                                  "ensod.json: 'file' must name a file in the folder");
    } else if (enso__model_has_file(f->dir, "model.onnx")) {
        named = "model.onnx";
    } else if (enso__model_has_file(f->dir, "onnx/model.onnx")) {
        named = "onnx/model.onnx";
    } else {
        st = only_onnx_file(f->dir, found, f->err);
        if (st != ENSO_OK)
            return st;
        named = found;
    }
    if (snprintf(path, ENSO_PATH_SIZE, "%s/%s", f->dir, named) >= ENSO_PATH_SIZE)
        return enso_error_set(f->err, ENSO_INVALID, "the path '%.200s...' is too long", f->dir);
    return ENSO_OK;
}

static int read_side_files(struct onnx_folder *f)
{
    const struct {
        const char *name;
        json_t **json;
    } files[] = {{"ensod.json", &f->ensod},
                 {"preprocessor_config.json", &f->preprocessor},
                 {"config.json", &f->config}};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(files); i++) {
        int st;

        if (!enso__model_has_file(f->dir, files[i].name))
            continue;
        st = enso__model_read_json(f->dir, files[i].name, files[i].json, f->err);
        if (st != ENSO_OK)
            return st;
    }
    return ENSO_OK;
}

/* --- the graph ------------------------------------------------------------------------------ */

/* Sizes for symbols of the file: "sizes" of ensod.json, and the picture's height and width under
 * their usual names. */
static int gather_sizes(struct onnx_folder *f, struct enso_onnx_size *sizes, size_t *ret_n)
{
    const json_t *given = json_object_get(f->ensod, "sizes");
    struct enso_image_spec spec, defaults;
    uint32_t height, width;
    const char *key;
    json_t *value;
    size_t n = 0;
    bool known = false;

    enso_image_spec_default(&defaults, 0, 0, 3);
    if (f->preprocessor != NULL)
        known = enso_image_spec_from_huggingface(f->preprocessor, "preprocessor_config.json", &spec,
                                                 NULL) == ENSO_OK;
    else if (f->ensod != NULL)
        known =
            enso_image_spec_from_ensod(f->ensod, "ensod.json", &defaults, &spec, NULL) == ENSO_OK;
    if (given != NULL && !json_is_object(given))
        return enso_error_set(f->err, ENSO_CORRUPT,
                              "ensod.json: 'sizes' must be an object of numbers");
    json_object_foreach((json_t *)given, key, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) < 1 || n == MAX_SIZES - 4)
            return enso_error_set(f->err, ENSO_CORRUPT,
                                  "ensod.json: 'sizes' must hold at most %d whole numbers >= 1",
                                  MAX_SIZES - 4);
        sizes[n++] = (struct enso_onnx_size){key, json_integer_value(value)};
    }
    if (known && enso_image_spec_fixed_size(&spec, &height, &width) && height != 0 && width != 0) {
        sizes[n++] = (struct enso_onnx_size){"height", height};
        sizes[n++] = (struct enso_onnx_size){"width", width};
        sizes[n++] = (struct enso_onnx_size){"H", height};
        sizes[n++] = (struct enso_onnx_size){"W", width};
    }
    *ret_n = n;
    return ENSO_OK;
}

static int load_onnx_graph(struct onnx_folder *f, const char *path)
{
    struct enso_onnx_size sizes[MAX_SIZES];
    struct enso_onnx_options options = {.sizes = sizes};
    int st = gather_sizes(f, sizes, &options.n_sizes);

    if (st == ENSO_OK)
        st = enso_onnx_load(path, &options, &f->graph, f->err);
    if (st == ENSO_INVALID)
        enso_error_prefix(f->err, "(give sizes of open dimensions in ensod.json: "
                                  "{\"sizes\": {\"name\": 224}}) ");
    return st;
}

/* --- pictures -------------------------------------------------------------------------------- */

/* The one F32 input of rank 4, as channels, height and width. */
static int picture_shape(struct onnx_folder *f, bool nhwc, uint32_t chw[3])
{
    const struct enso_value *v;
    const struct enso_dim *d;

    if (enso_graph_n_inputs(f->graph) != 1)
        return enso_error_set(f->err, ENSO_UNSUPPORTED,
                              "a picture classifier has one input, but this graph has %zu",
                              enso_graph_n_inputs(f->graph));
    v = enso_graph_value(f->graph, enso_graph_input(f->graph, 0));
    d = v->shape.dims;
    if (v->shape.rank != 4 || v->dtype != ENSO_DTYPE_F32)
        return enso_error_set(f->err, ENSO_UNSUPPORTED,
                              "input '%s' is not a float tensor of rank 4, as pictures are",
                              v->name);
    if (d[0].factor != 1)
        return enso_error_set(f->err, ENSO_UNSUPPORTED,
                              "input '%s' takes exactly %lld pictures at once; export the model "
                              "with an open first dimension, or with 1",
                              v->name, (long long)d[0].factor);
    for (int i = 0; i < 3; i++) {
        const struct enso_dim *from = &d[nhwc ? (i == 0 ? 3 : i) : i + 1];

        if (from->extent != ENSO_EXTENT_FIXED || from->factor < 1 || from->factor > 65535)
            return enso_error_set(f->err, ENSO_UNSUPPORTED,
                                  "input '%s': channels, height and width must be fixed", v->name);
        chw[i] = (uint32_t)from->factor;
    }
    return ENSO_OK;
}

static int picture_spec(struct onnx_folder *f)
{
    struct enso_model *m = f->model;
    const char *layout =
        json_string_value(json_object_get(json_object_get(f->ensod, "input"), "layout"));
    bool nhwc = layout != NULL && strcmp(layout, "NHWC") == 0;
    struct enso_image_spec defaults;
    uint32_t chw[3], height, width;
    int st = picture_shape(f, nhwc, chw);

    if (st != ENSO_OK)
        return st;
    enso_image_spec_default(&defaults, chw[1], chw[2], (uint8_t)(chw[0] == 1 ? 1 : 3));
    defaults.layout = nhwc ? ENSO_IMAGE_NHWC : ENSO_IMAGE_NCHW;
    if (f->preprocessor != NULL && json_object_get(f->ensod, "input") == NULL)
        st = enso_image_spec_from_huggingface(f->preprocessor, "preprocessor_config.json",
                                              &m->image, f->err);
    else
        st = enso_image_spec_from_ensod(f->ensod, "ensod.json", &defaults, &m->image, f->err);
    if (st != ENSO_OK) {
        if (st == ENSO_INVALID && f->err != NULL)
            f->err->status = ENSO_CORRUPT;
        return st == ENSO_INVALID ? ENSO_CORRUPT : st;
    }
    if (!enso_image_spec_fixed_size(&m->image, &height, &width) || height != chw[1] ||
        width != chw[2] || m->image.channels != chw[0])
        return enso_error_set(f->err, ENSO_CORRUPT,
                              "the graph takes %u channels of %u x %u, but ensod.json or "
                              "preprocessor_config.json makes %u of %u x %u",
                              chw[0], chw[1], chw[2], m->image.channels, height, width);
    m->info.takes_images = true;
    m->info.image_channels = chw[0];
    m->info.image_height = chw[1];
    m->info.image_width = chw[2];
    return ENSO_OK;
}

/* Pictures come as bytes, which the graph's first operator normalises. */
static int read_pixels(struct onnx_folder *f)
{
    struct enso_model *m = f->model;

    enso_image_table(&m->image, m->pixel_values);
    return enso_graph_read_pixels(f->graph, enso_graph_input(f->graph, 0), m->pixel_values,
                                  m->image.channels, m->image.layout == ENSO_IMAGE_NHWC, f->err);
}

/* --- labels ---------------------------------------------------------------------------------- */

/* The output with the logits: "output" of ensod.json, or the first. Counts its classes. */
static int find_label_output(struct onnx_folder *f, uint32_t *ret_n)
{
    struct enso_model *m = f->model;
    const char *named = json_string_value(json_object_get(f->ensod, "output"));
    const struct enso_value *v;
    const struct enso_node *producer;
    int64_t n = 1;

    for (size_t i = 0; named != NULL && i <= enso_graph_n_outputs(f->graph); i++) {
        if (i == enso_graph_n_outputs(f->graph))
            return enso_error_set(f->err, ENSO_CORRUPT, "ensod.json: the graph has no output '%s'",
                                  named);
        m->label_output = (int)i;
        if (strcmp(enso_graph_output_name(f->graph, i), named) == 0)
            break;
    }
    v = enso_graph_value(f->graph, enso_graph_output(f->graph, (size_t)m->label_output));
    for (uint8_t d = 0; d < v->shape.rank; d++) {
        if (v->shape.dims[d].factor < 1)
            n = 0;
        if (d > 0 && v->shape.dims[d].extent != ENSO_EXTENT_FIXED)
            return enso_error_set(f->err, ENSO_UNSUPPORTED, "output '%s' has an open size",
                                  v->name);
        if ((d > 0 || (v->shape.rank == 1 && v->shape.dims[d].extent == ENSO_EXTENT_FIXED)) &&
            __builtin_mul_overflow(n, v->shape.dims[d].factor, &n))
            n = 0;
    }
    if (v->dtype != ENSO_DTYPE_F32 || n < 1 || n > 1000000)
        return enso_error_set(f->err, ENSO_UNSUPPORTED,
                              "output '%s' is not a float tensor of 1 to 1,000,000 classes",
                              v->name);
    if (v->producer >= 0) {
        producer = enso_graph_node(f->graph, v->producer);
        m->outputs_probabilities =
            producer->op == ENSO_OP_SOFTMAX || producer->op == ENSO_OP_SIGMOID;
        m->outputs_log_probabilities = producer->op == ENSO_OP_LOG_SOFTMAX;
    }
    *ret_n = (uint32_t)n;
    return ENSO_OK;
}

static int read_labels(struct onnx_folder *f)
{
    const json_t *labels = json_object_get(f->ensod, "labels");
    struct enso_model *m = f->model;
    uint32_t n = 0;
    int st = find_label_output(f, &n);

    if (st != ENSO_OK)
        return st;
    if (json_is_array(labels)) {
        st = enso__labels_from_array(m, labels, "ensod.json", f->err);
    } else if (json_is_string(labels)) {
        char path[ENSO_PATH_SIZE];

        if (strchr(json_string_value(labels), '/') != NULL)
            return enso_error_set(f->err, ENSO_CORRUPT,
                                  "ensod.json: 'labels' must be a list of names or a file in the "
                                  "folder");
        (void)snprintf(path, sizeof path, "%s/%s", f->dir, json_string_value(labels));
        st = enso__labels_from_file(m, path, f->err);
    } else {
        return enso__labels_from_config(m, f->config, n, f->err);
    }
    if (st == ENSO_OK && m->info.n_labels != n)
        st = enso_error_set(f->err, ENSO_CORRUPT,
                            "ensod.json: there are %u labels, but the graph gives %u classes; make "
                            "them equal",
                            m->info.n_labels, n);
    return st;
}

static int choose_task(struct onnx_folder *f)
{
    struct enso_model *m = f->model;
    const char *task = json_string_value(json_object_get(f->ensod, "task"));
    int st;

    m->info.task = ENSO_TASK_TENSORS;
    if (task != NULL && strcmp(task, "tensors") == 0)
        return ENSO_OK;
    if (task != NULL && strcmp(task, "image-classification") != 0)
        return enso_error_set(f->err, ENSO_UNSUPPORTED,
                              "ensod.json: task '%s' is not known; it is \"image-classification\" "
                              "or \"tensors\"",
                              task);
    if (task == NULL && f->preprocessor == NULL && json_object_get(f->ensod, "input") == NULL &&
        json_object_get(f->ensod, "labels") == NULL)
        return ENSO_OK;
    st = picture_spec(f);
    if (st == ENSO_OK)
        st = read_labels(f);
    if (st == ENSO_OK)
        st = read_pixels(f);
    if (st == ENSO_OK) {
        m->info.task = ENSO_TASK_IMAGE_CLASSIFICATION;
        m->info.multi_label = json_is_true(json_object_get(f->ensod, "multi_label"));
    }
    return st;
}

int enso__model_load_onnx(struct enso_model *m, const char *path, struct enso_graph **ret_graph,
                          struct enso_error *err)
{
    struct onnx_folder f = {.model = m, .err = err};
    struct enso_weights_file *opened = NULL;
    char file[ENSO_PATH_SIZE];
    size_t n = strlen(path);
    int st = ENSO_OK;

    if (n > 5 && strcmp(path + n - 5, ".onnx") == 0) {
        (void)snprintf(file, sizeof file, "%s", path);
    } else {
        f.dir = path;
        st = read_side_files(&f);
        if (st == ENSO_OK)
            st = onnx_path(&f, file);
    }
    if (st == ENSO_OK)
        st = enso_weights_file_open(file, &opened, err);
    if (st == ENSO_OK)
        st = enso__model_hold_file(m, opened, err); /* from here on it must not change */
    if (st == ENSO_OK)
        st = load_onnx_graph(&f, file);
    if (st == ENSO_OK)
        st = choose_task(&f);
    if (st == ENSO_OK) {
        m->info.format = "onnx";
        m->info.architecture = enso__model_keep(m, enso_graph_name(f.graph));
        if (m->info.architecture == NULL)
            st = enso_error_no_memory(err, "a model");
    }
    if (st == ENSO_OK) {
        *ret_graph = f.graph;
        f.graph = NULL;
    }
    enso_weights_file_unref(opened);
    enso_graph_destroy(f.graph);
    json_decref(f.ensod);
    json_decref(f.preprocessor);
    json_decref(f.config);
    return st;
}
