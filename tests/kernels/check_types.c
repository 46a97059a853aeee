/* SPDX-License-Identifier: Apache-2.0
 *
 * What a backend says of types (computes) against what it binds: every operator on activations of
 * F32, BF16 and F16. A promise that bind does not keep would send a model to fp32 or to the
 * processor; a half that is bound without a promise would be misread. Runs on the CPU and, over
 * ENSO_TEST_BACKEND, on a module.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/engine/graph/text_graph.h"
#include "tests/kernels/rig.h"

/* A node y of each operator; $ is the type. Parameters are F32 constants, as the pass leaves them.
 * Views are not bound by programs; their families are asked all the same. */
static const struct {
    enum enso_op op;
    const char *text;
} nodes[] = {
#define UNARY(op, name)                                                                            \
    {                                                                                              \
        ENSO_OP_##op, "input x $[N, 4]\ny = " name "(x)"                                           \
    }
    UNARY(ABS, "Abs"),
    UNARY(CEIL, "Ceil"),
    UNARY(ELU, "Elu"),
    UNARY(ERF, "Erf"),
    UNARY(EXP, "Exp"),
    UNARY(FLOOR, "Floor"),
    UNARY(GELU, "Gelu"),
    UNARY(HARD_SIGMOID, "HardSigmoid"),
    UNARY(HARD_SWISH, "HardSwish"),
    UNARY(LEAKY_RELU, "LeakyRelu"),
    UNARY(LOG, "Log"),
    UNARY(MISH, "Mish"),
    UNARY(NEG, "Neg"),
    UNARY(RECIPROCAL, "Reciprocal"),
    UNARY(RELU, "Relu"),
    UNARY(ROUND, "Round"),
    UNARY(SELU, "Selu"),
    UNARY(SIGMOID, "Sigmoid"),
    UNARY(SIGN, "Sign"),
    UNARY(SILU, "Silu"),
    UNARY(SOFTPLUS, "Softplus"),
    UNARY(SOFTSIGN, "Softsign"),
    UNARY(SQRT, "Sqrt"),
    UNARY(TANH, "Tanh"),
    UNARY(SIN, "Sin"),
    UNARY(COS, "Cos"),
    {ENSO_OP_CLIP, "input x $[N, 4]\nconst a $[] = 0\nconst b $[] = 6\ny = Clip(x, a, b)"},
    {ENSO_OP_CAST, "input x $[N, 4]\ny = Cast(x) to=0"},
    {ENSO_OP_CAST, "input x $[N, 4]\ny = Cast(x) to=10"},
    {ENSO_OP_CAST, "input x i64[N, 4]\ny = Cast(x) to=#"},
    {ENSO_OP_CAST, "input x bool[N, 4]\ny = Cast(x) to=#"},
    {ENSO_OP_CAST, "input x f32[N, 4]\ny = Cast(x) to=#"},
#define BINARY(op, name)                                                                           \
    {                                                                                              \
        ENSO_OP_##op, "input x $[N, 4]\nconst b $[4]\ny = " name "(x, b)"                          \
    }
    BINARY(ADD, "Add"),
    BINARY(SUB, "Sub"),
    BINARY(MUL, "Mul"),
    BINARY(DIV, "Div"),
    BINARY(POW, "Pow"),
    BINARY(MOD, "Mod"),
    BINARY(MAX, "Max"),
    BINARY(MIN, "Min"),
    BINARY(PRELU, "PRelu"),
    BINARY(EQUAL, "Equal"),
    BINARY(LESS, "Less"),
    BINARY(LESS_OR_EQUAL, "LessOrEqual"),
    BINARY(GREATER, "Greater"),
    BINARY(GREATER_OR_EQUAL, "GreaterOrEqual"),
    {ENSO_OP_SUM, "input x $[N, 4]\nconst b $[4]\ny = Sum(x, b, x)"},
    {ENSO_OP_MEAN, "input x $[N, 4]\nconst b $[4]\ny = Mean(x, b, x)"},
    {ENSO_OP_WHERE, "input c bool[N, 1]\ninput x $[N, 4]\nconst b $[4]\ny = Where(c, x, b)"},
#define REDUCE(op, name)                                                                           \
    {                                                                                              \
        ENSO_OP_REDUCE_##op, "input x $[N, 4]\ny = " name "(x) axes=[1]"                           \
    }
    REDUCE(SUM, "ReduceSum"),
    REDUCE(MEAN, "ReduceMean"),
    REDUCE(MAX, "ReduceMax"),
    REDUCE(MIN, "ReduceMin"),
    REDUCE(PROD, "ReduceProd"),
    REDUCE(L1, "ReduceL1"),
    REDUCE(L2, "ReduceL2"),
    REDUCE(SUM_SQUARE, "ReduceSumSquare"),
    REDUCE(LOG_SUM, "ReduceLogSum"),
    REDUCE(LOG_SUM_EXP, "ReduceLogSumExp"),
    {ENSO_OP_ARG_MAX, "input x $[N, 4]\ny = ArgMax(x) axis=1"},
    {ENSO_OP_ARG_MIN, "input x $[N, 4]\ny = ArgMin(x) axis=1"},
    {ENSO_OP_TOP_K, "input x $[N, 4]\nconst k i64[1] = 2\ny, z = TopK(x, k)"},
    {ENSO_OP_IDENTITY, "input x $[N, 4]\ny = Identity(x)"},
    {ENSO_OP_SHAPE, "input x $[N, 4]\ny = Shape(x)"},
    {ENSO_OP_SIZE, "input x $[N, 4]\ny = Size(x)"},
    {ENSO_OP_RESHAPE, "input x $[N, 4]\ny = Reshape(x) shape_factors=[2, 2] shape_extents=[1, 0]"},
    {ENSO_OP_FLATTEN, "input x $[N, 4]\ny = Flatten(x)"},
    {ENSO_OP_SQUEEZE, "input x $[N, 1]\ny = Squeeze(x) axes=[1]"},
    {ENSO_OP_UNSQUEEZE, "input x $[N, 4]\ny = Unsqueeze(x) axes=[1]"},
    {ENSO_OP_TRANSPOSE, "input x $[N, 4]\ny = Transpose(x)"},
    {ENSO_OP_CONCAT, "input x $[N, 4]\ny = Concat(x, x) axis=1"},
    {ENSO_OP_SPLIT, "input x $[N, 4]\ny, z = Split(x) axis=1"},
    {ENSO_OP_SLICE, "input x $[N, 4]\nconst s i64[1] = 1\nconst e i64[1] = 3\nconst a i64[1] = 1\n"
                    "y = Slice(x, s, e, a)"},
    {ENSO_OP_PAD, "input x $[N, 4]\nconst p i64[4] = 0 1 0 1\nconst v $[] = 2\ny = Pad(x, p, v)"},
    {ENSO_OP_EXPAND, "input x $[N, 1]\ny = Expand(x) shape_factors=[1, 4] shape_extents=[1, 0]"},
    {ENSO_OP_TILE, "input x $[N, 4]\nconst r i64[2] = 1 2\ny = Tile(x, r)"},
    {ENSO_OP_GATHER, "const x $[5, 4]\ninput i i64[N]\ny = Gather(x, i)"},
    {ENSO_OP_CONSTANT_OF_SHAPE,
     "const v $[1] = 2\ny = ConstantOfShape(-, v) shape_factors=[1, 4] shape_extents=[1, 0]"},
    {ENSO_OP_DEPTH_TO_SPACE, "input x $[N, 4, 2, 2]\ny = DepthToSpace(x) blocksize=2"},
    {ENSO_OP_SPACE_TO_DEPTH, "input x $[N, 4, 2, 2]\ny = SpaceToDepth(x) blocksize=2"},
    {ENSO_OP_RESIZE, "input x $[N, 4, 3]\nconst s f32[3] = 1 1 2\ny = Resize(x, -, s)"},
    {ENSO_OP_RESIZE,
     "input x $[N, 4, 3]\nconst s f32[3] = 1 2 0.5\ny = Resize(x, -, s) mode=\"cubic\""},
    {ENSO_OP_CONV, "input x $[N, 3, 6, 6]\nconst w f32[4, 3, 3, 3]\nconst b f32[4]\n"
                   "y = Conv(x, w, b)"},
    {ENSO_OP_CONV, "input x $[N, 3, 6]\nconst w f32[4, 3, 3]\ny = Conv(x, w)"},
    {ENSO_OP_MAX_POOL, "input x $[N, 3, 6, 6]\ny = MaxPool(x) kernel_shape=[2, 2]"},
    {ENSO_OP_MAX_POOL, "input x $[N, 6, 6, 3]\ny = MaxPool(x) kernel_shape=[2, 2] nhwc=1"},
    {ENSO_OP_AVERAGE_POOL, "input x $[N, 6, 6, 3]\ny = AveragePool(x) kernel_shape=[2, 2] nhwc=1"},
    {ENSO_OP_GLOBAL_AVERAGE_POOL, "input x $[N, 6, 6, 3]\ny = GlobalAveragePool(x) nhwc=1"},
    {ENSO_OP_GLOBAL_MAX_POOL, "input x $[N, 6, 6, 3]\ny = GlobalMaxPool(x) nhwc=1"},
    {ENSO_OP_BATCH_NORM, "input x $[N, 3, 6]\nconst s f32[3]\nconst v f32[3] = 1\ny = "
                         "BatchNormalization(x, s, s, s, v)"},
    {ENSO_OP_INSTANCE_NORM,
     "input x $[N, 3, 6]\nconst s f32[3]\ny = InstanceNormalization(x, s, s)"},
    {ENSO_OP_LRN, "input x $[N, 6, 6, 3]\ny = LRN(x) size=3 nhwc=1"},
    {ENSO_OP_SOFTMAX, "input x $[N, 4]\ny = Softmax(x)"},
    {ENSO_OP_LOG_SOFTMAX, "input x $[N, 4]\ny = LogSoftmax(x)"},
    {ENSO_OP_MATMUL, "input x $[N, 3, 4]\ninput w $[N, 4, 5]\ny = MatMul(x, w)"},
    {ENSO_OP_MATMUL, "input x $[N, 4]\nconst w $[4, 5]\ny = MatMul(x, w)"},
    {ENSO_OP_GEMM, "input x $[N, 4]\nconst w $[4, 5]\nconst b $[5]\ny = Gemm(x, w, b)"},
    {ENSO_OP_LINEAR, "input x $[T, 8]\nconst w f32[3, 8]\nconst b f32[3]\ninput r $[T, 3]\n"
                     "y = ensod.Linear(x, w, b, r) activation=2"},
    {ENSO_OP_LINEAR, "input x $[T, 8]\nconst w f32[3, 8]\ny = ensod.Linear(x, w) dtype=0"},
    {ENSO_OP_CONV_FUSED, "input x $[N, 6, 6, 3]\nconst w f32[4, 3, 3, 3]\nconst b f32[4]\n"
                         "input r $[N, 4, 4, 4]\ny = ensod.Conv(x, w, b, r) activation=1"},
    {ENSO_OP_CONV_FUSED, "input x $[N, 6, 6, 4]\nconst w f32[4, 1, 3, 3]\n"
                         "y = ensod.Conv(x, w) group=4 pads=[1, 1, 1, 1]"},
    {ENSO_OP_ATTENTION,
     "input x $[T, 192]\ninput s i32[B+1]\ny = ensod.Attention(x, s) heads=2 size=32"},
    {ENSO_OP_LAYER_NORM, "input x $[T, 8]\nconst g f32[8]\nconst b f32[8]\n"
                         "y = ensod.LayerNorm(x, g, b, x)"},
    {ENSO_OP_RMS_NORM, "input x $[T, 8]\nconst g f32[8]\ny = ensod.RMSNorm(x, g)"},
    {ENSO_OP_EMBEDDING, "input i i32[T]\nconst w f32[50, 8]\nconst p f32[9, 8]\nconst g f32[8]\n"
                        "y = ensod.Embedding(i, w, i, p, -, p, g, g) dtype=#"},
    {ENSO_OP_SEQUENCE_POOL,
     "input x $[T, 8]\ninput s i32[B+1]\ny = ensod.SequencePool(x, s) mode=\"mean\""},
    {ENSO_OP_SEQUENCE_POOL,
     "input x $[T, 8]\ninput s i32[B+1]\ny = ensod.SequencePool(x, s) mode=\"cls\" dtype=0"},
    {ENSO_OP_L2_NORMALIZE, "input x $[B, 8]\ny = ensod.L2Normalize(x)"},
    {ENSO_OP_PIXELS,
     "input x f32[N, 3, 4, 5]\nconst t f32[3, 256]\ny = ensod.Pixels(x, t) dtype=#"},
    {ENSO_OP_PIXELS, "input x u8[N, 4, 5, 3]\nconst t f32[3, 256]\ny = ensod.Pixels(x, t) dtype=#"},
};

