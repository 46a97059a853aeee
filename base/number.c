/* SPDX-License-Identifier: Apache-2.0
 *
 * Numbers to text and back: see number.h.
 *
 * The float32 writer is Schubfach. A float is c · 2^q; the decimals that read back as it are those
 * of the interval between the midpoints to its neighbours, [4c - 2, 4c + 2] · 2^(q-2) (the lower
 * half is narrower at a power of two). Scaled by 10^-k with k = floor(log10 of the interval's
 * width), the interval holds at least one integer and at most one multiple of ten, so that the
 * shortest decimal is found with one multiplication per end and no loop. The scaled ends are kept
 * with a sticky last bit ("round to odd"), which 64 bits of 10^-k suffice for.
 */
#include "base/number.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/macros.h"

/* floor(10^k · 2^(63 - floor(log2(10^k)))) + 1 for k = -31 .. 45. */
#define POWER_MIN (-31)
static const uint64_t powers_of_ten[] = {
    0x81CEB32C4B43FCF5, 0xA2425FF75E14FC32, 0xCAD2F7F5359A3B3F, 0xFD87B5F28300CA0E,
    0x9E74D1B791E07E49, 0xC612062576589DDB, 0xF79687AED3EEC552, 0x9ABE14CD44753B53,
    0xC16D9A0095928A28, 0xF1C90080BAF72CB2, 0x971DA05074DA7BEF, 0xBCE5086492111AEB,
    0xEC1E4A7DB69561A6, 0x9392EE8E921D5D08, 0xB877AA3236A4B44A, 0xE69594BEC44DE15C,
    0x901D7CF73AB0ACDA, 0xB424DC35095CD810, 0xE12E13424BB40E14, 0x8CBCCC096F5088CC,
    0xAFEBFF0BCB24AAFF, 0xDBE6FECEBDEDD5BF, 0x89705F4136B4A598, 0xABCC77118461CEFD,
    0xD6BF94D5E57A42BD, 0x8637BD05AF6C69B6, 0xA7C5AC471B478424, 0xD1B71758E219652C,
    0x83126E978D4FDF3C, 0xA3D70A3D70A3D70B, 0xCCCCCCCCCCCCCCCD, 0x8000000000000001,
    0xA000000000000001, 0xC800000000000001, 0xFA00000000000001, 0x9C40000000000001,
    0xC350000000000001, 0xF424000000000001, 0x9896800000000001, 0xBEBC200000000001,
    0xEE6B280000000001, 0x9502F90000000001, 0xBA43B74000000001, 0xE8D4A51000000001,
    0x9184E72A00000001, 0xB5E620F480000001, 0xE35FA931A0000001, 0x8E1BC9BF04000001,
    0xB1A2BC2EC5000001, 0xDE0B6B3A76400001, 0x8AC7230489E80001, 0xAD78EBC5AC620001,
    0xD8D726B7177A8001, 0x878678326EAC9001, 0xA968163F0A57B401, 0xD3C21BCECCEDA101,
    0x84595161401484A1, 0xA56FA5B99019A5C9, 0xCECB8F27F4200F3B, 0x813F3978F8940985,
    0xA18F07D736B90BE6, 0xC9F2C9CD04674EDF, 0xFC6F7C4045812297, 0x9DC5ADA82B70B59E,
    0xC5371912364CE306, 0xF684DF56C3E01BC7, 0x9A130B963A6C115D, 0xC097CE7BC90715B4,
    0xF0BDC21ABB48DB21, 0x96769950B50D88F5, 0xBC143FA4E250EB32, 0xEB194F8E1AE525FE,
    0x92EFD1B8D0CF37BF, 0xB7ABC627050305AE, 0xE596B7B0C643C71A, 0x8F7E32CE7BEA5C70,
    0xB35DBF821AE4F38C,
};

static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324"
                                  "25262728293031323334353637383940414243444546474849"
                                  "50515253545556575859606162636465666768697071727374"
                                  "75767778798081828384858687888990919293949596979899";

/* x right-aligned before end; the first digit's place. */
static char *put_digits_before(char *end, uint64_t x)
{
    while (x >= 100) {
        unsigned pair = (unsigned)(x % 100) * 2;

        x /= 100;
        *--end = digit_pairs[pair + 1];
        *--end = digit_pairs[pair];
    }
    if (x >= 10) {
        *--end = digit_pairs[x * 2 + 1];
        *--end = digit_pairs[x * 2];
    } else {
        *--end = (char)('0' + x);
    }
    return end;
}

