/* SPDX-License-Identifier: Apache-2.0
 *
 * Choosing a device: see device.h.
 */
#include "server/device.h"

#include <string.h>

#include "base/log.h"

static const char *isa_name(int isa)
{
    switch ((enum enso_config_isa)isa) {
    case ENSO_CONFIG_ISA_GENERIC:
        return "generic";
    case ENSO_CONFIG_ISA_AVX2:
        return "avx2";
    case ENSO_CONFIG_ISA_AUTO:
        break;
    }
    return "auto";
}

int enso_device_choose(const struct enso_config *config, struct enso_device_choice *ret,
                       struct enso_error *err)
{
    struct enso_device_options options = {
        .name = "cpu", .n_threads = (unsigned)config->threads, .isa = isa_name(config->isa)};
    struct enso_device_info info;
    int st;

    if (strncmp(config->device, "cuda", 4) == 0)
        return enso_error_set(err, ENSO_UNSUPPORTED,
                              "device '%s' was asked for, but this build of ensod has no GPU "
                              "module; use --device cpu or auto",
                              config->device);
    ret->backend = enso_backend_cpu();
    st = ret->backend->device_open(&options, &ret->device, err);
    if (st != ENSO_OK)
        return st;
    ret->backend->device_info(ret->device, &info);
    enso_log(ENSO_LOG_NOTICE, "device open", "device=%s kind=%s threads=%u", info.name,
             info.description, info.n_threads);
    return ENSO_OK;
}

void enso_device_close(struct enso_device_choice *choice)
{
    if (choice->device != NULL)
        choice->backend->device_close(choice->device);
    choice->device = NULL;
}
