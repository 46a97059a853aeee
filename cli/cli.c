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
    (void)fflush(stdout); /* what was printed before comes first; enso_cli_finish looks at it */
    (void)fprintf(stderr, "enso %s: %s", command, err->message);
    if (err->param[0] != '\0')
        (void)fprintf(stderr, " (at %s)", err->param);
    (void)fputc('\n', stderr);
    return strcmp(err->code, "usage") == 0 ? ENSO_EXIT_USAGE : ENSO_EXIT_FAILURE;
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
