/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole daemon put together: from a checked configuration to a running loop and back.
 */
#ifndef ENSO_SERVER_DAEMON_H
#define ENSO_SERVER_DAEMON_H

#include <stdbool.h>

#include "base/error.h"
#include "config/config.h"
#include "server/reload.h"

/* Serve until SIGTERM or SIGINT and a drain (a second signal ends at once), then return ENSO_OK.
 * A failure to start (port in use, a model of the command line that cannot load) is an error with
 * its sentence. Blocks; call once, from main. SIGHUP reads the configuration again from `source`,
 * into config, see reload.h.
 * A device that is lost ends it like SIGTERM (on_device_lost = exit), and is the error then.
 * *ret_leave true: the end came in the middle of loading a model, which cannot be broken off and
 * may take long, or a lane did not come to an end, or there is a lost device, whose driver may
 * never answer again. Threads still run and read config, so the caller ends the process by _exit.
 */
int enso_daemon_run(struct enso_config *config, const struct enso_reload_source *source,
                    bool *ret_leave, struct enso_error *err);

/* ensod --check DIR: load the model, print what it is to stdout. */
int enso_daemon_check_model(const struct enso_config *config, struct enso_error *err);

/* ensod --tune [DIR...]: time the models' matrix products on the GPU, print a table to stdout, keep
 * the fastest in the state directory. */
int enso_daemon_tune(const struct enso_config *config, struct enso_error *err);

#endif
