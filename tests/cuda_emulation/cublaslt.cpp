/* SPDX-License-Identifier: Apache-2.0
 *
 * cuBLASLt as the emulation has it, libcublasLt-emulated.so: the functions of
 * kernels/cuda/cublaslt_api.h, for the types that we use. It refuses what the real library refuses
 * (types, shapes, leading dimensions, alignment, epilogues without their bias, a workspace that is
 * too small, an algorithm that nobody made) and computes in double, rounded once. A product is a
 * launch of one thread on the emulated stream, so that streams, poison and guard pages see it as
 * they see a kernel.
 *
 * Its algorithms differ in what they demand: tiles whose operands must be aligned to 16, 8 or 4
 * bytes, and some that split sums along K, which need a workspace, and whose parts are rounded to
 * float32 before they are added: so bits differ from a whole sum's. As the real heuristic does, it
 * likes split sums for few columns.
 *
 * ENSO_CUBLASLT_EMULATED_VERSION says what cublasLtGetVersion answers (default 130100). Every call
 * is one that ENSO_CUDA_EMULATED_FAIL counts (failing.cpp), but for setting attributes.
 * ENSO_CUBLASLT_EMULATED_DECLINES is a number of columns of D (our rows) for which cublasLtMatmul
 * answers NOT_SUPPORTED, whatever the heuristic said of other numbers.
 * enso_cublaslt_emulated_products() says how many products there were.
 */
/* Before CUDA's, whose macros they do not bear. */
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <atomic>
#include <vector>

#include "kernels/cuda/cublaslt_api.h"
#include "tests/cuda_emulation/door.h"

#include "cuda_bf16.h"
#include "cuda_fp16.h"

#define API extern "C" __attribute__((visibility("default")))

/* Kinds of handles, in their first word; 0 once destroyed. */
enum : uint32_t {
    HANDLE = 0x6c740001,
    DESC = 0x6c740002,
    LAYOUT = 0x6c740003,
    PREFERENCE = 0x6c740004
};

struct enso__lt_handle {
    uint32_t kind;
};

struct enso__lt_desc {
    uint32_t kind;
    int32_t compute_type, scale_type, op_a, op_b, bias_type;
    uint32_t epilogue;
    const void *bias;
};

struct enso__lt_layout {
    uint32_t kind, type;
    uint64_t rows, cols;
    int64_t ld;
};

struct enso__lt_preference {
    uint32_t kind, schemes, alignment[4];
    uint64_t workspace_bytes;
};

