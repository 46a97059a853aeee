/* SPDX-License-Identifier: Apache-2.0
 *
 * The idx format: see idx.h.
 */
#include "cli/idx.h"

#include "base/memory.h"
#include "cli/stream.h"

#define TYPE_U8 0x08

static enum enso_status read_whole(struct enso_idx *idx, void *bytes, size_t n, const char *what,
                                   struct enso_error *err)
{
    size_t got = 0;
    enum enso_status st = enso_stream_read(idx->stream, bytes, n, &got, err);

    if (st != ENSO_OK || got == n)
        return st;
    return enso_error_set(err, ENSO_CORRUPT, "'%.200s' ends within %s",
                          enso_stream_name(idx->stream), what);
}

static enum enso_status read_header(struct enso_idx *idx, struct enso_error *err)
{
    unsigned char head[4], bytes[4 * ENSO_IDX_MAX_DIMENSIONS];
    enum enso_status st = read_whole(idx, head, sizeof head, "its header", err);

    if (st != ENSO_OK)
        return st;
    if (head[0] != 0 || head[1] != 0)
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%.200s' is no idx file: it begins with other "
                              "bytes than 0, 0",
                              enso_stream_name(idx->stream));
    if (head[2] != TYPE_U8 || head[3] == 0 || head[3] > ENSO_IDX_MAX_DIMENSIONS)
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "'%.200s' is an idx file of type 0x%02x with %u dimensions; only "
                              "unsigned bytes (0x08) with 1 to 4 are read",
                              enso_stream_name(idx->stream), head[2], head[3]);
    idx->n_dimensions = head[3];
    st = read_whole(idx, bytes, 4 * (size_t)idx->n_dimensions, "its header", err);
    for (unsigned i = 0; st == ENSO_OK && i < idx->n_dimensions; i++) {
        const unsigned char *b = bytes + 4 * i;

        idx->dimensions[i] =
            (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | (uint32_t)b[3];
    }
    return st;
}

static enum enso_status measure(struct enso_idx *idx, struct enso_error *err)
{
    idx->item_bytes = 1;
    for (unsigned i = 1; i < idx->n_dimensions; i++) {
        if (!enso_size_mul(idx->item_bytes, idx->dimensions[i], &idx->item_bytes) ||
            idx->item_bytes > ENSO_IDX_MAX_ITEM_BYTES)
            return enso_error_set(err, ENSO_TOO_LARGE,
                                  "'%.200s': by its header an item has more than 64 MiB",
                                  enso_stream_name(idx->stream));
    }
    if (idx->item_bytes == 0)
        return enso_error_set(err, ENSO_CORRUPT, "'%.200s': by its header an item has no bytes",
                              enso_stream_name(idx->stream));
    return ENSO_OK;
}

enum enso_status enso_idx_init(struct enso_idx *idx, struct enso_stream *stream,
                               struct enso_error *err)
{
    enum enso_status st;

    *idx = (struct enso_idx){.stream = stream};
    st = read_header(idx, err);
    if (st == ENSO_OK)
        st = measure(idx, err);
    if (st != ENSO_OK)
        enso_idx_done(idx);
    return st;
}

void enso_idx_done(struct enso_idx *idx)
{
    enso_stream_close(idx->stream);
    *idx = (struct enso_idx){0};
}

enum enso_status enso_idx_next(struct enso_idx *idx, void *bytes, bool *ret_more,
                               struct enso_error *err)
{
    size_t got = 0;
    char beyond;
    enum enso_status st;

    *ret_more = idx->at < idx->dimensions[0];
    st = *ret_more ? enso_stream_read(idx->stream, bytes, idx->item_bytes, &got, err)
                   : enso_stream_read(idx->stream, &beyond, 1, &got, err);
    if (st != ENSO_OK)
        return st;
    if (*ret_more && got < idx->item_bytes)
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%.200s' ends within item %u of the %u that its header promises",
                              enso_stream_name(idx->stream), idx->at, idx->dimensions[0]);
    if (!*ret_more && got != 0)
        return enso_error_set(err, ENSO_CORRUPT,
                              "'%.200s' goes on after the %u items that its header tells of",
                              enso_stream_name(idx->stream), idx->dimensions[0]);
    idx->at += *ret_more;
    return ENSO_OK;
}
