/* SPDX-License-Identifier: Apache-2.0
 *
 * Addresses to listen on.
 */
#include "config/config.h"

#include <string.h>

#include "base/number.h"
#include "config/config_internal.h"

static enum enso_status bad_address(const char *text, const char *why, struct enso_error *err)
{
    return enso_error_set(err, ENSO_INVALID,
                          "'%.120s' is no address (%s); use for example "
                          "127.0.0.1:8080, [::1]:8080, *:8080 or unix:/run/ensod/ensod.sock",
                          text, why);
}

static enum enso_status parse_unix(const char *text, struct enso_config_address *a,
                                   struct enso_error *err)
{
    const char *path = text + 5;
    size_t n = strlen(path);

    if (n == 0)
        return bad_address(text, "the path is empty", err);
    if (n >= sizeof a->path)
        return bad_address(text, "a socket's path has at most 107 bytes", err);
    a->is_unix = true;
    memcpy(a->path, path, n + 1);
    return ENSO_OK;
}

enum enso_status enso_config_parse_address(const char *text, struct enso_config_address *ret,
                                           struct enso_error *err)
{
    struct enso_config_address a = {0};
    const char *colon = strrchr(text, ':'), *host = text, *end = colon;
    int64_t port;

    if (strncmp(text, "unix:", 5) == 0) {
        enum enso_status st = parse_unix(text, &a, err);

        if (st == ENSO_OK)
            *ret = a;
        return st;
    }
    if (colon == NULL)
        return bad_address(text, "the port is missing", err);
    if (enso_number_parse_i64(colon + 1, 0, 65535, &port, NULL) != ENSO_OK)
        return bad_address(text, "a port is a number from 0 to 65535", err);
    if (*host == '[') {
        if (end == text || end[-1] != ']')
            return bad_address(text, "']' is missing", err);
        host++;
        end--;
        if (host == end || strspn(host, "0123456789abcdefABCDEF:.") != (size_t)(end - host))
            return bad_address(text, "between brackets stands an IPv6 address", err);
    } else if (memchr(host, ':', (size_t)(end - host)) != NULL) {
        return bad_address(text, "IPv6 addresses stand in brackets", err);
    }

    size_t n = (size_t)(end - host);

    if (n == 0)
        return bad_address(text, "the host is missing", err);
    if (n >= sizeof a.host)
        return bad_address(text, "the host is too long", err);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)host[i] <= ' ' || host[i] == '/' || host[i] == 0x7F)
            return bad_address(text, "the host holds blanks or slashes", err);
    }
    memcpy(a.host, host, n);
    a.port = (uint16_t)port;
    *ret = a;
    return ENSO_OK;
}

bool enso_config_address_is_local(const struct enso_config_address *a)
{
    return a->is_unix || strncmp(a->host, "127.", 4) == 0 || strcmp(a->host, "::1") == 0 ||
           strcmp(a->host, "localhost") == 0;
}

enum enso_status enso__check_address(const char *value, struct enso_error *err)
{
    struct enso_config_address address;

    return enso_config_parse_address(value, &address, err);
}