namespace
{
const struct enso_emulated_door *door;
std::atomic<unsigned long> n_products;

/* The emulator in the module whose code this address is. */
bool find_door(void *caller)
{
    Dl_info info;

    if (door != nullptr)
        return true;
    if (dladdr(caller, &info) == 0 || info.dli_fname == nullptr)
        return false;
    void *module = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (module == nullptr)
        return false;
    enso_emulated_door_fn fn =
        reinterpret_cast<enso_emulated_door_fn>(dlsym(module, "enso_emulated_door"));
    door = fn != nullptr ? fn() : nullptr;
    return door != nullptr;
}

/* The failure that a test asked for. */
int asked_failure(void)
{
    cudaError_t error = door != nullptr ? door->failure_now(false) : cudaSuccess;

    return error == cudaSuccess                 ? ENSO__LT_SUCCESS
           : error == cudaErrorMemoryAllocation ? ENSO__LT_ALLOC_FAILED
                                                : ENSO__LT_INTERNAL_ERROR;
}

template <class T> bool lives(const T *thing, uint32_t kind)
{
    return thing != nullptr && thing->kind == kind;
}

template <class T> int make(T **ret, const T &value)
{
    int failure = asked_failure();

    if (ret == nullptr)
        return ENSO__LT_INVALID_VALUE;
    *ret = nullptr;
    if (failure != ENSO__LT_SUCCESS)
        return failure;
    *ret = new T(value);
    return ENSO__LT_SUCCESS;
}

/* Destroys whatever a test wants to fail. */
template <class T> int unmake(T *thing, uint32_t kind)
{
    int failure = asked_failure();

    if (!lives(thing, kind))
        return ENSO__LT_INVALID_VALUE;
    thing->kind = 0;
    delete thing;
    return failure;
}

template <class T> int set(T *to, const void *value, size_t size_bytes)
{
    if (value == nullptr || size_bytes != sizeof(T))
        return ENSO__LT_INVALID_VALUE;
    memcpy(to, value, sizeof(T));
    return ENSO__LT_SUCCESS;
}

/* ---- algorithms ---- */

constexpr uint64_t MADE = 0x656e736f6c740001u;

struct kind_of_algorithm {
    uint32_t tile, stages, alignment;
    int32_t n_splits;
};

const kind_of_algorithm kinds[] = {
    {20, 4, 16, 1}, {23, 3, 16, 1}, {15, 6, 16, 1}, {15, 6, 16, 4},
    {18, 4, 16, 2}, {20, 3, 8, 1},  {15, 3, 4, 1},  {11, 2, 2, 1},
};
constexpr size_t N_KINDS = sizeof(kinds) / sizeof(kinds[0]);

struct problem {
    const struct enso__lt_desc *desc;
    const struct enso__lt_layout *a, *b, *c, *d;
    uint64_t inner;
};

/* data: MADE, kind, type of A, type of D */
struct enso__lt_algorithm algorithm_new(size_t kind, const problem &p)
{
    return {{MADE, kind, p.a->type, p.d->type, 0, 0, 0, 0}};
}

const kind_of_algorithm *kind_of(const struct enso__lt_algorithm *algorithm)
{
    if (algorithm == nullptr || algorithm->data[0] != MADE || algorithm->data[1] >= N_KINDS)
        return nullptr;
    return &kinds[algorithm->data[1]];
}

size_t element_bytes(uint32_t type)
{
    return type == ENSO__LT_R_32F ? 4 : 2;
}

uint64_t workspace_of(const kind_of_algorithm &kind, const problem &p)
{
    return kind.n_splits == 1 ? 0 : p.d->rows * p.d->cols * 4 * (uint64_t)kind.n_splits;
}

bool is_float_type(uint32_t type)
{
    return type == ENSO__LT_R_32F || type == ENSO__LT_R_16F || type == ENSO__LT_R_16BF;
}

bool is_supported_epilogue(uint32_t epilogue)
{
    return epilogue == ENSO__LT_EPILOGUE_DEFAULT || epilogue == ENSO__LT_EPILOGUE_RELU ||
           epilogue == ENSO__LT_EPILOGUE_BIAS || epilogue == ENSO__LT_EPILOGUE_RELU_BIAS ||
           epilogue == ENSO__LT_EPILOGUE_GELU || epilogue == ENSO__LT_EPILOGUE_GELU_BIAS;
}

bool is_sound(const struct enso__lt_layout *layout)
{
    return layout->rows > 0 && layout->cols > 0 && layout->ld > 0 &&
           (uint64_t)layout->ld >= layout->rows;
}

/* Types and shapes, without any address; fills p->inner. */
int check_problem(problem *p)
{
    if (!lives(p->desc, DESC) || !lives(p->a, LAYOUT) || !lives(p->b, LAYOUT) ||
        !lives(p->c, LAYOUT) || !lives(p->d, LAYOUT))
        return ENSO__LT_INVALID_VALUE;
    if (p->desc->compute_type != ENSO__LT_COMPUTE_32F || p->desc->scale_type != ENSO__LT_R_32F ||
        !is_float_type(p->a->type) || !is_float_type(p->d->type) || p->a->type != p->b->type ||
        p->c->type != p->d->type || (p->d->type != p->a->type && p->d->type != ENSO__LT_R_32F))
        return ENSO__LT_NOT_SUPPORTED;
    if (p->a->type == ENSO__LT_R_16BF && door->architecture() < 80)
        return ENSO__LT_ARCH_MISMATCH;
    if (!is_supported_epilogue(p->desc->epilogue))
        return ENSO__LT_NOT_SUPPORTED;
    if ((p->desc->epilogue & ENSO__LT_EPILOGUE_BIAS) != 0 && p->desc->bias_type != -1 &&
        (uint32_t)p->desc->bias_type != p->d->type)
        return ENSO__LT_NOT_SUPPORTED;
    if (!is_sound(p->a) || !is_sound(p->b) || !is_sound(p->c) || !is_sound(p->d))
        return ENSO__LT_INVALID_VALUE;
    bool a_turned = p->desc->op_a == ENSO__LT_OP_T, b_turned = p->desc->op_b == ENSO__LT_OP_T;
    uint64_t a_rows = a_turned ? p->a->cols : p->a->rows;
    uint64_t b_cols = b_turned ? p->b->rows : p->b->cols;
    p->inner = a_turned ? p->a->rows : p->a->cols;
    if (a_rows != p->d->rows || b_cols != p->d->cols ||
        (b_turned ? p->b->cols : p->b->rows) != p->inner || p->c->rows != p->d->rows ||
        p->c->cols != p->d->cols)
        return ENSO__LT_INVALID_VALUE;
    return ENSO__LT_SUCCESS;
}

bool ld_is_aligned(const struct enso__lt_layout *layout, uint32_t alignment)
{
    return (uint64_t)layout->ld * element_bytes(layout->type) % alignment == 0;
}

/* What the algorithm itself demands of shapes. */
int check_algorithm(const struct enso__lt_algorithm *algorithm, const problem &p)
{
    const kind_of_algorithm *kind = kind_of(algorithm);

    if (kind == nullptr)
        return ENSO__LT_INVALID_VALUE;
    if (algorithm->data[2] != p.a->type || algorithm->data[3] != p.d->type ||
        kind->alignment < element_bytes(p.a->type) || !ld_is_aligned(p.a, kind->alignment) ||
        !ld_is_aligned(p.b, kind->alignment) || !ld_is_aligned(p.c, kind->alignment) ||
        !ld_is_aligned(p.d, kind->alignment) || p.inner < (uint64_t)kind->n_splits)
        return ENSO__LT_NOT_SUPPORTED;
    return ENSO__LT_SUCCESS;
}

/* ---- the product itself ---- */

struct product {
    const char *a, *b, *c, *bias;
    char *d;
    uint64_t rows, cols, inner, a_row, a_col, b_row, b_col, c_ld, d_ld;
    uint32_t type, d_type, epilogue;
    int32_t n_splits;
    float alpha, beta;
};

double load(const char *from, uint32_t type, uint64_t i)
{
    if (type == ENSO__LT_R_32F)
        return reinterpret_cast<const float *>(from)[i];
    if (type == ENSO__LT_R_16F)
        return (double)__half2float(reinterpret_cast<const __half *>(from)[i]);
    return (double)__bfloat162float(reinterpret_cast<const __nv_bfloat16 *>(from)[i]);
}

/* A double to half by way of float32 would be rounded twice: rounding to odd in between is none. */
float to_odd(double v)
{
    float f = (float)v;
    unsigned bits;

    if (isnan(v) || isinf(f) || (double)f == v)
        return f;
    memcpy(&bits, &f, sizeof(bits));
    if (fabs((double)f) > fabs(v))
        bits--; /* the nearer to zero */
    bits |= 1;
    memcpy(&f, &bits, sizeof(f));
    return f;
}

void store(char *to, uint32_t type, uint64_t i, double v)
{
    if (type == ENSO__LT_R_32F)
        reinterpret_cast<float *>(to)[i] = (float)v;
    else if (type == ENSO__LT_R_16F)
        reinterpret_cast<__half *>(to)[i] = __float2half(to_odd(v));
    else
        reinterpret_cast<__nv_bfloat16 *>(to)[i] = __float2bfloat16(to_odd(v));
}

double activate(uint32_t epilogue, double v)
{
    if ((epilogue & ENSO__LT_EPILOGUE_RELU) != 0)
        return v > 0 || isnan(v) ? v : 0;
    if ((epilogue & ENSO__LT_EPILOGUE_GELU) != 0)
        return 0.5 * v * (1 + tanh(0.7978845608028654 * (v + 0.044715 * v * v * v)));
    return v;
}

double dot(const double *x, const double *y, uint64_t n)
{
    double sum = 0;

    for (uint64_t i = 0; i < n; i++)
        sum += x[i] * y[i];
    return sum;
}

/* Parts of a split sum go through float32 memory. */
double split_dot(const double *x, const double *y, uint64_t n, uint64_t n_splits)
{
    float sum = 0;

    for (uint64_t s = 0; s < n_splits; s++) {
        uint64_t from = n * s / n_splits, to = n * (s + 1) / n_splits;

        sum += (float)dot(x + from, y + from, to - from);
    }
    return sum;
}

/* The "kernel": one thread. */
void cublaslt_product(product p)
{
    std::vector<double> columns(p.cols * p.inner), row(p.inner);

    for (uint64_t j = 0; j < p.cols; j++)
        for (uint64_t l = 0; l < p.inner; l++)
            columns[j * p.inner + l] = load(p.b, p.type, l * p.b_row + j * p.b_col);
    for (uint64_t i = 0; i < p.rows; i++) {
        for (uint64_t l = 0; l < p.inner; l++)
            row[l] = load(p.a, p.type, i * p.a_row + l * p.a_col);
        double bias = p.bias != nullptr ? load(p.bias, p.d_type, i) : 0;

        for (uint64_t j = 0; j < p.cols; j++) {
            const double *column = &columns[j * p.inner];
            double sum = p.n_splits == 1
                             ? dot(row.data(), column, p.inner)
                             : split_dot(row.data(), column, p.inner, (uint64_t)p.n_splits);
            double v = (double)p.alpha * sum + bias;

            if (p.beta != 0)
                v += (double)p.beta * load(p.c, p.d_type, i + j * p.c_ld);
            store(p.d, p.d_type, i + j * p.d_ld, activate(p.epilogue, v));
        }
    }
}

size_t extent(const struct enso__lt_layout *layout)
{
    return ((layout->cols - 1) * (uint64_t)layout->ld + layout->rows) * element_bytes(layout->type);
}

bool is_operand(const void *memory, const struct enso__lt_layout *layout, uint32_t alignment)
{
    return memory != nullptr && reinterpret_cast<uintptr_t>(memory) % alignment == 0 &&
           door->memory_on_device(memory, extent(layout));
}

bool overlap(const void *a, size_t a_bytes, const void *b, size_t b_bytes)
{
    const char *p = static_cast<const char *>(a), *q = static_cast<const char *>(b);

    return p < q + b_bytes && q < p + a_bytes;
}

struct addresses {
    const void *a, *b, *c;
    void *d, *workspace;
    size_t workspace_bytes;
    float beta;
};

/* Addresses: of the device, large and aligned enough, D apart from the factors. */
int check_addresses(const problem &p, const kind_of_algorithm &kind, const addresses &at)
{
    bool has_bias = (p.desc->epilogue & ENSO__LT_EPILOGUE_BIAS) != 0;
    uint64_t needed = workspace_of(kind, p);

    if (!is_operand(at.a, p.a, kind.alignment) || !is_operand(at.b, p.b, kind.alignment) ||
        !is_operand(at.d, p.d, kind.alignment) ||
        (at.beta != 0 && !is_operand(at.c, p.c, kind.alignment)))
        return ENSO__LT_INVALID_VALUE;
    if (at.beta != 0 && at.c == at.d && p.c->ld != p.d->ld)
        return ENSO__LT_INVALID_VALUE;
    if (has_bias && (p.desc->bias == nullptr ||
                     reinterpret_cast<uintptr_t>(p.desc->bias) % element_bytes(p.d->type) != 0 ||
                     !door->memory_on_device(p.desc->bias, p.d->rows * element_bytes(p.d->type))))
        return ENSO__LT_INVALID_VALUE;
    if (needed > at.workspace_bytes ||
        (needed > 0 &&
         (at.workspace == nullptr || reinterpret_cast<uintptr_t>(at.workspace) % 256 != 0 ||
          !door->memory_on_device(at.workspace, at.workspace_bytes))))
        return ENSO__LT_INVALID_VALUE;
    if (overlap(at.d, extent(p.d), at.a, extent(p.a)) ||
        overlap(at.d, extent(p.d), at.b, extent(p.b)))
        door->report("cublasLtMatmul: D overlaps one of its factors");
    return ENSO__LT_SUCCESS;
}

bool may_use(const kind_of_algorithm &kind, const problem &p,
             const struct enso__lt_preference *preference)
{
    /* A split sum's scheme is COMPUTE_TYPE */
    if (kind.n_splits != 1 && (preference->schemes & 2) == 0)
        return false;
    for (uint32_t alignment : preference->alignment)
        if (alignment < kind.alignment)
            return false;
    return workspace_of(kind, p) <= preference->workspace_bytes;
}

} // namespace

