/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's functions that this module uses, under their own names: each forwards to the table
 * that the module got at its entry (engine/host.h). So the module links nothing of the daemon, and
 * its code reads as if it did. All are hidden: they meet no symbol of the daemon.
 */
#include "ensod_build.h"

#include "kernels/cuda/module.h"

#include <stdio.h>

static const struct enso_host *host;

void enso__host_use(const struct enso_host *given)
{
    host = given;
}

#define ENSO_HOST_CALL(returns, name, parameters, arguments)                                       \
    returns name parameters                                                                        \
    {                                                                                              \
        return host->name arguments;                                                               \
    }
ENSO_HOST_LIST(ENSO_HOST_CALL)

enum enso_status enso_error_set(struct enso_error *err, enum enso_status status, const char *format,
                                ...)
{
    va_list args;

    va_start(args, format);
    enum enso_status st = enso_error_vset(err, status, format, args);
    va_end(args);
    return st;
}

void enso_log(enum enso_log_level level, const char *event, const char *format, ...)
{
    char detail[512];
    va_list args;

    va_start(args, format);
    vsnprintf(detail, sizeof(detail), format, args);
    va_end(args);
    host->log(level, event, detail);
}
