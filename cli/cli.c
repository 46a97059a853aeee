/* SPDX-License-Identifier: Apache-2.0
 *
 * How a subcommand ends: see cli.h.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

int enso_cli_fail(const char *command, const struct enso_error *err)
{
    struct enso_error shown = *err;

    enso_cli_clean(shown.message);
    enso_cli_clean(shown.param);
    (void)fflush(stdout); /* what was printed before comes first; enso_cli_finish looks at it */
    (void)fprintf(stderr, "enso %s: %s", command, shown.message);
    if (shown.param[0] != '\0')
        (void)fprintf(stderr, " (at %s)", shown.param);
    (void)fputc('\n', stderr);
    return strcmp(err->code, "usage") == 0 ? ENSO_EXIT_USAGE : ENSO_EXIT_FAILURE;
}

void enso_cli_clean(char *text)
{
    size_t left = strlen(text), n;

    for (unsigned char *c = (unsigned char *)text; left != 0; c += n, left -= n) {
        n = enso_utf8_length((const char *)c, left);
        if (n == 0 || *c < 0x20 || *c == 0x7f) {
            *c = '?';
            n = 1;
        } else if (*c == 0xc2 && c[1] < 0xa0) { /* C1 */
            c[0] = c[1] = '?';
        }
    }
}

void enso_cli_cut(char *ret, size_t capacity, const char *text)
{
    size_t n = strlen(text);

    if (n < capacity) {
        memcpy(ret, text, n + 1);
        return;
    }
    n = capacity - 3;
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80)
        n--;
    memcpy(ret, text, n);
    memcpy(ret + n, "..", 3);
}

int enso_cli_finish(const char *command, int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    (void)fprintf(stderr, "%s: the output could not be written: %s\n", command,
                  errno != 0 ? strerror(errno) : "an earlier write failed");
    return status != ENSO_EXIT_OK ? status : ENSO_EXIT_FAILURE;
}