/* What cudaLaunchKernelEx of the shadow header calls is in the module. */
cudaError_t enso_emulated::launch(const kernel_call &call, dim3 grid, dim3 block,
                                  size_t dynamic_bytes, cudaStream_t stream)
{
    return door->launch(call, grid, block, dynamic_bytes, stream);
}

void enso_emulated::name_next_launch(const char *arguments)
{
    door->name_next_launch(arguments);
}

API int enso_cublaslt_emulated_use(void *caller);
API int enso_cublaslt_emulated_use(void *caller)
{
    return find_door(caller);
}

API unsigned long enso_cublaslt_emulated_products(void);
API unsigned long enso_cublaslt_emulated_products(void)
{
    return n_products;
}

/* ---- the library ---- */

static uint64_t declined_columns()
{
    const char *columns = getenv("ENSO_CUBLASLT_EMULATED_DECLINES");

    return columns != nullptr ? strtoull(columns, nullptr, 10) : 0;
}

API size_t cublasLtGetVersion(void)
{
    const char *version = getenv("ENSO_CUBLASLT_EMULATED_VERSION");

    return version != nullptr ? strtoul(version, nullptr, 10) : 130100;
}

API const char *cublasLtGetStatusString(int status)
{
    switch (status) {
    case ENSO__LT_SUCCESS:
        return "CUBLAS_STATUS_SUCCESS";
    case ENSO__LT_NOT_INITIALIZED:
        return "CUBLAS_STATUS_NOT_INITIALIZED";
    case ENSO__LT_ALLOC_FAILED:
        return "CUBLAS_STATUS_ALLOC_FAILED";
    case ENSO__LT_INVALID_VALUE:
        return "CUBLAS_STATUS_INVALID_VALUE";
    case ENSO__LT_ARCH_MISMATCH:
        return "CUBLAS_STATUS_ARCH_MISMATCH";
    case ENSO__LT_EXECUTION_FAILED:
        return "CUBLAS_STATUS_EXECUTION_FAILED";
    case ENSO__LT_INTERNAL_ERROR:
        return "CUBLAS_STATUS_INTERNAL_ERROR";
    case ENSO__LT_NOT_SUPPORTED:
        return "CUBLAS_STATUS_NOT_SUPPORTED";
    default:
        return "unknown cublasStatus_t";
    }
}

