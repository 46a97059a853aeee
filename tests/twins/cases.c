/* SPDX-License-Identifier: Apache-2.0
 *
 * See cases.h.
 */
#include "tests/twins/cases.h"

#include <math.h>
#include <string.h>

const struct twins_kind twins_kinds[TWINS_N] = {
#define ROW(number, name, n_in, n_out, ampere) {name, n_in, n_out, ampere},
    TWINS(ROW)
#undef ROW
};

static uint32_t draw(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8 ^ *state << 13;
}

static float float_of(uint32_t bits)
{
    float v;

    memcpy(&v, &bits, sizeof(v));
    return v;
}

static uint32_t bits_of(float v)
{
    uint32_t bits;

    memcpy(&bits, &v, sizeof(bits));
    return bits;
}

/* Sixteen bits of a half type: `exponents` powers of two around 1. */
static uint32_t draw_half(uint32_t *state, int bf16, unsigned exponents)
{
    uint32_t random = draw(state);
    uint32_t exponent = (random >> 11) % exponents, sign = random & 0x8000;

    if (bf16)
        return sign | (127 - exponents / 2 + exponent) << 7 | (random & 0x7f);
    return sign | (15 - exponents / 2 + exponent) << 10 | (random & 0x3ff);
}

static void draw_mma(uint32_t *state, int bf16, unsigned number, uint32_t *words)
{
    static const unsigned spread[TWINS_CASES] = {1, 2, 4, 8, 16, 24, 8, 8};

    for (int i = 0; i < 6; i++) {
        words[i] = draw_half(state, bf16, spread[number]);
        words[i] |= draw_half(state, bf16, spread[number]) << 16;
    }
    if (number == 7 && draw(state) % 16 == 0) /* infinities and NaN of both kinds */
        words[draw(state) % 6] = bf16 ? 0x7f803fc0 : 0x7e003e00;
    for (int i = 6; i < 10; i++) /* C far above the products shows how wide a card adds */
        words[i] =
            bits_of(ldexpf((float)(int)(draw(state) % 2001) - 1000.0f, number == 6 ? 12 : -9));
}

void twins_input(enum twins_which which, unsigned number, twins_words words)
{
    uint32_t state = 12345u + (uint32_t)which * 977u + number * 131071u;

    memset(words, 0, sizeof(twins_words));
    for (unsigned lane = 0; lane < TWINS_LANES; lane++)
        switch (which) {
        case TWINS_MMA_BF16:
        case TWINS_MMA_F16:
            draw_mma(&state, which == TWINS_MMA_BF16, number, words[lane]);
            break;
        case TWINS_EX2: {
            static const uint32_t special[] = {0x7f800000, 0xff800000, 0x7fc00000, 0,
                                               0x80000000, 1,          0x807fffff, 0xc2fc0000};

            words[lane][0] = number == 0 && lane < 8
                                 ? special[lane]
                                 : bits_of(((float)(int)(draw(&state) % 20000000u) - 1e7f) *
                                           (number < 4 ? 1.3e-5f : 1e-7f));
            break;
        }
        case TWINS_PACK_BF16:
        case TWINS_PACK_F16:
            for (int i = 0; i < 2; i++)
                words[lane][i] = number < 4 ? draw(&state) /* any float */
                                            : bits_of(((float)(int)(draw(&state) % 4096) - 2048) *
                                                      (1 + 0x1p-9f)); /* many ties */
            break;
        default:
            for (int i = 0; i < 4; i++)
                words[lane][i] = draw(&state);
            /* ldmatrix: a slot of its own; cp.async: in bounds or not */
            words[lane][4] = which <= TWINS_LDMATRIX_X2_TRANS
                                 ? (lane * (2 * number + 1) + number) % 32
                                 : draw(&state) / 8 % 2;
        }
}

int twins_run(enum twins_which which, twins_words in, twins_words out)
{
    const size_t bytes = sizeof(twins_words), room = bytes + TWINS_LANES * 16;
    uint32_t *device_in = NULL, *device_out = NULL;
    cudaStream_t stream;
    int error;

    if ((error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking)) != cudaSuccess)
        return error;
    error = cudaMalloc((void **)&device_in, bytes);
    if (error == cudaSuccess)
        error = cudaMalloc((void **)&device_out, room);
    if (error == cudaSuccess)
        error = cudaMemsetAsync(device_out, 0, room, stream);
    if (error == cudaSuccess)
        error = cudaMemcpyAsync(device_in, in, bytes, cudaMemcpyHostToDevice, stream);
    if (error == cudaSuccess)
        error = twins_launch(which, device_in, device_out, stream);
    if (error == cudaSuccess)
        error = cudaMemcpyAsync(out, device_out, bytes, cudaMemcpyDeviceToHost, stream);
    if (error == cudaSuccess)
        error = cudaStreamSynchronize(stream);
    cudaFree(device_in);
    cudaFree(device_out);
    cudaStreamDestroy(stream);
    return error;
}

