/* SPDX-License-Identifier: Apache-2.0
 *
 * SIGHUP: the configuration is read again, from the same command line, environment and file, and
 * what may change while running is taken over (the table in config/options.c says which). A file
 * that is wrong changes nothing. The rest, models among it, waits for a restart, which the log
 * says.
 */
#ifndef ENSO_SERVER_RELOAD_H
#define ENSO_SERVER_RELOAD_H

#include "config/config.h"

struct enso_http;

/* Where the configuration came from; all borrowed. */
struct enso_reload_source {
    int argc;
    char *const *argv;
};

/* On the loop's thread. `config` is the running one. Says in the log what it did; never fails
 * otherwise. The access log's file is opened anew in any case (logrotate). */
void enso_reload(const struct enso_reload_source *source, struct enso_config *config,
                 struct enso_http *http);

#endif
