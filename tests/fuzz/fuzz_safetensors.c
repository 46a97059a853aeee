/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as a safetensors file (in memory, opened through /proc/self/fd). Whatever
 * is accepted must keep its promises: every tensor inside the file, of the size its shape says.
 */
#include "ensod_build.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engine/formats/safetensors.h"
#include "engine/formats/weights_file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_all(const struct enso_safetensors *st)
{
    for (size_t i = 0; i < enso_safetensors_count(st); i++) {
        struct enso_constant c;
        const char *name;
        int64_t count;

        enso_safetensors_at(st, i, &name, &c);
        if (!enso_safetensors_find(st, name, &c) || !enso_dims_count(c.dims, c.rank, &count) ||
            c.offset + enso_dtype_row_bytes(c.stored, (size_t)count) >
                enso_weights_file_size(c.file))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    struct enso_safetensors *st;

    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    if (enso_safetensors_open(path, &st, NULL) == ENSO_OK) {
        check_all(st);
        enso_safetensors_close(st);
    }
    return 0;
}
