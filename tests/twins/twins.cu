/* SPDX-License-Identifier: Apache-2.0
 *
 * A kernel for each instruction: see twins.h.
 */
#include "kernels/cuda/ptx.cuh"

#include "tests/twins/twins.h"

enum ldmatrix_kind { X4, X4_TRANS, X2, X2_TRANS };

template <int KIND> static __global__ void load_fragments(const uint32_t *in, uint32_t *out)
{
    ENSO_SHARED(uint4, slots, TWINS_LANES);
    const uint32_t *mine = in + threadIdx.x * TWINS_WORDS;
    uint32_t r[4] = {}, pair[2] = {};
    const uint4 *row = &slots[mine[4] % TWINS_LANES];

    slots[mine[4] % TWINS_LANES] = make_uint4(mine[0], mine[1], mine[2], mine[3]);
    __syncthreads();
    if constexpr (KIND == X4)
        enso_ldmatrix_x4(r, row);
    else if constexpr (KIND == X4_TRANS)
        enso_ldmatrix_x4_trans(r, row);
    else if constexpr (KIND == X2)
        enso_ldmatrix_x2(pair, row);
    else
        enso_ldmatrix_x2_trans(pair, row);
    if constexpr (KIND == X2 || KIND == X2_TRANS) {
        r[0] = pair[0];
        r[1] = pair[1];
    }
    for (int i = 0; i < 4; i++)
        out[threadIdx.x * TWINS_WORDS + i] = r[i];
}

template <typename T> static __global__ void multiply(const uint32_t *in, uint32_t *out)
{
    const uint32_t *mine = in + threadIdx.x * TWINS_WORDS;
    const uint32_t a[4] = {mine[0], mine[1], mine[2], mine[3]};
    float c[4];

    for (int i = 0; i < 4; i++)
        c[i] = __uint_as_float(mine[6 + i]);
    enso_mma<T>(c, a, mine[4], mine[5]);
    for (int i = 0; i < 4; i++)
        out[threadIdx.x * TWINS_WORDS + i] = __float_as_uint(c[i]);
}

/* Words of a lane stand 8 bytes apart from 16-byte places: the copy goes by way of one. */
template <int BYTES>
static __global__ void copy_words(const uint32_t *in, uint4 *aligned, uint32_t *out)
{
    ENSO_SHARED(uint4, slots, TWINS_LANES);
    const uint32_t *mine = in + threadIdx.x * TWINS_WORDS;

    aligned[threadIdx.x] = make_uint4(mine[0], mine[1], mine[2], mine[3]);
    slots[threadIdx.x] = make_uint4(1, 1, 1, 1);
    __threadfence();
    enso_cp_async<BYTES>(&slots[threadIdx.x], &aligned[threadIdx.x], mine[4] != 0);
    enso_cp_async_commit();
    enso_cp_async_wait<0>();
    __syncthreads();
    const uint4 v = slots[TWINS_LANES - 1 - threadIdx.x]; /* another thread's */
    uint32_t *to = out + (TWINS_LANES - 1 - threadIdx.x) * TWINS_WORDS;

    to[0] = v.x;
    to[1] = v.y;
    to[2] = v.z;
    to[3] = v.w;
}

static __global__ void power_of_two(const uint32_t *in, uint32_t *out)
{
    out[threadIdx.x * TWINS_WORDS] =
        __float_as_uint(enso_exp2(__uint_as_float(in[threadIdx.x * TWINS_WORDS])));
}

template <typename T> static __global__ void pack(const uint32_t *in, uint32_t *out)
{
    const uint32_t *mine = in + threadIdx.x * TWINS_WORDS;

    out[threadIdx.x * TWINS_WORDS] =
        enso_pack2<T>(__uint_as_float(mine[0]), __uint_as_float(mine[1]));
}

template <class... P, class... A>
static int one_warp(void (*kernel)(P...), cudaStream_t stream, A... arguments)
{
    return enso_launch(kernel, dim3(1), dim3(TWINS_LANES), 0, stream, arguments...);
}

/* The copies' source: behind the words of `out`, which has room for it. */
static uint4 *behind(uint32_t *out)
{
    return reinterpret_cast<uint4 *>(out + TWINS_LANES * TWINS_WORDS);
}

extern "C" int twins_launch(enum twins_which which, const uint32_t *in, uint32_t *out,
                            cudaStream_t stream)
{
    switch (which) {
    case TWINS_LDMATRIX_X4:
        return one_warp(load_fragments<X4>, stream, in, out);
    case TWINS_LDMATRIX_X4_TRANS:
        return one_warp(load_fragments<X4_TRANS>, stream, in, out);
    case TWINS_LDMATRIX_X2:
        return one_warp(load_fragments<X2>, stream, in, out);
    case TWINS_LDMATRIX_X2_TRANS:
        return one_warp(load_fragments<X2_TRANS>, stream, in, out);
    case TWINS_MMA_BF16:
        return one_warp(multiply<__nv_bfloat16>, stream, in, out);
    case TWINS_MMA_F16:
        return one_warp(multiply<__half>, stream, in, out);
    case TWINS_CP_ASYNC_16:
        return one_warp(copy_words<16>, stream, in, behind(out), out);
    case TWINS_CP_ASYNC_8:
        return one_warp(copy_words<8>, stream, in, behind(out), out);
    case TWINS_CP_ASYNC_4:
        return one_warp(copy_words<4>, stream, in, behind(out), out);
    case TWINS_EX2:
        return one_warp(power_of_two, stream, in, out);
    case TWINS_PACK_BF16:
        return one_warp(pack<__nv_bfloat16>, stream, in, out);
    case TWINS_PACK_F16:
        return one_warp(pack<__half>, stream, in, out);
    default:
        return cudaErrorInvalidValue;
    }
}
