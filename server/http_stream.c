/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers of unknown length. libmicrohttpd pulls: when it asks and nothing is queued the connection
 * is suspended, and the next push resumes it. HTTP/1.1 clients get chunks, HTTP/1.0 clients the end
 * of the connection.
 */
#include <string.h>

#include "base/memory.h"
#include "server/budget.h"
#include "server/http_internal.h"

#define BLOCK_BYTES 16384u /* only HTTP/1.0 uses it; chunks are made in the connection's pool */

void enso__http_stream_destroy(struct enso__http_stream *stream)
{
    if (stream == NULL)
        return;
    enso_buffer_done(&stream->queue);
    enso_free(stream);
}

static size_t queued(const struct enso__http_stream *stream)
{
    return stream->queue.size - stream->start;
}

/* Called by libmicrohttpd when the socket takes more. */
static ssize_t read_stream(void *cls, uint64_t position, char *out, size_t most)
{
    struct enso_http_call *call = cls;
    struct enso__http_stream *stream = call->stream;
    size_t n = ENSO_MIN(queued(stream), most);

    if (call->state != ENSO__CALL_STREAMING || stream->broken)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n > 0) {
        memcpy(out, stream->queue.data + stream->start, n);
        stream->start += n;
        call->sent = position + n;
        if (stream->start == stream->queue.size) {
            enso_buffer_clear(&stream->queue);
            stream->start = 0;
        }
        return (ssize_t)n;
    }
    if (stream->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (call->connection->gone || call->http->finishing) {
        enso__http_lost(call);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    stream->suspended = true;
    enso__http_set_phase(call->connection, ENSO__HTTP_WAIT);
    MHD_suspend_connection(call->connection->mhd);
    return 0;
}

static void free_stream_response(void *cls)
{
    (void)enso_http_call_unref(cls); /* the response's reference */
}

void enso_http_stream_begin(struct enso_http_call *call, int status,
                            const struct enso_http_header *headers, size_t n_headers)
{
    struct MHD_Response *response = NULL;

    if (call->state != ENSO__CALL_READY && call->state != ENSO__CALL_WAITING)
        return;
    call->stream = enso_alloc_zero(1, sizeof *call->stream);
    if (call->stream != NULL) {
        call->in_blocks = true;
        response =
            MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream,
                                              enso_http_call_ref(call), free_stream_response);
        if (response == NULL)
            (void)enso_http_call_unref(call); /* the response's, which is none */
        else
            response = enso__http_add_headers(call, response, headers, n_headers);
    }
    enso__http_answer(call, status, response);
}

static void wake(struct enso_http_call *call)
{
    if (!call->stream->suspended)
        return;
    call->stream->suspended = false;
    enso__http_set_phase(call->connection, ENSO__HTTP_SEND);
    enso__http_resume(call);
}

bool enso_http_stream_push(struct enso_http_call *call, const void *bytes, size_t size)
{
    struct enso__http_stream *stream = call->stream;

    if (call->state != ENSO__CALL_STREAMING || stream->ended || stream->broken)
        return false;
    if (stream->start > 0 && stream->start >= queued(stream)) { /* half of it is sent: move up */
        size_t left = queued(stream);

        memmove(stream->queue.data, stream->queue.data + stream->start, left);
        stream->queue.size = left;
        stream->start = 0;
    }
    enso_buffer_append(&stream->queue, bytes, size);
    if (stream->queue.failed)
        stream->broken = true;
    if (size > 0 || stream->broken)
        wake(call);
    return !stream->broken;
}

void enso_http_stream_end(struct enso_http_call *call)
{
    if (call->state != ENSO__CALL_STREAMING || call->stream->ended)
        return;
    call->stream->ended = true;
    wake(call);
}

size_t enso_http_stream_queued(const struct enso_http_call *call)
{
    return call->state == ENSO__CALL_STREAMING ? queued(call->stream) : 0;
}
