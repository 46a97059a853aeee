/* SPDX-License-Identifier: Apache-2.0
 *
 * What the daemon lends to modules: see host.h.
 */
#include "engine/host.h"

#include "engine/backend.h"

static void log_event(enum enso_log_level level, const char *event, const char *detail)
{
    enso_log(level, event, "detail=%s", detail);
}

const struct enso_host *enso_host(void)
{
    static const struct enso_host host = {
        .abi = ENSO_BACKEND_ABI,
        .layout = ENSO_BACKEND_LAYOUT,
        .signature = ENSO_HOST_SIGNATURE,
#define ENSO_HOST_VALUE(returns, name, parameters, arguments) .name = name,
        ENSO_HOST_LIST(ENSO_HOST_VALUE)
#undef ENSO_HOST_VALUE
            .log = log_event,
    };

    return &host;
}