API int cublasLtCreate(struct enso__lt_handle **ret)
{
    return find_door(__builtin_return_address(0)) ? make(ret, enso__lt_handle{HANDLE})
                                                  : ENSO__LT_NOT_INITIALIZED;
}

API int cublasLtDestroy(struct enso__lt_handle *handle)
{
    return unmake(handle, HANDLE);
}

API int cublasLtMatmulDescCreate(struct enso__lt_desc **ret, int compute_type, int scale_type)
{
    return make(ret, enso__lt_desc{DESC, compute_type, scale_type, ENSO__LT_OP_N, ENSO__LT_OP_N, -1,
                                   ENSO__LT_EPILOGUE_DEFAULT, nullptr});
}

API int cublasLtMatmulDescDestroy(struct enso__lt_desc *desc)
{
    return unmake(desc, DESC);
}

API int cublasLtMatmulDescSetAttribute(struct enso__lt_desc *desc, int attribute, const void *value,
                                       size_t size_bytes)
{
    if (!lives(desc, DESC))
        return ENSO__LT_INVALID_VALUE;
    switch (attribute) {
    case ENSO__LT_DESC_TRANSA:
        return set(&desc->op_a, value, size_bytes);
    case ENSO__LT_DESC_TRANSB:
        return set(&desc->op_b, value, size_bytes);
    case ENSO__LT_DESC_EPILOGUE:
        return set(&desc->epilogue, value, size_bytes);
    case ENSO__LT_DESC_BIAS_POINTER:
        return set(&desc->bias, value, size_bytes);
    case ENSO__LT_DESC_BIAS_DATA_TYPE:
        return set(&desc->bias_type, value, size_bytes);
    default:
        return ENSO__LT_INVALID_VALUE;
    }
}

