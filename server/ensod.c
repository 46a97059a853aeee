/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's main(): read the configuration, do what the command line asks for.
 */
#include "ensod_build.h"

#include <stdio.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/file.h"
#include "config/config.h"
#include "server/daemon.h"

static int print_text(void (*write)(struct enso_buffer *b))
{
    struct enso_buffer b = ENSO_BUFFER_INIT;
    int rc = 1;

    write(&b);
    if (!b.failed)
        rc = fputs(b.data != NULL ? b.data : "", stdout) >= 0 ? 0 : 1;
    enso_buffer_done(&b);
    return rc;
}

static int run(struct enso_config *config, const struct enso_reload_source *source, bool *ret_leave,
               struct enso_error *err)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;

    switch (config->action) {
    case ENSO_CONFIG_SERVE:
        return enso_daemon_run(config, source, ret_leave, err);
    case ENSO_CONFIG_CHECK_MODEL:
        return enso_daemon_check_model(config, err);
    case ENSO_CONFIG_TUNE:
        return enso_daemon_tune(config, err);
    case ENSO_CONFIG_CHECK_CONFIG:
        enso_config_write(config, &b);
        if (b.failed || fputs(b.data != NULL ? b.data : "", stdout) < 0)
            (void)enso_error_set(err, ENSO_IO, "the configuration could not be printed");
        enso_buffer_done(&b);
        return err->status;
    case ENSO_CONFIG_HELP:
    case ENSO_CONFIG_VERSION:
        break;
    }
    return ENSO_OK;
}

int main(int argc, char *argv[])
{
    const struct enso_reload_source source = {argc, argv};
    struct enso_config config;
    struct enso_error err = {0};
    bool leave = false;
    int rc = 0;

    enso_file_fill_standard();
    if (enso_config_load(argc, argv, environ, &config, &err) != ENSO_OK) {
        (void)fprintf(stderr, "ensod: %s\n", err.message);
        return enso_config_exit_code(&err);
    }
    if (config.action == ENSO_CONFIG_HELP)
        rc = print_text(enso_config_write_help);
    else if (config.action == ENSO_CONFIG_VERSION)
        rc = puts("ensod " PACKAGE_VERSION) >= 0 ? 0 : 1;
    else if (run(&config, &source, &leave, &err) != ENSO_OK) {
        (void)fprintf(stderr, "ensod: %s\n", err.message);
        rc = 1;
    }
    if (leave)
        _exit(rc); /* see enso_daemon_run */
    enso_config_done(&config);
    return rc;
}
