/* SPDX-License-Identifier: Apache-2.0
 *
 * Forms: see multipart.h.
 */
#include "ensod_build.h"

#include "server/multipart.h"

#include <string.h>
#include <strings.h>

#define MAX_PART_HEADERS 4096

static enum enso_status broken(struct enso_error *err, const char *what)
{
    enso_error_code(err, "bad_form");
    return enso_error_set(err, ENSO_INVALID, "multipart/form-data: %s", what);
}

enum enso_status enso_multipart_begin(struct enso_multipart *m, const char *content_type,
                                      const uint8_t *body, size_t size, struct enso_error *err)
{
    const char *p = strcasestr(content_type, "boundary=");
    size_t n;

    if (p == NULL)
        return broken(err, "the Content-Type has no boundary");
    p += strlen("boundary=");
    if (*p == '"') {
        p++;
        n = strcspn(p, "\"");
    } else {
        n = strcspn(p, "; \t");
    }
    if (n == 0 || n > ENSO_MULTIPART_MAX_BOUNDARY)
        return broken(err, "the boundary must have 1 to 70 characters");
    *m = (struct enso_multipart){.at = body, .left = size, .boundary_size = n + 2};
    memcpy(m->boundary, "--", 2);
    memcpy(m->boundary + 2, p, n);
    if (size < m->boundary_size || memcmp(body, m->boundary, m->boundary_size) != 0)
        return broken(err, "the body does not begin with the boundary");
    m->at += m->boundary_size;
    m->left -= m->boundary_size;
    return ENSO_OK;
}

/* name="..." of the Content-Disposition among a part's headers. */
static enum enso_status read_name(const char *headers, size_t size, struct enso_part *part,
                                  struct enso_error *err)
{
    const char *end = headers + size;

    for (const char *line = headers; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t n = stop != NULL ? (size_t)(stop - line) : (size_t)(end - line);
        char text[2048]; /* file names may be long */

        if (n > 20 && n < sizeof text && strncasecmp(line, "Content-Disposition:", 20) == 0) {
            const char *p;

            memcpy(text, line, n);
            text[n] = '\0';
            for (p = text; (p = strstr(p, "name=\"")) != NULL; p++)
                if (p[-1] == ' ' || p[-1] == ';') /* not filename= */
                    break;
            if (p != NULL && (n = strcspn(p + 6, "\"")) < sizeof part->name && p[6 + n] == '"') {
                memcpy(part->name, p + 6, n);
                part->name[n] = '\0';
                return ENSO_OK;
            }
        }
        line = stop != NULL ? stop + 1 : end;
    }
    return broken(err, "a part has no Content-Disposition with a name of at most 63 characters");
}

enum enso_status enso_multipart_next(struct enso_multipart *m, struct enso_part *part,
                                     struct enso_error *err)
{
    const uint8_t *head_end, *next;
    char mark[sizeof m->boundary + 2];
    size_t head;
    enum enso_status st;

    *part = (struct enso_part){.data = NULL};
    if (m->left >= 2 && memcmp(m->at, "--", 2) == 0)
        return ENSO_OK;
    if (m->left < 2 || memcmp(m->at, "\r\n", 2) != 0)
        return broken(err, "the body breaks off after a boundary");
    if (++m->n_parts > ENSO_MULTIPART_MAX_PARTS)
        return broken(err, "more than 4096 parts");
    head_end = memmem(m->at, ENSO_MIN(m->left, (size_t)MAX_PART_HEADERS), "\r\n\r\n", 4);
    if (head_end == NULL)
        return broken(err, "a part's headers do not end within 4096 bytes");
    head = (size_t)(head_end - m->at);
    st = read_name((const char *)m->at + 2, head > 2 ? head - 2 : 0, part, err);
    if (st != ENSO_OK)
        return st;
    m->left -= head + 4;
    m->at = head_end + 4;
    memcpy(mark, "\r\n", 2);
    memcpy(mark + 2, m->boundary, m->boundary_size);
    next = memmem(m->at, m->left, mark, m->boundary_size + 2);
    if (next == NULL)
        return broken(err, "the last part is not closed by the boundary; is the body cut off?");
    part->data = m->at;
    part->size = (size_t)(next - m->at);
    m->left -= part->size + m->boundary_size + 2;
    m->at = next + m->boundary_size + 2;
    return ENSO_OK;
}