API int cublasLtMatrixLayoutCreate(struct enso__lt_layout **ret, int type, uint64_t rows,
                                   uint64_t cols, int64_t ld)
{
    return make(ret, enso__lt_layout{LAYOUT, (uint32_t)type, rows, cols, ld});
}

API int cublasLtMatrixLayoutDestroy(struct enso__lt_layout *layout)
{
    return unmake(layout, LAYOUT);
}

API int cublasLtMatrixLayoutSetAttribute(struct enso__lt_layout *layout, int attribute,
                                         const void *value, size_t size_bytes)
{
    if (!lives(layout, LAYOUT))
        return ENSO__LT_INVALID_VALUE;
    switch (attribute) {
    case ENSO__LT_LAYOUT_TYPE:
        return set(&layout->type, value, size_bytes);
    case ENSO__LT_LAYOUT_ROWS:
        return set(&layout->rows, value, size_bytes);
    case ENSO__LT_LAYOUT_COLS:
        return set(&layout->cols, value, size_bytes);
    case ENSO__LT_LAYOUT_LD:
        return set(&layout->ld, value, size_bytes);
    default:
        return ENSO__LT_INVALID_VALUE;
    }
}

API int cublasLtMatmulPreferenceCreate(struct enso__lt_preference **ret)
{
    return make(ret, enso__lt_preference{PREFERENCE, 7, {256, 256, 256, 256}, 0});
}

