/* SPDX-License-Identifier: Apache-2.0
 *
 * What computes, and how much of a GPU's memory may be taken.
 */
#include "config/config.h"

#include <string.h>

#include "base/number.h"
#include "config/config_internal.h"

enum enso_status enso_config_parse_gpu_memory(const char *text, uint64_t *ret_bytes,
                                              unsigned *ret_percent, struct enso_error *err)
{
    size_t n = strlen(text);
    char digits[8] = "";
    int64_t percent = 0;
    uint64_t bytes = 0;

    if (n > 1 && n < sizeof digits && text[n - 1] == '%') {
        memcpy(digits, text, n - 1);
        if (enso_number_parse_i64(digits, 1, 100, &percent, NULL) != ENSO_OK)
            percent = 0;
    } else if (enso_number_parse_size(text, (uint64_t)1 << 20, (uint64_t)1 << 50, &bytes, NULL) !=
               ENSO_OK) {
        bytes = 0;
    }
    if (percent == 0 && bytes == 0)
        return enso_error_set(
            err, ENSO_INVALID,
            "'%.60s' is no amount of GPU memory; write 1%% to 100%%, or a size of "
            "1MiB or more such as 8GiB",
            text);
    *ret_bytes = bytes;
    *ret_percent = (unsigned)percent;
    return ENSO_OK;
}

/* One item of a list of GPUs: -1 when it is none. */
static int parse_gpu(const char *item, size_t size)
{
    char text[16];
    int64_t n = 0;

    for (; size > 0 && (*item == ' ' || *item == '\t'); size--)
        item++;
    while (size > 0 && (item[size - 1] == ' ' || item[size - 1] == '\t'))
        size--;
    if (size < 4 || size >= sizeof text)
        return -1;
    memcpy(text, item, size);
    text[size] = '\0';
    if (strcmp(text, "cuda") == 0)
        return 0;
    return strncmp(text, "cuda:", 5) == 0 &&
                   enso_number_parse_i64(text + 5, 0, 1023, &n, NULL) == ENSO_OK
               ? (int)n
               : -1;
}

enum enso_status enso_config_parse_device(const char *text, int ret_gpus[ENSO_CONFIG_MAX_GPUS],
                                          size_t *ret_n, struct enso_error *err)
{
    const char *item = text;
    size_t n = 0;

    *ret_n = 0;
    if (strcmp(text, "auto") == 0 || strcmp(text, "cpu") == 0)
        return ENSO_OK;
    for (;;) {
        size_t size = strcspn(item, ",");
        int gpu = parse_gpu(item, size);

        if (gpu < 0)
            return enso_error_set(err, ENSO_INVALID,
                                  "'%.60s' is no device; use auto, cpu or cuda:N, for several GPUs "
                                  "cuda:0,cuda:1",
                                  text);
        for (size_t i = 0; i < n; i++)
            if (ret_gpus[i] == gpu)
                return enso_error_set(err, ENSO_INVALID,
                                      "'%.60s' names cuda:%d twice; name each GPU once", text, gpu);
        if (n == ENSO_CONFIG_MAX_GPUS)
            return enso_error_set(err, ENSO_INVALID, "'%.60s...' names more than %d GPUs", text,
                                  ENSO_CONFIG_MAX_GPUS);
        ret_gpus[n++] = gpu;
        if (item[size] == '\0')
            break;
        item += size + 1;
    }
    *ret_n = n;
    return ENSO_OK;
}

enum enso_status enso__check_device(const char *value, struct enso_error *err)
{
    int gpus[ENSO_CONFIG_MAX_GPUS];
    size_t n;

    return enso_config_parse_device(value, gpus, &n, err);
}

/* Not whatever there is. */
enum enso_status enso__check_model_device(const char *value, struct enso_error *err)
{
    int gpus[ENSO_CONFIG_MAX_GPUS];
    size_t n;

    if (strcmp(value, "auto") == 0)
        return enso_error_set(err, ENSO_INVALID,
                              "'auto' is no device of a model; use cpu or cuda:N");
    return enso_config_parse_device(value, gpus, &n, err);
}

enum enso_status enso__check_gpu_memory(const char *value, struct enso_error *err)
{
    uint64_t bytes;
    unsigned percent;

    return enso_config_parse_gpu_memory(value, &bytes, &percent, err);
}
