/* SPDX-License-Identifier: Apache-2.0
 *
 * The pre-scan of an ONNX file: one pass over the protobuf wire format that copies what ensod reads
 * (onnx_skeleton.proto) into a skeleton which protobuf-c may safely unpack.
 *
 * protobuf-c alone is unsafe for files from outside: 30 KB of nested graphs overflow an 8 MiB stack
 * and raw_data is copied whole. The scan
 *   - bounds nesting (16 messages), bytes, fields, messages and numbers of the skeleton;
 *   - leaves tensor contents in the file: raw_data, and float_data and double_data when packed, are
 *     replaced by (offset, bytes, field) in fields of our own, so that a model of gigabytes has a
 *     skeleton of kilobytes;
 *   - drops every field it does not know, checks wire types and lengths, and that text is UTF-8
 *     without NUL; refuses singular fields that come twice (protobuf would merge them).
 * Nothing is said yet about what the fields mean: that is onnx.c.
 *
 * Source: protobuf.dev/programming-guides/encoding; field numbers: onnx.proto, IR version 10.
 */
#ifndef ENSO_ENGINE_FORMATS_ONNX_SCAN_H
#define ENSO_ENGINE_FORMATS_ONNX_SCAN_H

#include "base/buffer.h"
#include "base/error.h"
#include "base/macros.h"

struct enso_weights_file;

#define ENSO_ONNX_MAX_DEPTH 16
#define ENSO_ONNX_MAX_SKELETON (64u << 20) /* bytes */
#define ENSO_ONNX_MAX_FIELDS 4000000
#define ENSO_ONNX_MAX_MESSAGES 1000000
#define ENSO_ONNX_MAX_NUMBERS 16000000 /* in int32_data, int64_data, ints and the like */

/* What the whole file is. */
enum enso_onnx_root {
    ENSO_ONNX_MODEL,  /* ModelProto */
    ENSO_ONNX_TENSOR, /* TensorProto, as ONNX's own tests keep inputs and outputs */
};

/* Scans the file and appends the skeleton to *skeleton, an initialised buffer of the caller's
 * (undefined content on failure, to be released all the same). ENSO_CORRUPT naming file and byte,
 * ENSO_TOO_LARGE, ENSO_NO_MEMORY, ENSO_IO. */
enum enso_status enso_onnx_scan(const struct enso_weights_file *file, enum enso_onnx_root root,
                                struct enso_buffer *skeleton,
                                struct enso_error *err) ENSO_MUST_CHECK;

#endif