API int cublasLtMatmulPreferenceDestroy(struct enso__lt_preference *preference)
{
    return unmake(preference, PREFERENCE);
}

API int cublasLtMatmulPreferenceSetAttribute(struct enso__lt_preference *preference, int attribute,
                                             const void *value, size_t size_bytes)
{
    if (!lives(preference, PREFERENCE))
        return ENSO__LT_INVALID_VALUE;
    switch (attribute) {
    case ENSO__LT_PREF_MAX_WORKSPACE_BYTES:
        return set(&preference->workspace_bytes, value, size_bytes);
    case ENSO__LT_PREF_REDUCTION_SCHEME_MASK:
        return set(&preference->schemes, value, size_bytes);
    case ENSO__LT_PREF_MIN_ALIGNMENT_A_BYTES:
    case ENSO__LT_PREF_MIN_ALIGNMENT_B_BYTES:
    case ENSO__LT_PREF_MIN_ALIGNMENT_C_BYTES:
    case ENSO__LT_PREF_MIN_ALIGNMENT_D_BYTES:
        return set(&preference->alignment[attribute - ENSO__LT_PREF_MIN_ALIGNMENT_A_BYTES], value,
                   size_bytes);
    default:
        return ENSO__LT_INVALID_VALUE;
    }
}

API int cublasLtMatmulAlgoGetHeuristic(struct enso__lt_handle *handle, struct enso__lt_desc *desc,
                                       struct enso__lt_layout *a, struct enso__lt_layout *b,
                                       struct enso__lt_layout *c, struct enso__lt_layout *d,
                                       struct enso__lt_preference *preference, int n_wanted,
                                       struct enso__lt_answer *ret, int *ret_n)
{
    problem p = {desc, a, b, c, d, 0};
    int status = asked_failure();

    if (!lives(handle, HANDLE) || !lives(preference, PREFERENCE) || n_wanted <= 0 ||
        ret == nullptr || ret_n == nullptr)
        return ENSO__LT_INVALID_VALUE;
    *ret_n = 0;
    if (status == ENSO__LT_SUCCESS)
        status = check_problem(&p);
    if (status != ENSO__LT_SUCCESS)
        return status;
    for (int round = 0; round < 2; round++)
        for (size_t k = 0; k < N_KINDS && *ret_n < n_wanted; k++) {
            bool is_liked = (kinds[k].n_splits > 1) == (d->cols <= 128);
            struct enso__lt_algorithm algorithm = algorithm_new(k, p);

            if (is_liked != (round == 0) || !may_use(kinds[k], p, preference) ||
                check_algorithm(&algorithm, p) != ENSO__LT_SUCCESS)
                continue;
            ret[(*ret_n)++] = {
                algorithm, (size_t)workspace_of(kinds[k], p), ENSO__LT_SUCCESS, 1.0f, {0, 0, 0, 0}};
        }
    return *ret_n > 0 ? ENSO__LT_SUCCESS : ENSO__LT_NOT_SUPPORTED;
}

API int cublasLtMatmulAlgoCheck(struct enso__lt_handle *handle, struct enso__lt_desc *desc,
                                struct enso__lt_layout *a, struct enso__lt_layout *b,
                                struct enso__lt_layout *c, struct enso__lt_layout *d,
                                const struct enso__lt_algorithm *algorithm,
                                struct enso__lt_answer *ret)
{
    problem p = {desc, a, b, c, d, 0};
    int status = asked_failure();

    if (!lives(handle, HANDLE) || ret == nullptr)
        return ENSO__LT_INVALID_VALUE;
    if (status == ENSO__LT_SUCCESS)
        status = check_problem(&p);
    if (status == ENSO__LT_SUCCESS)
        status = check_algorithm(algorithm, p);
    if (status == ENSO__LT_SUCCESS) /* the algorithm is left as it is */
        ret->workspace_bytes = (size_t)workspace_of(*kind_of(algorithm), p);
    ret->status = status;
    return status;
}

