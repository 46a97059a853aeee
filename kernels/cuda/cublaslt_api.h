/* SPDX-License-Identifier: Apache-2.0
 *
 * What we use of cuBLASLt, NVIDIA's library of matrix products, declared by ourselves: the module
 * is built without its headers and runs without the library. Values and layouts are those of
 * cublasLt.h of CUDA 12 and 13 (tests/kernels/check_cublaslt_api.c compares them where that header
 * is); both versions agree in all that is here. Descriptors come from the library's Create calls
 * alone: their sizes differ between versions.
 *
 * The library thinks in columns: a matrix of r rows and c columns has element (i, j) at i + j·ld.
 */
#ifndef ENSO_KERNELS_CUDA_CUBLASLT_API_H
#define ENSO_KERNELS_CUDA_CUBLASLT_API_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Versions are major · 10000 + minor · 100 + patch. */
#define ENSO__CUBLASLT_OLDEST 120000
#define ENSO__CUBLASLT_NEWEST 139999

/* cublasStatus_t */
enum {
    ENSO__LT_SUCCESS = 0,
    ENSO__LT_NOT_INITIALIZED = 1,
    ENSO__LT_ALLOC_FAILED = 3,
    ENSO__LT_INVALID_VALUE = 7,
    ENSO__LT_ARCH_MISMATCH = 8,
    ENSO__LT_EXECUTION_FAILED = 13,
    ENSO__LT_INTERNAL_ERROR = 14,
    ENSO__LT_NOT_SUPPORTED = 15
};

/* cudaDataType_t, cublasComputeType_t, cublasOperation_t */
enum { ENSO__LT_R_32F = 0, ENSO__LT_R_16F = 2, ENSO__LT_R_16BF = 14 };
enum { ENSO__LT_COMPUTE_32F = 68 };
enum { ENSO__LT_OP_N = 0, ENSO__LT_OP_T = 1 };

/* cublasLtMatmulDescAttributes_t; what each is */
enum {
    ENSO__LT_DESC_TRANSA = 3,         /* int32_t, an operation */
    ENSO__LT_DESC_TRANSB = 4,         /* int32_t */
    ENSO__LT_DESC_EPILOGUE = 7,       /* uint32_t */
    ENSO__LT_DESC_BIAS_POINTER = 8,   /* const void * in device memory, an entry per row of D */
    ENSO__LT_DESC_BIAS_DATA_TYPE = 26 /* int32_t */
};

/* cublasLtMatrixLayoutAttribute_t */
enum {
    ENSO__LT_LAYOUT_TYPE = 0, /* uint32_t */
    ENSO__LT_LAYOUT_ROWS = 2, /* uint64_t */
    ENSO__LT_LAYOUT_COLS = 3, /* uint64_t */
    ENSO__LT_LAYOUT_LD = 4    /* int64_t, in elements */
};

/* cublasLtMatmulPreferenceAttributes_t */
enum {
    ENSO__LT_PREF_MAX_WORKSPACE_BYTES = 1,   /* uint64_t */
    ENSO__LT_PREF_REDUCTION_SCHEME_MASK = 3, /* uint32_t; 0: no sum is cut along K */
    ENSO__LT_PREF_MIN_ALIGNMENT_A_BYTES = 5, /* uint32_t; B, C, D follow */
    ENSO__LT_PREF_MIN_ALIGNMENT_B_BYTES = 6,
    ENSO__LT_PREF_MIN_ALIGNMENT_C_BYTES = 7,
    ENSO__LT_PREF_MIN_ALIGNMENT_D_BYTES = 8
};

/* cublasLtEpilogue_t. Its GELU is the tanh form. */
enum {
    ENSO__LT_EPILOGUE_DEFAULT = 1,
    ENSO__LT_EPILOGUE_RELU = 2,
    ENSO__LT_EPILOGUE_BIAS = 4,
    ENSO__LT_EPILOGUE_RELU_BIAS = 6,
    ENSO__LT_EPILOGUE_GELU = 32,
    ENSO__LT_EPILOGUE_GELU_BIAS = 36
};

/* cublasLtMatmulAlgoConfigAttributes_t */
enum {
    ENSO__LT_CONFIG_ID = 0,               /* int32_t */
    ENSO__LT_CONFIG_TILE_ID = 1,          /* uint32_t */
    ENSO__LT_CONFIG_SPLITK_NUM = 2,       /* int32_t; 0 and 1: not split */
    ENSO__LT_CONFIG_REDUCTION_SCHEME = 3, /* uint32_t */
    ENSO__LT_CONFIG_STAGES_ID = 6         /* uint32_t */
};

/* cublasLtMatmulAlgo_t: may be stored as bytes and used again with the very same version. */
struct enso__lt_algorithm {
    uint64_t data[8];
};

/* cublasLtMatmulHeuristicResult_t */
struct enso__lt_answer {
    struct enso__lt_algorithm algorithm;
    size_t workspace_bytes;
    int status; /* the rest counts only with ENSO__LT_SUCCESS */
    float waves;
    int reserved[4];
};

