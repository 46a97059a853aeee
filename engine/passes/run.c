/* SPDX-License-Identifier: Apache-2.0
 *
 * The standard list of passes, to a fixed point. Every pass only ever removes, joins or moves
 * things towards outputs, so that rounds end; the bound on rounds is for our own mistakes.
 */
#include "engine/passes/passes.h"

#define MAX_ROUNDS 20

typedef int (*pass_fn)(struct enso_graph *g, bool *ret_changed, struct enso_error *err);

static int round_of(struct enso_graph *g, const struct enso_backend *backend, const pass_fn *passes,
                    bool *ret_changed, struct enso_error *err)
{
    bool changed;
    int st = enso_pass_fold_constants(g, backend, ret_changed, err);

    for (size_t i = 0; st == ENSO_OK && passes[i] != NULL; i++) {
        st = passes[i](g, &changed, err);
        *ret_changed |= changed;
    }
    return st;
}

static int until_settled(struct enso_graph *g, const struct enso_backend *backend,
                         const pass_fn *passes, struct enso_error *err)
{
    bool changed = true;
    int st = ENSO_OK;

    for (int i = 0; st == ENSO_OK && changed && i < MAX_ROUNDS; i++)
        st = round_of(g, backend, passes, &changed, err);
    return st;
}

int enso_passes_run_on(struct enso_graph *g, const struct enso_backend *backend,
                       struct enso_error *err)
{
    /* before anything is folded: weights behind a transpose or a cast stay where they are */
    static const pass_fn first[] = {enso_pass_detach_shapes, enso_pass_fold_views,
                                    enso_pass_fuse_linear, enso_pass_remove_dead};
    /* norms before linear: a sum before a norm belongs to the norm */
    static const pass_fn plain[] = {
        enso_pass_detach_shapes,    enso_pass_remove_identity, enso_pass_remove_dead,
        enso_pass_fuse_activations, enso_pass_fuse_layer_norm, enso_pass_lift_over_pool,
        enso_pass_fold_batch_norm,  enso_pass_fuse_linear,     NULL};
    static const pass_fn laid_out[] = {enso_pass_remove_identity,
                                       enso_pass_remove_dead,
                                       enso_pass_fuse_pixels,
                                       enso_pass_fold_batch_norm,
                                       enso_pass_fuse_conv,
                                       enso_pass_fuse_linear,
                                       NULL};
    bool changed;
    int st = enso_graph_infer(g, err);

    for (size_t i = 0; st == ENSO_OK && i < ENSO_ARRAY_SIZE(first); i++)
        st = first[i](g, &changed, err);
    if (st == ENSO_OK)
        st = until_settled(g, backend, plain, err);
    if (st == ENSO_OK)
        st = enso_pass_layout(g, &changed, err);
    if (st == ENSO_OK)
        st = until_settled(g, backend, laid_out, err);
    if (st == ENSO_OK)
        st = enso_pass_view_transposes(g, &changed, err);
    if (st == ENSO_OK && changed)
        st = until_settled(g, backend, laid_out, err);
    if (st == ENSO_OK)
        st = enso_pass_plain_conv(g, &changed, err);
    if (st == ENSO_OK)
        st = enso_pass_fuse_gather(g, &changed, err);
    return st;
}
