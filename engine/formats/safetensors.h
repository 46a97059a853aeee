/* SPDX-License-Identifier: Apache-2.0
 *
 * Weights in safetensors files, one or several (shards), looked up by name.
 *
 * Layout of a file:
 *     bytes 0..7        n: length of the header, u64 little-endian, at most 100,000,000
 *     bytes 8..8+n-1    header: a JSON object that starts with '{' and may end in spaces:
 *                         "NAME": {"dtype": "F32", "shape": [768, 2], "data_offsets": [BEGIN, END]}
 *                         "__metadata__": {string: string}, ignored
 *     bytes 8+n..       the tensors' bytes, row-major, little-endian; offsets count from here
 * As in the reference implementation the tensors cover the rest of the file without holes, overlap
 * or left-over bytes, and no name is there twice.
 * Shards: model.safetensors.index.json maps each name to the file that holds it
 * ({"weight_map": {"NAME": "model-00001-of-00002.safetensors"}}).
 *
 *     st = enso_safetensors_open("models/bert", &weights, err);
 *     st = enso_safetensors_need(weights, "pooler.weight", (int64_t[]){768, 768}, 2, &c, err);
 *     int w = enso_graph_add_constant(graph, "pooler.weight", &c);    the graph refs the file
 *     enso_safetensors_close(weights);
 *
 * Only headers are read here; data is read when a device binds it. Immutable after open: lookups
 * are safe from any thread. Source: github.com/huggingface/safetensors, README "Format".
 */
#ifndef ENSO_ENGINE_FORMATS_SAFETENSORS_H
#define ENSO_ENGINE_FORMATS_SAFETENSORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"
#include "engine/graph/graph.h"

struct enso_safetensors; /* opaque */

/* A .safetensors file, an .index.json of shards, or a folder that holds model.safetensors or
 * model.safetensors.index.json (the first is taken when both are there). ENSO_NOT_FOUND (nothing
 * there, a shard missing), ENSO_CORRUPT (a broken or lying header), ENSO_UNSUPPORTED (a type or
 * rank that ensod does not know; a folder with pytorch_model.bin only, which is a program to
 * unpickle and not read), ENSO_TOO_LARGE, ENSO_NO_MEMORY, ENSO_IO: files and tensors are named. */
enum enso_status enso_safetensors_open(const char *path, struct enso_safetensors **ret_safetensors,
                                       struct enso_error *err) ENSO_MUST_CHECK;
void enso_safetensors_close(struct enso_safetensors *st); /* NULL is fine */

/* False when there is no tensor of that name. The constant borrows the file until close (a graph
 * that it is added to refs it); stored is the type in the file, dtype the same except that F16,
 * BF16 and F64 are seen as F32, the type that is computed in. */
bool enso_safetensors_find(const struct enso_safetensors *st, const char *name,
                           struct enso_constant *ret_constant);

/* The tensor of that name, which must be of a float type and have exactly these dims; a negative
 * one stands for any size >= 1. ENSO_CORRUPT with what was expected and found. */
enum enso_status enso_safetensors_need(const struct enso_safetensors *st, const char *name,
                                       const int64_t *dims, size_t rank,
                                       struct enso_constant *ret_constant,
                                       struct enso_error *err) ENSO_MUST_CHECK;

/* All tensors in the order of their names (bytewise); i < count. *ret_name is borrowed. */
size_t enso_safetensors_count(const struct enso_safetensors *st);
void enso_safetensors_at(const struct enso_safetensors *st, size_t i, const char **ret_name,
                         struct enso_constant *ret_constant);

/* The files behind it, each once; borrowed until close. */
size_t enso_safetensors_n_files(const struct enso_safetensors *st);
struct enso_weights_file *enso_safetensors_file(const struct enso_safetensors *st, size_t i);

/* ENSO_OK while all files are what was opened: see enso_weights_file_check. */
enum enso_status enso_safetensors_check(const struct enso_safetensors *st,
                                        struct enso_error *err) ENSO_MUST_CHECK;

#endif
