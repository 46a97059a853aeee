/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole daemon put together: from a checked configuration to a running loop and back.
 */
#ifndef ENSO_SERVER_DAEMON_H
#define ENSO_SERVER_DAEMON_H

#include "base/error.h"
#include "config/config.h"

/* Serve until SIGTERM or SIGINT and a drain (a second signal ends at once), then return ENSO_OK.
 * A failure to start (port in use, a model of the command line that cannot load) is an error with
 * its sentence. Blocks; call once, from main. */
int enso_daemon_run(const struct enso_config *config, struct enso_error *err);

/* ensod --check DIR: load the model, print what it is to stdout. */
int enso_daemon_check_model(const struct enso_config *config, struct enso_error *err);

#endif
