/* SPDX-License-Identifier: Apache-2.0
 *
 * How a subcommand ends: see cli.h.
 */
#include "cli/cli.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

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
    for (unsigned char *c = (unsigned char *)text; *c != '\0'; c++) {
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
        else if (*c == 0xc2 && c[1] >= 0x80 && c[1] < 0xa0) /* C1, in UTF-8 */
            c[0] = c[1] = '?';
    }
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