static uint32_t round_to_odd(uint64_t g, uint32_t x)
{
    __extension__ typedef unsigned __int128 wide;
    wide p = (wide)g * x;
    uint32_t high = (uint32_t)(p >> 64), low = (uint32_t)(p >> 32);

    return high | (low > 1);
}

/* The shortest decimal digits · 10^exponent within the rounding interval of a finite float > 0. */
static uint32_t shortest_f32(uint32_t significand, uint32_t exponent, int *ret_exponent)
{
    bool closer = significand == 0 && exponent > 1; /* the float below is half as far */
    uint32_t c = exponent != 0 ? significand | 1u << 23 : significand;
    int q = exponent != 0 ? (int)exponent - 150 : -149;
    uint32_t out = c & 1; /* an odd float does not own the ends of its interval */
    /* floor(log10(2^q)), or of 3/4 · 2^q; >> of negatives is arithmetic with gcc and clang */
    /* cppcheck-suppress shiftNegativeLHS */
    int k = (q * 1262611 - (closer ? 524031 : 0)) >> 22;
    int h = q + ((-k * 1741647) >> 19) + 1;
    uint64_t g = powers_of_ten[-k - POWER_MIN];
    uint32_t lower = round_to_odd(g, (4 * c - 2 + closer) << h) + out;
    uint32_t value = round_to_odd(g, (4 * c) << h);
    uint32_t upper = round_to_odd(g, (4 * c + 2) << h) - out;
    uint32_t s = value / 4;

    if (s >= 10) {
        uint32_t tens = s / 10;
        bool down = lower <= 40 * tens, up = 40 * tens + 40 <= upper;

        if (down != up) {
            *ret_exponent = k + 1;
            return tens + up;
        }
    }
    bool down = lower <= 4 * s, up = 4 * s + 4 <= upper;

    *ret_exponent = k;
    if (down != up)
        return s + up;
    return s + (value > 4 * s + 2 || (value == 4 * s + 2 && (s & 1)));
}

/* n digits with the decimal point after the first `point` of them (point may be < 1 or > n); with
 * an exponent when there would be more than `widest` digits before the point. */
static char *put_decimal(char *out, const char *digits, int n, int point, int widest)
{
    if (point > 0 && point <= widest) {
        int whole = ENSO_MIN(n, point);

        memcpy(out, digits, (size_t)whole);
        out += whole;
        for (int i = whole; i < point; i++)
            *out++ = '0';
        *out++ = '.';
        if (n <= point) {
            *out++ = '0';
            return out;
        }
        memcpy(out, digits + whole, (size_t)(n - whole));
        return out + (n - whole);
    }
    if (point <= 0 && point > -5) {
        *out++ = '0';
        *out++ = '.';
        for (int i = point; i < 0; i++)
            *out++ = '0';
        memcpy(out, digits, (size_t)n);
        return out + n;
    }
    *out++ = digits[0];
    if (n > 1) {
        *out++ = '.';
        memcpy(out, digits + 1, (size_t)n - 1);
        out += n - 1;
    }
    *out++ = 'e';
    *out++ = point > 0 ? '+' : '-';

    char text[8];
    char *first = put_digits_before(text + sizeof text, (uint64_t)abs(point - 1));

    memcpy(out, first, (size_t)(text + sizeof text - first));
    return out + (text + sizeof text - first);
}

size_t enso_number_write_f32(float x, char out[ENSO_NUMBER_F32_SIZE])
{
    uint32_t bits;
    char *p = out;

    memcpy(&bits, &x, sizeof bits);
    uint32_t significand = bits & 0x7FFFFF, exponent = bits >> 23 & 0xFF;

    if (exponent == 0xFF) {
        memcpy(out, "null", 5);
        return 4;
    }
    if (bits >> 31)
        *p++ = '-';
    if ((bits & 0x7FFFFFFF) == 0) {
        memcpy(p, "0.0", 4);
        return (size_t)(p - out) + 3;
    }

    int k;
    uint32_t d = shortest_f32(significand, exponent, &k);

    while (d % 10 == 0) {
        d /= 10;
        k++;
    }

    char text[12];
    char *first = put_digits_before(text + sizeof text, d);
    int n = (int)(text + sizeof text - first);

    p = put_decimal(p, first, n, n + k, 9);
    *p = '\0';
    return (size_t)(p - out);
}