struct enso__lt_handle;
struct enso__lt_desc;
struct enso__lt_layout;
struct enso__lt_preference;
struct CUstream_st;

/* X(what it returns, name behind "cublasLt", parameters). A product is D = epilogue(alpha · op(A) ·
 * op(B) + beta · C + bias); alpha and beta are read by the call, from host memory. */
#define ENSO__CUBLASLT_LIST(X)                                                                     \
    X(size_t, GetVersion, (void))                                                                  \
    X(const char *, GetStatusString, (int status))                                                 \
    X(int, Create, (struct enso__lt_handle * *ret))                                                \
    X(int, Destroy, (struct enso__lt_handle * handle))                                             \
    X(int, MatmulDescCreate, (struct enso__lt_desc * *ret, int compute_type, int scale_type))      \
    X(int, MatmulDescDestroy, (struct enso__lt_desc * desc))                                       \
    X(int, MatmulDescSetAttribute,                                                                 \
      (struct enso__lt_desc * desc, int attribute, const void *value, size_t size_bytes))          \
    X(int, MatrixLayoutCreate,                                                                     \
      (struct enso__lt_layout * *ret, int type, uint64_t rows, uint64_t cols, int64_t ld))         \
    X(int, MatrixLayoutDestroy, (struct enso__lt_layout * layout))                                 \
    X(int, MatrixLayoutSetAttribute,                                                               \
      (struct enso__lt_layout * layout, int attribute, const void *value, size_t size_bytes))      \
    X(int, MatmulPreferenceCreate, (struct enso__lt_preference * *ret))                            \
    X(int, MatmulPreferenceDestroy, (struct enso__lt_preference * preference))                     \
    X(int, MatmulPreferenceSetAttribute,                                                           \
      (struct enso__lt_preference * preference, int attribute, const void *value,                  \
       size_t size_bytes))                                                                         \
    X(int, MatmulAlgoGetHeuristic,                                                                 \
      (struct enso__lt_handle * handle, struct enso__lt_desc * desc, struct enso__lt_layout * a,   \
       struct enso__lt_layout * b, struct enso__lt_layout * c, struct enso__lt_layout * d,         \
       struct enso__lt_preference * preference, int n_wanted, struct enso__lt_answer *ret,         \
       int *ret_n))                                                                                \
    X(int, MatmulAlgoCheck,                                                                        \
      (struct enso__lt_handle * handle, struct enso__lt_desc * desc, struct enso__lt_layout * a,   \
       struct enso__lt_layout * b, struct enso__lt_layout * c, struct enso__lt_layout * d,         \
       const struct enso__lt_algorithm *algorithm, struct enso__lt_answer *ret))                   \
    X(int, MatmulAlgoConfigGetAttribute,                                                           \
      (const struct enso__lt_algorithm *algorithm, int attribute, void *ret, size_t size_bytes,    \
       size_t *ret_written))                                                                       \
    X(int, Matmul,                                                                                 \
      (struct enso__lt_handle * handle, struct enso__lt_desc * desc, const void *alpha,            \
       const void *a, struct enso__lt_layout *a_layout, const void *b,                             \
       struct enso__lt_layout *b_layout, const void *beta, const void *c,                          \
       struct enso__lt_layout *c_layout, void *d, struct enso__lt_layout *d_layout,                \
       const struct enso__lt_algorithm *algorithm, void *workspace, size_t workspace_bytes,        \
       struct CUstream_st *stream))

/* A loaded library: its functions under their names without the prefix. */
struct enso__cublaslt_library {
#define ENSO__CUBLASLT_MEMBER(returns, name, parameters) returns(*name) parameters;
    ENSO__CUBLASLT_LIST(ENSO__CUBLASLT_MEMBER)
#undef ENSO__CUBLASLT_MEMBER
    size_t version;
    char path[512]; /* the file that it came from, cut */
};

/* ---- cublaslt_load.c ---- */

/* Load one library: a path, or a name for the system's loader. It stays for the life of the
 * process. Errors: ENSO_NOT_FOUND (no such file; the loader knows no such name), ENSO_UNAVAILABLE
 * (it cannot be loaded, lacks a function, is too old or too new); each sentence names the path. */
int enso__cublaslt_load(const char *path, struct enso__cublaslt_library *ret,
                        struct enso_error *err) ENSO_MUST_CHECK;

/* The i-th place where a library may be, best first: names for the system's loader, then files that
 * exist below the folders. Folders are patterns as of glob(3), in which a leading $NAME stands for
 * an environment variable; NULL at the end. The caller's to enso_free; NULL past the last, or when
 * out of memory. */
char *enso__cublaslt_candidate(const char *const *folders, size_t i) ENSO_MUST_CHECK;

/* The folders of toolkits and of Python packages, and the one this module lies in; the same in
 * short, for messages. */
#define ENSO__CUBLASLT_PLACES "/usr/local/cuda*/lib64, Python's site-packages/nvidia/*/lib"
const char *const *enso__cublaslt_folders(void);

#endif