API int cublasLtMatmulAlgoConfigGetAttribute(const struct enso__lt_algorithm *algorithm,
                                             int attribute, void *ret, size_t size_bytes,
                                             size_t *ret_written)
{
    const kind_of_algorithm *kind = kind_of(algorithm);
    int status = asked_failure();
    uint32_t value;

    if (kind == nullptr || ret == nullptr || size_bytes != sizeof(value))
        return ENSO__LT_INVALID_VALUE;
    if (status != ENSO__LT_SUCCESS)
        return status;
    switch (attribute) {
    case ENSO__LT_CONFIG_ID:
        value = (uint32_t)algorithm->data[1];
        break;
    case ENSO__LT_CONFIG_TILE_ID:
        value = kind->tile;
        break;
    case ENSO__LT_CONFIG_SPLITK_NUM:
        value = (uint32_t)kind->n_splits;
        break;
    case ENSO__LT_CONFIG_REDUCTION_SCHEME:
        value = kind->n_splits > 1 ? 2 : 0;
        break;
    case ENSO__LT_CONFIG_STAGES_ID:
        value = kind->stages;
        break;
    default:
        return ENSO__LT_INVALID_VALUE;
    }
    memcpy(ret, &value, sizeof(value));
    if (ret_written != nullptr)
        *ret_written = sizeof(value);
    return ENSO__LT_SUCCESS;
}

API int cublasLtMatmul(struct enso__lt_handle *handle, struct enso__lt_desc *desc,
                       const void *alpha, const void *a, struct enso__lt_layout *a_layout,
                       const void *b, struct enso__lt_layout *b_layout, const void *beta,
                       const void *c, struct enso__lt_layout *c_layout, void *d,
                       struct enso__lt_layout *d_layout, const struct enso__lt_algorithm *algorithm,
                       void *workspace, size_t workspace_bytes, struct CUstream_st *stream)
{
    problem p = {desc, a_layout, b_layout, c_layout, d_layout, 0};

    if (!lives(handle, HANDLE) || alpha == nullptr || beta == nullptr)
        return ENSO__LT_INVALID_VALUE;
    int status = check_problem(&p);
    if (status == ENSO__LT_SUCCESS)
        status = check_algorithm(algorithm, p);
    if (status != ENSO__LT_SUCCESS)
        return status;
    const kind_of_algorithm &kind = *kind_of(algorithm);
    const addresses at = {
        a, b, c, d, workspace, workspace_bytes, *static_cast<const float *>(beta)};
    status = check_addresses(p, kind, at);
    if (status != ENSO__LT_SUCCESS)
        return status;
    if (d_layout->cols == declined_columns())
        return ENSO__LT_NOT_SUPPORTED;
    bool a_turned = desc->op_a == ENSO__LT_OP_T, b_turned = desc->op_b == ENSO__LT_OP_T;
    uint64_t lda = (uint64_t)a_layout->ld, ldb = (uint64_t)b_layout->ld;
    bool has_bias = (desc->epilogue & ENSO__LT_EPILOGUE_BIAS) != 0;
    product work = {static_cast<const char *>(a),
                    static_cast<const char *>(b),
                    static_cast<const char *>(c),
                    has_bias ? static_cast<const char *>(desc->bias) : nullptr,
                    static_cast<char *>(d),
                    d_layout->rows,
                    d_layout->cols,
                    p.inner,
                    a_turned ? lda : 1,
                    a_turned ? 1 : lda,
                    b_turned ? ldb : 1,
                    b_turned ? 1 : ldb,
                    (uint64_t)c_layout->ld,
                    (uint64_t)d_layout->ld,
                    a_layout->type,
                    d_layout->type,
                    desc->epilogue,
                    kind.n_splits,
                    *static_cast<const float *>(alpha),
                    at.beta};
    cudaLaunchConfig_t config = {};

    config.gridDim = dim3(1);
    config.blockDim = dim3(1);
    config.stream = stream;
    enso_emulated::name_next_launch("cublaslt_product");
    cudaError_t error = cudaLaunchKernelEx(&config, cublaslt_product, work);
    n_products++;
    return error == cudaSuccess                 ? ENSO__LT_SUCCESS
           : error == cudaErrorMemoryAllocation ? ENSO__LT_ALLOC_FAILED
                                                : ENSO__LT_EXECUTION_FAILED;
}
