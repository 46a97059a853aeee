/* SPDX-License-Identifier: Apache-2.0
 *
 * libFuzzer: any bytes as an ONNX model, and as a tensor file (in memory, opened through
 * /proc/self/fd). Whatever is accepted is sorted, has shapes and constants that can be read.
 */
#include "ensod_build.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/memory.h"
#include "engine/formats/onnx.h"
#include "engine/graph/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_graph(const struct enso_graph *g)
{
    size_t n;
    int *order;

    if (enso_graph_sort(g, &order, &n, NULL) != ENSO_OK)
        abort();
    for (size_t i = 0; i < n; i++) {
        const struct enso_node *node = enso_graph_node(g, order[i]);

        for (size_t k = 0; k < node->n_outputs; k++)
            if (!enso_graph_value(g, node->outputs[k])->has_shape)
                abort();
    }
    enso_free(order);
    for (size_t i = 0; i < enso_graph_n_values(g); i++) {
        const struct enso_constant *c = enso_graph_value(g, (int)i)->constant;
        char first[8];

        if (c != NULL && enso_constant_count(c) > 0 &&
            (enso_constant_read(c, 0, 1, first, NULL) != ENSO_OK ||
             enso_constant_read(c, enso_constant_count(c) - 1, 1, first, NULL) != ENSO_OK))
            abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    static char path[64];
    struct enso_graph *g;
    struct enso_tensor t;

    if (fd < 0) {
        fd = memfd_create("fuzz", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        abort();
    if (enso_onnx_load(path, NULL, &g, NULL) == ENSO_OK) {
        check_graph(g);
        enso_graph_destroy(g);
    }
    if (enso_onnx_load_tensor(path, &t, NULL, NULL) == ENSO_OK)
        enso_free(t.data);
    return 0;
}