size_t enso_number_write_f64(double x, char out[ENSO_NUMBER_F64_SIZE])
{
    char text[40];
    char digits[20];
    char *p = out;
    int n = 0;

    if (!isfinite(x)) {
        memcpy(out, "null", 5);
        return 4;
    }
    if (signbit(x))
        *p++ = '-';
    x = fabs(x);
    if (x == 0) {
        memcpy(p, "0.0", 4);
        return (size_t)(p - out) + 3;
    }
    /* every decimal of 15 digits survives in a normal double; denormals have fewer */
    for (int precision = x < 0x1p-1022 ? 0 : 14; precision <= 16; precision++) {
        (void)snprintf(text, sizeof text, "%.*e", precision, x); /* always fits */
        if (strtod(text, NULL) == x)
            break;
    }

    char *e = strchr(text, 'e');

    for (const char *t = text; t < e; t++) {
        if (*t >= '0' && *t <= '9')
            digits[n++] = *t;
    }
    while (n > 1 && digits[n - 1] == '0')
        n--;
    p = put_decimal(p, digits, n, (int)strtol(e + 1, NULL, 10) + 1, 15);
    *p = '\0';
    return (size_t)(p - out);
}

/* The digits of x and a NUL; out has room for 21 bytes. */
static size_t put_u64(char *out, uint64_t x)
{
    char text[20];
    char *first = put_digits_before(text + sizeof text, x);
    size_t n = (size_t)(text + sizeof text - first);

    memcpy(out, first, n);
    out[n] = '\0';
    return n;
}

size_t enso_number_write_u64(uint64_t x, char out[24])
{
    return put_u64(out, x);
}

size_t enso_number_write_i64(int64_t x, char out[24])
{
    if (x >= 0)
        return put_u64(out, (uint64_t)x);
    out[0] = '-';
    return 1 + put_u64(out + 1, 0 - (uint64_t)x);
}

void enso_buffer_put_f32(struct enso_buffer *b, float x)
{
    if (enso_buffer_reserve(b, ENSO_NUMBER_F32_SIZE))
        b->size += enso_number_write_f32(x, b->data + b->size);
}

void enso_buffer_put_f64(struct enso_buffer *b, double x)
{
    char text[ENSO_NUMBER_F64_SIZE];

    enso_buffer_append(b, text, enso_number_write_f64(x, text));
}

void enso_buffer_put_u64(struct enso_buffer *b, uint64_t x)
{
    char text[24];

    enso_buffer_append(b, text, enso_number_write_u64(x, text));
}

void enso_buffer_put_i64(struct enso_buffer *b, int64_t x)
{
    char text[24];

    enso_buffer_append(b, text, enso_number_write_i64(x, text));
}

void enso_buffer_put_f32_array(struct enso_buffer *b, const float *x, size_t n)
{
    enso_buffer_putc(b, '[');
    for (size_t i = 0; i < n && !b->failed; i++) {
        if (i != 0)
            enso_buffer_putc(b, ',');
        enso_buffer_put_f32(b, x[i]);
    }
    enso_buffer_putc(b, ']');
}

enum enso_status enso_number_parse_i64(const char *s, int64_t min, int64_t max, int64_t *ret,
                                       struct enso_error *err)
{
    const char *digits = s + (*s == '-');
    size_t n = strspn(digits, "0123456789");
    char *end;

