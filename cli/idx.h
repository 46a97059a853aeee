/* SPDX-License-Identifier: Apache-2.0
 *
 * The idx format of MNIST and its kin, as a stream:
 *
 *     0  u8   0, 0
 *     2  u8   type of the elements: 0x08 = unsigned byte (the only one read here)
 *     3  u8   number of dimensions
 *     4  u32  each dimension, big-endian; the first counts the items
 *        u8   the elements, the last dimension fastest
 */
#ifndef ENSO_CLI_IDX_H
#define ENSO_CLI_IDX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/macros.h"

#define ENSO_IDX_MAX_DIMENSIONS 4
#define ENSO_IDX_MAX_ITEM_BYTES ((size_t)64 << 20)

struct enso_stream;

struct enso_idx {
    struct enso_stream *stream; /* owned */
    unsigned n_dimensions;
    uint32_t dimensions[ENSO_IDX_MAX_DIMENSIONS];
    size_t item_bytes; /* the product of all but the first */
    uint32_t at;       /* items read */
};

/* Zero-initialise; takes the stream, also on failure; release with enso_idx_done. ENSO_CORRUPT,
 * ENSO_UNSUPPORTED (other types, 0 or more than 4 dimensions), ENSO_TOO_LARGE (an item). */
enum enso_status enso_idx_init(struct enso_idx *idx, struct enso_stream *stream,
                               struct enso_error *err) ENSO_MUST_CHECK;
void enso_idx_done(struct enso_idx *idx);

/* The next item's bytes, item_bytes of them; *ret_more is false after the last. A file that ends
 * early, or goes on after its last item, is ENSO_CORRUPT. */
enum enso_status enso_idx_next(struct enso_idx *idx, void *bytes, bool *ret_more,
                               struct enso_error *err) ENSO_MUST_CHECK;

#endif
