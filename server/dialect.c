/* SPDX-License-Identifier: Apache-2.0
 *
 * Statuses and error bodies of the dialects: see dialect.h and docs/api.md.
 */
#include "server/dialect.h"

#include <stdio.h>
#include <string.h>

int enso_dialect_status(const struct enso_error *err)
{
    switch (err->status) {
    case ENSO_OK:
        return 200;
    case ENSO_INVALID:
        return 400;
    case ENSO_UNSUPPORTED:
        return strcmp(err->code, "unsupported_media_type") == 0 ? 415 : 400;
    case ENSO_NOT_FOUND:
        return 404;
    case ENSO_TOO_LARGE:
        return 413;
    case ENSO_OVERLOADED:
        return 429;
    case ENSO_CANCELLED: /* nobody is there to read it; the code stands in log and metrics */
        return 499;
    case ENSO_DEADLINE:
        return 504;
    case ENSO_UNAVAILABLE:
    case ENSO_BUDGET:
    case ENSO_NO_MEMORY:
        return 503;
    case ENSO_CORRUPT:
    case ENSO_IO:
    case ENSO_DEVICE:
    case ENSO_INTERNAL:
        return 500;
    }
    return 500;
}

static void put(struct enso_buffer *body, const char *s)
{
    enso_buffer_put_json_string(body, s, strlen(s));
}

/* The machine-readable reason where the error brought none. */
static const char *default_code(int status)
{
    switch (status) {
    case 400:
        return "invalid_request";
    case 404:
        return "not_found";
    case 405:
        return "method_not_allowed";
    case 408:
        return "request_timeout";
    case 413:
        return "too_large";
    case 415:
        return "unsupported_media_type";
    case 429:
        return "overloaded";
    case 503:
        return "unavailable";
    case 504:
        return "deadline_exceeded";
    default:
        return status < 500 ? "invalid_request" : "internal_error";
    }
}

/* OpenAI: {"error":{"message","type","param","code"}}. */
static void native_error(const struct enso_error *err, int status, struct enso_buffer *body)
{
    enso_buffer_puts(body, "{\"error\":{\"message\":");
    put(body, err->message);
    enso_buffer_puts(body, ",\"type\":");
    put(body, status == 429   ? "rate_limit_error"
              : status < 500  ? "invalid_request_error"
              : status == 503 ? "unavailable_error"
                              : "server_error");
    enso_buffer_puts(body, ",\"param\":");
    if (err->param[0] != '\0')
        put(body, err->param);
    else
        enso_buffer_puts(body, "null");
    enso_buffer_puts(body, ",\"code\":");
    put(body, err->code[0] != '\0' ? err->code : default_code(status));
    enso_buffer_puts(body, "}}\n");
}

/* {"error":"sentence"}, the place in front of it unless the sentence names it. */
static void plain_error(const struct enso_error *err, int status, struct enso_buffer *body)
{
    char text[sizeof err->message + sizeof err->param + 4];
    char quoted[sizeof err->param + 2];
    size_t n = strlen(err->param);

    (void)status;
    (void)snprintf(quoted, sizeof quoted, "'%s'", err->param); /* fits */
    if (strstr(err->message, quoted) != NULL)
        n = 0;
    memcpy(text, err->param, n);
    if (n != 0) {
        memcpy(text + n, ": ", 2);
        n += 2;
    }
    memcpy(text + n, err->message, strlen(err->message) + 1);
    enso_buffer_puts(body, "{\"error\":");
    put(body, text);
    enso_buffer_puts(body, "}\n");
}

const struct enso_dialect enso_dialect_native = {"native", enso_dialect_status, native_error};
const struct enso_dialect enso_dialect_huggingface = {"huggingface", enso_dialect_status,
                                                      plain_error};
const struct enso_dialect enso_dialect_kserve = {"kserve", enso_dialect_status, plain_error};