    if (n == 0 || digits[n] != '\0')
        return enso_error_set(err, ENSO_INVALID, "'%.60s' is not a whole number", s);
    errno = 0;
    long long value = strtoll(s, &end, 10);
    if (errno == ERANGE || value < min || value > max)
        return enso_error_set(err, ENSO_INVALID, "'%.60s' is out of range; use %lld to %lld", s,
                              (long long)min, (long long)max);
    *ret = value;
    return ENSO_OK;
}

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit size_units[] = {
    {"", 1},
    {"B", 1},
    {"KiB", UINT64_C(1) << 10},
    {"MiB", UINT64_C(1) << 20},
    {"GiB", UINT64_C(1) << 30},
    {"TiB", UINT64_C(1) << 40},
    {"kB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
};

static const struct unit duration_units[] = {
    {"ns", 1},
    {"us", 1000},
    {"ms", ENSO_NS_PER_MS},
    {"s", ENSO_NS_PER_S},
    {"min", 60 * ENSO_NS_PER_S},
    {"h", 3600 * ENSO_NS_PER_S},
};

/* digits[.digits]unit, exactly, in whole units of 1; false when malformed or over 2^64 - 1. */
static bool parse_with_unit(const char *s, const struct unit *units, size_t n_units, uint64_t *ret)
{
    size_t n = strspn(s, "0123456789");
    uint64_t whole = 0, fraction = 0, scale = 1, total;
    const char *p = s + n;

    if (n == 0)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (__builtin_mul_overflow(whole, 10, &whole) ||
            __builtin_add_overflow(whole, (uint64_t)(s[i] - '0'), &whole))
            return false;
    }
    if (*p == '.') {
        size_t m = strspn(++p, "0123456789");

        if (m == 0 || m > 6)
            return false;
        for (size_t i = 0; i < m; i++) {
            fraction = fraction * 10 + (uint64_t)(p[i] - '0');
            scale *= 10;
        }
        p += m;
    }
    for (size_t i = 0; i < n_units; i++) {
        if (strcmp(p, units[i].name) != 0)
            continue;
        if (__builtin_mul_overflow(whole, units[i].factor, &total) ||
            __builtin_mul_overflow(fraction, units[i].factor, &fraction) ||
            __builtin_add_overflow(total, fraction / scale, &total))
            return false;
        if (fraction % scale != 0) /* half a byte is a mistake */
            return false;
        *ret = total;
        return true;
    }
    return false;
}

enum enso_status enso_number_parse_size(const char *s, uint64_t min, uint64_t max, uint64_t *ret,
                                        struct enso_error *err)
{
    uint64_t value;

    if (!parse_with_unit(s, size_units, ENSO_ARRAY_SIZE(size_units), &value))
        return enso_error_set(err, ENSO_INVALID,
                              "'%.60s' is not a size; write for example 4096, 64KiB, 32MiB or 1GiB",
                              s);
    if (value < min || value > max) {
        char low[32], high[32];

        enso_number_format_size(min, low);
        enso_number_format_size(max, high);
        return enso_error_set(err, ENSO_INVALID, "'%.60s' is out of range; use %s to %s", s, low,
                              high);
    }
    *ret = value;
    return ENSO_OK;
}

enum enso_status enso_number_parse_duration(const char *s, uint64_t min_ns, uint64_t max_ns,
                                            uint64_t *ret_ns, struct enso_error *err)
{
    uint64_t value = 0;

    if (strcmp(s, "0") != 0 &&
        !parse_with_unit(s, duration_units, ENSO_ARRAY_SIZE(duration_units), &value))
        return enso_error_set(err, ENSO_INVALID,
                              "'%.60s' is not a duration; write for example 50ms, 1.5s, 30s, 5min "
                              "or 0",
                              s);
    if (value < min_ns || value > max_ns) {
        char low[32], high[32];

        enso_number_format_duration(min_ns, low);
        enso_number_format_duration(max_ns, high);
        return enso_error_set(err, ENSO_INVALID, "'%.60s' is out of range; use %s to %s", s, low,
                              high);
    }
    *ret_ns = value;
    return ENSO_OK;
}

/* The biggest unit of `units` (ascending from `first`) that divides the value. */
static void format_with_unit(uint64_t value, const struct unit *units, size_t first, size_t last,
                             char out[32])
{
    size_t best = first;

    for (size_t i = first; i <= last; i++) {
        if (value % units[i].factor == 0)
            best = i;
    }
    (void)snprintf(out, 32, "%llu%s", (unsigned long long)(value / units[best].factor),
                   units[best].name); /* 20 digits and a unit fit */
}

void enso_number_format_size(uint64_t bytes, char out[32])
{
    if (bytes == 0)
        memcpy(out, "0", 2);
    else
        format_with_unit(bytes, size_units, 1, 5, out);
}

void enso_number_format_duration(uint64_t ns, char out[32])
{
    if (ns == 0)
        memcpy(out, "0", 2);
    else
        format_with_unit(ns, duration_units, 0, ENSO_ARRAY_SIZE(duration_units) - 1, out);
}
