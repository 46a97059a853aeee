/* SPDX-License-Identifier: Apache-2.0
 *
 * A window of known shape as the kernels of pools and convolutions take it.
 */
#ifndef ENSO_KERNELS_CUDA_NODE_WINDOW_H
#define ENSO_KERNELS_CUDA_NODE_WINDOW_H

#include "kernels/cuda/launch_network.h"
#include "kernels/nodes/window.h"

/* False when a place or a count of it needs more than 31 bits, in which kernels compute. */
bool enso__cuda_window(const struct enso__window *w, struct enso_cuda_window *ret) ENSO_MUST_CHECK;

#endif
