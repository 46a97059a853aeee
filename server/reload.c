/* SPDX-License-Identifier: Apache-2.0
 *
 * SIGHUP: see reload.h. The options that may change are read by the loop's thread only (deadlines,
 * time limits, drain) or are the log's own, so no lock is needed. The file is at most 1 MiB, read
 * while nothing else runs on the loop: a millisecond, on a signal that comes once a day.
 */
#include "ensod_build.h"

#include "server/reload.h"

#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/http.h"

static void on_changed(const char *section, const char *key, bool is_reloadable,
                       const char *old_value, const char *new_value, void *context)
{
    (void)context;
    if (is_reloadable)
        enso_log(ENSO_LOG_NOTICE, "configuration changed", "section=%s key=%s old=%s new=%s",
                 section, key, old_value, new_value);
    else
        enso_log(ENSO_LOG_WARNING, "this change needs a restart",
                 "section=%s key=%s running=%s file=%s", section, key, old_value, new_value);
}

static void reopen_access_log(const char *destination)
{
    struct enso_error err = {0};

    if (enso_log_access_open(destination, &err) != ENSO_OK)
        enso_log_failure(ENSO_LOG_ERROR, "the access log stays where it was", &err);
}

void enso_reload(const struct enso_reload_source *source, struct enso_config *config,
                 struct enso_http *http)
{
    struct enso_http_options limits = {0};
    struct enso_config fresh;
    struct enso_error err = {0};

    if (enso_config_load(source->argc, source->argv, environ, &fresh, &err) != ENSO_OK) {
        enso_log_failure(ENSO_LOG_ERROR, "the configuration stays as it was", &err);
        reopen_access_log(config->access_log);
        return;
    }
    if (enso_config_take_over(config, &fresh, on_changed, NULL, &err) != ENSO_OK)
        enso_log_failure(ENSO_LOG_ERROR, "the configuration was taken over in part", &err);
    enso_config_done(&fresh);
    reopen_access_log(config->access_log);
    enso_log_set_level((enum enso_log_level)config->log_level);
    limits.header_timeout_ms = (unsigned)(config->header_timeout_ns / ENSO_NS_PER_MS);
    limits.body_timeout_ms = (unsigned)(config->body_timeout_ns / ENSO_NS_PER_MS);
    limits.idle_timeout_ms = (unsigned)(config->idle_timeout_ns / ENSO_NS_PER_MS);
    limits.write_timeout_ms = (unsigned)(config->write_timeout_ns / ENSO_NS_PER_MS);
    enso_http_set_timeouts(http, &limits);
    enso_log(ENSO_LOG_NOTICE, "configuration read again", "file=%s",
             config->config_file != NULL ? config->config_file : "none");
}