static double half_value(enum twins_which which, uint32_t bits)
{
    uint32_t exponent = bits >> 10 & 31, mantissa = bits & 0x3ff;

    if (which == TWINS_MMA_BF16)
        return (double)float_of(bits << 16);
    if (exponent == 31)
        return mantissa != 0 ? (double)NAN : (double)INFINITY;
    return exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, (int)exponent - 25);
}

/* The largest number that any sum of this instruction can come to: what rounding goes by. */
static double mma_scale(enum twins_which which, twins_words in)
{
    double a = 0, b = 0, c = 0;

    for (unsigned lane = 0; lane < TWINS_LANES; lane++)
        for (unsigned i = 0; i < 10; i++) {
            if (i >= 6) {
                c = fmax(c, fabs((double)float_of(in[lane][i])));
                continue;
            }
            double low = fabs(half_value(which, in[lane][i] & 0x7fff));
            double high = fabs(half_value(which, in[lane][i] >> 16 & 0x7fff));

            if (i < 4)
                a = fmax(a, fmax(low, high));
            else
                b = fmax(b, fmax(low, high));
        }
    return 16 * a * b + c;
}

int twins_alike(enum twins_which which, twins_words in, uint32_t a, uint32_t b)
{
    double x = (double)float_of(a), y = (double)float_of(b);

    if (a == b)
        return 1;
    switch (which) {
    case TWINS_MMA_BF16:
    case TWINS_MMA_F16:
        /* Sixteen roundings of 2^-22, the least that cards are known to keep. */
        return (isnan(x) && isnan(y)) || fabs(x - y) <= 0x1p-18 * mma_scale(which, in);
    case TWINS_EX2:
        return (isnan(x) && isnan(y)) || fabs(x - y) <= 0x1p-22 * fabs(x);
    case TWINS_PACK_BF16:
    case TWINS_PACK_F16: /* halves that are not numbers have many forms */
        for (int shift = 0; shift < 32; shift += 16) {
            uint32_t limit = which == TWINS_PACK_BF16 ? 0x7f80 : 0x7c00;

            if ((a >> shift & 0xffff) != (b >> shift & 0xffff) &&
                ((a >> shift & 0x7fff) <= limit || (b >> shift & 0x7fff) <= limit))
                return 0;
        }
        return 1;
    default:
        return 0;
    }
}

int twins_record(FILE *to, int has_ampere)
{
    static twins_words in, out;

    for (int which = 0; which < TWINS_N; which++) {
        const struct twins_kind *kind = &twins_kinds[which];

        for (unsigned number = 0; number < TWINS_CASES && (has_ampere || !kind->ampere); number++) {
            twins_input((enum twins_which)which, number, in);
            int error = twins_run((enum twins_which)which, in, out);

            if (error != cudaSuccess)
                return error;
            for (unsigned lane = 0; lane < TWINS_LANES; lane++) {
                fprintf(to, "%s %u %u in", kind->name, number, lane);
                for (unsigned i = 0; i < kind->n_in; i++)
                    fprintf(to, " %x", in[lane][i]);
                fprintf(to, " out");
                for (unsigned i = 0; i < kind->n_out; i++)
                    fprintf(to, " %x", out[lane][i]);
                fputc('\n', to);
            }
        }
    }
    return ferror(to) != 0;
}

/* One line: its instruction, or -1. */
static int read_lane(FILE *from, unsigned lane, twins_words in, twins_words out)
{
    char name[32], word[8];
    unsigned number, found;

    if (fscanf(from, "%31s %u %u %7s", name, &number, &found, word) != 4 || found != lane)
        return -1;
    for (int which = 0; which < TWINS_N; which++) {
        if (strcmp(name, twins_kinds[which].name) != 0)
            continue;
        for (unsigned i = 0; i < twins_kinds[which].n_in; i++)
            if (fscanf(from, "%x", &in[lane][i]) != 1)
                return -1;
        if (fscanf(from, "%7s", word) != 1)
            return -1;
        for (unsigned i = 0; i < twins_kinds[which].n_out; i++)
            if (fscanf(from, "%x", &out[lane][i]) != 1)
                return -1;
        return which;
    }
    return -1;
}

int twins_compare(FILE *from, unsigned *ret_lanes)
{
    static twins_words in, expected, found;
    int wrong = 0, c;

    *ret_lanes = 0;
    for (;;) {
        int which = -1;

        while ((c = fgetc(from)) == '\n')
            ;
        if (c == EOF)
            return *ret_lanes == 0 ? -1 : wrong;
        ungetc(c, from);
        memset(in, 0, sizeof(in));
        for (unsigned lane = 0; lane < TWINS_LANES; lane++) {
            int read = read_lane(from, lane, in, expected);

            if (read < 0 || (lane > 0 && read != which))
                return -1;
            which = read;
        }
        if (twins_run((enum twins_which)which, in, found) != cudaSuccess)
            return -1;
        for (unsigned lane = 0; lane < TWINS_LANES; lane++) {
            int alike = 1;

            for (unsigned i = 0; i < twins_kinds[which].n_out; i++)
                alike &=
                    twins_alike((enum twins_which)which, in, expected[lane][i], found[lane][i]);
            wrong += !alike;
            (*ret_lanes)++;
        }
    }
}
