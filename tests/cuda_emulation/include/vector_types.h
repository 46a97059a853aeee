/* SPDX-License-Identifier: Apache-2.0
 *
 * The emulation's shadow of CUDA's header of the same name: small vectors with CUDA's alignment,
 * and the sizes of grids and blocks.
 */
#ifndef ENSO_EMULATED_VECTOR_TYPES_H
#define ENSO_EMULATED_VECTOR_TYPES_H

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
#ifdef __cplusplus
    constexpr dim3(unsigned vx = 1, unsigned vy = 1, unsigned vz = 1) : x(vx), y(vy), z(vz)
    {
    }
#endif
};

#if defined(__cplusplus) && defined(ENSO_EMULATED_TRACED)
/* Copied by one access, as cards do it, and not member by member: trace.cpp sees the width. */
template <int bytes> static inline void enso_emulated_copy(void *to, const void *from)
{
    typedef char words __attribute__((vector_size(bytes), may_alias));

    *static_cast<volatile words *>(to) = *static_cast<const volatile words *>(from);
}
#define ENSO_EMULATED_WHOLE(name, bytes)                                                           \
    name() = default;                                                                              \
    name(const name &other)                                                                        \
    {                                                                                              \
        enso_emulated_copy<bytes>(this, &other);                                                   \
    }                                                                                              \
    name &operator=(const name &other)                                                             \
    {                                                                                              \
        enso_emulated_copy<bytes>(this, &other);                                                   \
        return *this;                                                                              \
    }
#define ENSO_EMULATED_WHOLE_2(name, item, bytes)                                                   \
    name(item vx, item vy) : x(vx), y(vy)                                                          \
    {                                                                                              \
    }                                                                                              \
    ENSO_EMULATED_WHOLE(name, bytes)
#define ENSO_EMULATED_WHOLE_4(name, item, bytes)                                                   \
    name(item vx, item vy, item vz, item vw) : x(vx), y(vy), z(vz), w(vw)                          \
    {                                                                                              \
    }                                                                                              \
    ENSO_EMULATED_WHOLE(name, bytes)
#else
#define ENSO_EMULATED_WHOLE_2(name, item, bytes)
#define ENSO_EMULATED_WHOLE_4(name, item, bytes)
#endif

struct __attribute__((aligned(4))) uchar4 {
    unsigned char x, y, z, w;
    ENSO_EMULATED_WHOLE_4(uchar4, unsigned char, 4)
};
struct __attribute__((aligned(8))) int2 {
    int x, y;
    ENSO_EMULATED_WHOLE_2(int2, int, 8)
};
struct __attribute__((aligned(16))) int4 {
    int x, y, z, w;
    ENSO_EMULATED_WHOLE_4(int4, int, 16)
};
struct __attribute__((aligned(8))) uint2 {
    unsigned x, y;
    ENSO_EMULATED_WHOLE_2(uint2, unsigned, 8)
};
struct __attribute__((aligned(16))) uint4 {
    unsigned x, y, z, w;
    ENSO_EMULATED_WHOLE_4(uint4, unsigned, 16)
};
struct __attribute__((aligned(8))) float2 {
    float x, y;
    ENSO_EMULATED_WHOLE_2(float2, float, 8)
};
struct __attribute__((aligned(16))) float4 {
    float x, y, z, w;
    ENSO_EMULATED_WHOLE_4(float4, float, 16)
};
struct __attribute__((aligned(16))) double2 {
    double x, y;
    ENSO_EMULATED_WHOLE_2(double2, double, 16)
};

#ifndef __cplusplus
typedef struct uint3 uint3;
typedef struct dim3 dim3;
typedef struct uchar4 uchar4;
typedef struct int2 int2;
typedef struct int4 int4;
typedef struct uint2 uint2;
typedef struct uint4 uint4;
typedef struct float2 float2;
typedef struct float4 float4;
typedef struct double2 double2;
#endif

#endif