static const struct {
    enum enso_dtype dtype;
    const char *name, *number;
} types[] = {
    {ENSO_DTYPE_F32, "f32", "0"}, {ENSO_DTYPE_F16, "f16", "1"}, {ENSO_DTYPE_BF16, "bf16", "2"}};

/* The text with its type put in. */
static void instantiate(const char *text, size_t type, char *dst)
{
    for (; *text != '\0'; text++) {
        const char *put = *text == '$' ? types[type].name : types[type].number;

        if (*text == '$' || *text == '#') {
            strcpy(dst, put);
            dst += strlen(put);
        } else {
            *dst++ = *text;
        }
    }
    *dst = '\0';
}

static int try_bind(struct enso_device *device, const char *text, struct enso_error *err)
{
    struct enso_graph *g = text_graph(text);
    struct enso_bound *bound = NULL;
    int st = enso_graph_infer(g, err);

    ck_assert_msg(st == ENSO_OK, "%s\n%s", text, err->message);
    st = rig_backend()->bind(device, g, 0, &bound, err);
    if (st == ENSO_OK)
        rig_backend()->unbind(device, bound);
    enso_graph_destroy(g);
    return st;
}

START_TEST(test_types_promises)
{
    const struct enso_device_options options = {
        .name = rig_on_gpu() ? "cuda:0" : "cpu", .n_threads = 1, .isa = "auto", .cublaslt = "none"};
    struct enso_device *device;
    struct enso_error err = {0};
    char text[1024];
    int n_broken = 0;

    ck_assert_msg(rig_backend()->device_open(&options, &device, &err) == ENSO_OK, "%s",
                  err.message);
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(nodes); i++) {
        struct enso_error why = {0};
        bool promised = rig_backend()->computes(device, nodes[i].op, types[_i].dtype);
        int st;

        instantiate(nodes[i].text, (size_t)_i, text);
        st = try_bind(device, text, &why);
        if (promised == (st == ENSO_OK) && (st == ENSO_OK || st == ENSO_UNSUPPORTED))
            continue;
        n_broken++;
        fprintf(stderr, "%s in %s: %s, but bind says \"%s\" of\n%s\n", enso_op_name(nodes[i].op),
                types[_i].name, promised ? "promised" : "not promised",
                st == ENSO_OK ? "fine" : why.message, text);
    }
    rig_backend()->device_close(device);
    ck_assert_int_eq(n_broken, 0);
}
END_TEST

/* Every operator is asked about, but for those without floats. */
START_TEST(test_types_all_operators)
{
    static const enum enso_op without[] = {ENSO_OP_NONE, ENSO_OP_NOT, ENSO_OP_AND,
                                           ENSO_OP_OR,   ENSO_OP_XOR, ENSO_OP_RANGE};
    bool seen[ENSO_N_OPS] = {false};

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(without); i++)
        seen[without[i]] = true;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(nodes); i++)
        seen[nodes[i].op] = true;
    for (int op = 0; op < ENSO_N_OPS; op++)
        ck_assert_msg(seen[op], "%s", enso_op_name((enum enso_op)op));
}
END_TEST

int main(void)
{
    Suite *s = suite_create("kernels/types");
    TCase *core = tcase_create("core");
    SRunner *runner;
    int failed;

    tcase_add_loop_test(core, test_types_promises, 0, (int)ENSO_ARRAY_SIZE(types));
    tcase_add_test(core, test_types_all_operators);
    suite_add_tcase(s, core);
    runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
