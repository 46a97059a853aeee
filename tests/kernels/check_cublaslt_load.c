/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding and loading cuBLASLt, without a device: where it is looked for and in which order, and
 * what is said of files that are not it. Where CUDA's header is, our declarations are compared with
 * it; where the library is, it is loaded and its functions are found.
 */
#include "ensod_build.h"

#include "kernels/cuda/cublaslt_api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "tests/support/support.h"

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>

#define SAME(ours, theirs) _Static_assert((int)(ours) == (int)(theirs), #ours)
SAME(ENSO__LT_SUCCESS, CUBLAS_STATUS_SUCCESS);
SAME(ENSO__LT_NOT_INITIALIZED, CUBLAS_STATUS_NOT_INITIALIZED);
SAME(ENSO__LT_ALLOC_FAILED, CUBLAS_STATUS_ALLOC_FAILED);
SAME(ENSO__LT_INVALID_VALUE, CUBLAS_STATUS_INVALID_VALUE);
SAME(ENSO__LT_ARCH_MISMATCH, CUBLAS_STATUS_ARCH_MISMATCH);
SAME(ENSO__LT_EXECUTION_FAILED, CUBLAS_STATUS_EXECUTION_FAILED);
SAME(ENSO__LT_INTERNAL_ERROR, CUBLAS_STATUS_INTERNAL_ERROR);
SAME(ENSO__LT_NOT_SUPPORTED, CUBLAS_STATUS_NOT_SUPPORTED);
SAME(ENSO__LT_R_32F, CUDA_R_32F);
SAME(ENSO__LT_R_16F, CUDA_R_16F);
SAME(ENSO__LT_R_16BF, CUDA_R_16BF);
SAME(ENSO__LT_COMPUTE_32F, CUBLAS_COMPUTE_32F);
SAME(ENSO__LT_OP_N, CUBLAS_OP_N);
SAME(ENSO__LT_OP_T, CUBLAS_OP_T);
SAME(ENSO__LT_DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA);
SAME(ENSO__LT_DESC_TRANSB, CUBLASLT_MATMUL_DESC_TRANSB);
SAME(ENSO__LT_DESC_EPILOGUE, CUBLASLT_MATMUL_DESC_EPILOGUE);
SAME(ENSO__LT_DESC_BIAS_POINTER, CUBLASLT_MATMUL_DESC_BIAS_POINTER);
SAME(ENSO__LT_DESC_BIAS_DATA_TYPE, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE);
SAME(ENSO__LT_LAYOUT_TYPE, CUBLASLT_MATRIX_LAYOUT_TYPE);
SAME(ENSO__LT_LAYOUT_ROWS, CUBLASLT_MATRIX_LAYOUT_ROWS);
SAME(ENSO__LT_LAYOUT_COLS, CUBLASLT_MATRIX_LAYOUT_COLS);
SAME(ENSO__LT_LAYOUT_LD, CUBLASLT_MATRIX_LAYOUT_LD);
SAME(ENSO__LT_PREF_MAX_WORKSPACE_BYTES, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
SAME(ENSO__LT_PREF_REDUCTION_SCHEME_MASK, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK);
SAME(ENSO__LT_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES);
SAME(ENSO__LT_PREF_MIN_ALIGNMENT_B_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES);
SAME(ENSO__LT_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES);
SAME(ENSO__LT_PREF_MIN_ALIGNMENT_D_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);
SAME(ENSO__LT_EPILOGUE_DEFAULT, CUBLASLT_EPILOGUE_DEFAULT);
SAME(ENSO__LT_EPILOGUE_RELU, CUBLASLT_EPILOGUE_RELU);
SAME(ENSO__LT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_BIAS);
SAME(ENSO__LT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_RELU_BIAS);
SAME(ENSO__LT_EPILOGUE_GELU, CUBLASLT_EPILOGUE_GELU);
SAME(ENSO__LT_EPILOGUE_GELU_BIAS, CUBLASLT_EPILOGUE_GELU_BIAS);
SAME(ENSO__LT_CONFIG_ID, CUBLASLT_ALGO_CONFIG_ID);
SAME(ENSO__LT_CONFIG_TILE_ID, CUBLASLT_ALGO_CONFIG_TILE_ID);
SAME(ENSO__LT_CONFIG_SPLITK_NUM, CUBLASLT_ALGO_CONFIG_SPLITK_NUM);
SAME(ENSO__LT_CONFIG_REDUCTION_SCHEME, CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME);
SAME(ENSO__LT_CONFIG_STAGES_ID, CUBLASLT_ALGO_CONFIG_STAGES_ID);
SAME(sizeof(struct enso__lt_algorithm), sizeof(cublasLtMatmulAlgo_t));
SAME(sizeof(struct enso__lt_answer), sizeof(cublasLtMatmulHeuristicResult_t));
#define SAME_PLACE(ours, theirs)                                                                   \
    SAME(offsetof(struct enso__lt_answer, ours), offsetof(cublasLtMatmulHeuristicResult_t, theirs))
SAME_PLACE(algorithm, algo);
SAME_PLACE(workspace_bytes, workspaceSize);
SAME_PLACE(status, state);
SAME_PLACE(waves, wavesCount);
SAME_PLACE(reserved, reserved);
/* Enums are passed and returned as our ints. */
SAME(sizeof(int), sizeof(cublasStatus_t));
SAME(sizeof(int), sizeof(cublasComputeType_t));
SAME(sizeof(int), sizeof(cudaDataType_t));
SAME(sizeof(int), sizeof(cublasLtMatmulDescAttributes_t));

/* How many parameters a function has, and their sizes, as the header says it. */
#define SAME_CALL(name, theirs)                                                                    \
    _Static_assert(__builtin_types_compatible_p(__typeof__(&name), __typeof__(theirs)), #name)
SAME_CALL(cublasLtGetVersion, (size_t(*)(void))0);
SAME_CALL(cublasLtCreate, (cublasStatus_t(*)(cublasLtHandle_t *))0);
SAME_CALL(cublasLtDestroy, (cublasStatus_t(*)(cublasLtHandle_t))0);
SAME_CALL(cublasLtMatmulDescCreate,
          (cublasStatus_t(*)(cublasLtMatmulDesc_t *, cublasComputeType_t, cudaDataType_t))0);
SAME_CALL(cublasLtMatmulDescSetAttribute,
          (cublasStatus_t(*)(cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t, const void *,
                             size_t))0);
SAME_CALL(cublasLtMatrixLayoutCreate, (cublasStatus_t(*)(cublasLtMatrixLayout_t *, cudaDataType,
                                                         uint64_t, uint64_t, int64_t))0);
SAME_CALL(cublasLtMatrixLayoutSetAttribute,
          (cublasStatus_t(*)(cublasLtMatrixLayout_t, cublasLtMatrixLayoutAttribute_t, const void *,
                             size_t))0);
SAME_CALL(cublasLtMatmulPreferenceCreate, (cublasStatus_t(*)(cublasLtMatmulPreference_t *))0);
SAME_CALL(cublasLtMatmulPreferenceSetAttribute,
          (cublasStatus_t(*)(cublasLtMatmulPreference_t, cublasLtMatmulPreferenceAttributes_t,
                             const void *, size_t))0);
SAME_CALL(cublasLtMatmulAlgoGetHeuristic,
          (cublasStatus_t(*)(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                             cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                             cublasLtMatmulPreference_t, int, cublasLtMatmulHeuristicResult_t[],
                             int *))0);
SAME_CALL(cublasLtMatmulAlgoCheck,
          (cublasStatus_t(*)(cublasLtHandle_t, cublasLtMatmulDesc_t, cublasLtMatrixLayout_t,
                             cublasLtMatrixLayout_t, cublasLtMatrixLayout_t, cublasLtMatrixLayout_t,
                             const cublasLtMatmulAlgo_t *, cublasLtMatmulHeuristicResult_t *))0);
SAME_CALL(cublasLtMatmulAlgoConfigGetAttribute,
          (cublasStatus_t(*)(const cublasLtMatmulAlgo_t *, cublasLtMatmulAlgoConfigAttributes_t,
                             void *, size_t, size_t *))0);
SAME_CALL(cublasLtMatmul,
          (cublasStatus_t(*)(cublasLtHandle_t, cublasLtMatmulDesc_t, const void *, const void *,
                             cublasLtMatrixLayout_t, const void *, cublasLtMatrixLayout_t,
                             const void *, const void *, cublasLtMatrixLayout_t, void *,
                             cublasLtMatrixLayout_t, const cublasLtMatmulAlgo_t *, void *, size_t,
                             cudaStream_t))0);
#endif

/* The path of a file in a fresh folder: dir/folder/name. */
static char *put_file(const char *dir, const char *folder, const char *name)
{
    char *inside = enso_test_format("%s/%s", dir, folder);
    char *path = enso_test_format("%s/%s", inside, name);

    (void)mkdir(inside, 0700);
    enso_test_write_file(path, "no library", 10);
    free(inside);
    return path;
}

static void check_candidates(const char *const *folders, const char *const *want, size_t n)
{
    for (size_t i = 0; i <= n; i++) {
        char *got = enso__cublaslt_candidate(folders, i);

        if (i == n)
            ck_assert_msg(got == NULL, "one more: %s", got != NULL ? got : "");
        else
            ck_assert_msg(got != NULL && strcmp(got, want[i]) == 0, "place %zu is %s, not %s", i,
                          got != NULL ? got : "missing", want[i]);
        enso_free(got);
    }
}

/* 13 everywhere before 12; folders in their order; patterns and variables. */
START_TEST(test_cublaslt_places)
{
    char *dir = enso_test_make_dir();
    char *b13 = put_file(dir, "b", "libcublasLt.so.13"),
         *a12 = put_file(dir, "a", "libcublasLt.so.12");
    char *p1 = put_file(dir, "python3.1", "libcublasLt.so.12");
    char *p2 = put_file(dir, "python3.2", "libcublasLt.so.12");
    char *a = enso_test_format("%s/a", dir), *p = enso_test_format("%s/python3*", dir);
    const char *const folders[] = {
        a, "$ENSO_TEST_UNSET/lib", p, "$ENSO_TEST_FOLDER/b", "$ENSO_TEST_RELATIVE/b", NULL};
    const char *const want[] = {"libcublasLt.so.13", b13, "libcublasLt.so.12", a12, p1, p2};

    setenv("ENSO_TEST_FOLDER", dir, 1);
    setenv("ENSO_TEST_RELATIVE", ".", 1); /* never below the current folder */
    unsetenv("ENSO_TEST_UNSET");
    check_candidates(folders, want, ENSO_ARRAY_SIZE(want));
    free(b13);
    free(a12);
    free(p1);
    free(p2);
    free(a);
    free(p);
    enso_test_remove_dir(dir);
}
END_TEST

/* Beside the module that the code is in, here the test program; from there up to the root. */
START_TEST(test_cublaslt_own_folder)
{
    char *dir = enso_test_make_dir(), *file = put_file(dir, "b", "libcublasLt.so.12"), *own;
    char *folder = enso_test_format(
        "$ORIGIN/../../../../../../../../../../../../../../../../../../../../..%s/b", dir);
    const char *const folders[] = {folder, NULL};

    own = enso__cublaslt_candidate(folders, 2);
    ck_assert_ptr_nonnull(own);
    ck_assert_int_eq(own[0], '/');
    ENSO_TEST_CONTAINS(own, "tests/kernels");
    ENSO_TEST_CONTAINS(own, file);
    enso_free(own);
    free(file);
    free(folder);
    enso_test_remove_dir(dir);
}
END_TEST

static void refuses(const char *path, enum enso_status status, const char *word)
{
    struct enso__cublaslt_library l;
    struct enso_error err = {0};

    ck_assert_int_eq(enso__cublaslt_load(path, &l, &err), status);
    ENSO_TEST_CONTAINS(err.message, word);
    ENSO_TEST_CONTAINS(err.message, path);
}

START_TEST(test_cublaslt_refusals)
{
    char *dir = enso_test_make_dir(), *text = put_file(dir, "a", "libcublasLt.so.13");
    char *missing = enso_test_format("%s/nothing.so", dir);

    refuses(missing, ENSO_NOT_FOUND, "there is no file");
    refuses("libcublasLt.so.no-such-version", ENSO_NOT_FOUND, "cannot be loaded");
    refuses(text, ENSO_UNAVAILABLE, "cannot be loaded");
    /* a library, but another one */
    struct enso__cublaslt_library l;
    struct enso_error err = {0};
    ck_assert_int_eq(enso__cublaslt_load("libm.so.6", &l, &err), ENSO_UNAVAILABLE);
    ENSO_TEST_CONTAINS(err.message, "lacks cublasLt");
    ENSO_TEST_CONTAINS(err.message, "libm");
    free(text);
    free(missing);
    enso_test_remove_dir(dir);
}
END_TEST

/* Attributes have the sizes that the library wants. */
static void check_attributes(const struct enso__cublaslt_library *l)
{
    const uint64_t number = 768;
    const int64_t ld = 768;
    const uint32_t type = ENSO__LT_R_16BF, alignment = 16, epilogue = ENSO__LT_EPILOGUE_BIAS;
    const int32_t op = ENSO__LT_OP_T;
    const void *bias = &number;
    struct enso__lt_desc *desc;
    struct enso__lt_preference *preference;
    struct enso__lt_layout *layout;
#define OK(call) ck_assert_int_eq(l->call, ENSO__LT_SUCCESS)
    OK(MatmulDescCreate(&desc, ENSO__LT_COMPUTE_32F, ENSO__LT_R_32F));
    OK(MatmulDescSetAttribute(desc, ENSO__LT_DESC_TRANSA, &op, sizeof(op)));
    OK(MatmulDescSetAttribute(desc, ENSO__LT_DESC_TRANSB, &op, sizeof(op)));
    OK(MatmulDescSetAttribute(desc, ENSO__LT_DESC_EPILOGUE, &epilogue, sizeof(epilogue)));
    OK(MatmulDescSetAttribute(desc, ENSO__LT_DESC_BIAS_DATA_TYPE, &op, sizeof(op)));
    OK(MatmulDescSetAttribute(desc, ENSO__LT_DESC_BIAS_POINTER, &bias, sizeof(bias)));
    OK(MatmulDescDestroy(desc));
    OK(MatmulPreferenceCreate(&preference));
    OK(MatmulPreferenceSetAttribute(preference, ENSO__LT_PREF_MAX_WORKSPACE_BYTES, &number,
                                    sizeof(number)));
    OK(MatmulPreferenceSetAttribute(preference, ENSO__LT_PREF_REDUCTION_SCHEME_MASK, &(uint32_t){0},
                                    sizeof(uint32_t)));
    for (int i = 0; i < 4; i++)
        OK(MatmulPreferenceSetAttribute(preference, ENSO__LT_PREF_MIN_ALIGNMENT_A_BYTES + i,
                                        &alignment, sizeof(alignment)));
    OK(MatmulPreferenceDestroy(preference));
    OK(MatrixLayoutCreate(&layout, ENSO__LT_R_32F, 16, 16, 16));
    OK(MatrixLayoutSetAttribute(layout, ENSO__LT_LAYOUT_TYPE, &type, sizeof(type)));
    OK(MatrixLayoutSetAttribute(layout, ENSO__LT_LAYOUT_ROWS, &number, sizeof(number)));
    OK(MatrixLayoutSetAttribute(layout, ENSO__LT_LAYOUT_COLS, &number, sizeof(number)));
    OK(MatrixLayoutSetAttribute(layout, ENSO__LT_LAYOUT_LD, &ld, sizeof(ld)));
    OK(MatrixLayoutDestroy(layout));
#undef OK
    ENSO_TEST_CONTAINS(l->GetStatusString(ENSO__LT_NOT_SUPPORTED), "not supported");
}

/* The real ones, where they are: no device is needed to load them. */
START_TEST(test_cublaslt_real)
{
    size_t n = 0;
    char *path;

    for (size_t i = 0; (path = enso__cublaslt_candidate(enso__cublaslt_folders(), i)) != NULL;
         i++) {
        struct enso__cublaslt_library l;
        struct enso_error err = {0};
        int st = enso__cublaslt_load(path, &l, &err);

        ck_assert_msg(st == ENSO_OK || st == ENSO_NOT_FOUND, "%s", err.message);
        enso_free(path);
        if (st != ENSO_OK)
            continue;
        ck_assert_int_eq(l.path[0], '/');
        check_attributes(&l);
        n++;
        printf("cuBLASLt %zu of %s: its functions and attributes are ours\n", l.version, l.path);
    }
    if (n == 0)
        printf("SKIP: there is no cuBLASLt to load\n");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("kernels/cublaslt_load");
    TCase *core = tcase_create("core");
    tcase_add_test(core, test_cublaslt_places);
    tcase_add_test(core, test_cublaslt_own_folder);
    tcase_add_test(core, test_cublaslt_real);
    suite_add_tcase(s, core);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, test_cublaslt_refusals);
    suite_add_tcase(s, errors);
    return s;
}

ENSO_TEST_MAIN(suite)
