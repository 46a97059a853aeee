/* SPDX-License-Identifier: Apache-2.0
 *
 * Inputs out of arguments: see inputs.h.
 */
#include "cli/inputs.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/utf8.h"

#define PICTURE_MAX ((size_t)1 << 30)

void enso_cli_inputs_init(struct enso_cli_inputs *inputs, int n, char *arguments[], bool pictures)
{
    *inputs = (struct enso_cli_inputs){
        .arguments = arguments, .n = n, .pictures = pictures, .lines = stdin};
}

void enso_cli_inputs_done(struct enso_cli_inputs *inputs)
{
    free(inputs->line); /* getline's own */
    inputs->line = NULL;
}

void enso_cli_input_done(struct enso_cli_input *input)
{
    enso_free(input->picture);
    *input = (struct enso_cli_input){0};
}

const char *enso_cli_picture_type(const char *bytes, size_t size)
{
    if (size >= 8 && memcmp(bytes, "\x89PNG\r\n\x1a\n", 8) == 0)
        return "image/png";
    if (size >= 3 && memcmp(bytes, "\xff\xd8\xff", 3) == 0)
        return "image/jpeg";
    if (size >= 12 && memcmp(bytes, "RIFF", 4) == 0 && memcmp(bytes + 8, "WEBP", 4) == 0)
        return "image/webp";
    return NULL;
}

static bool named_like_picture(const char *name)
{
    static const char *const endings[] = {".png", ".jpg", ".jpeg", ".webp"};
    size_t n = strlen(name);

    if (strchr(name, ' ') != NULL)
        return false;
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(endings); i++) {
        size_t m = strlen(endings[i]);

        if (n > m && strcasecmp(name + n - m, endings[i]) == 0)
            return true;
    }
    return false;
}

/* A picture, if the argument is one; ret->picture stays NULL else. */
static enum enso_status try_picture(const char *name, struct enso_cli_input *ret,
                                    struct enso_error *err)
{
    bool likely = named_like_picture(name);
    struct stat st;
    enum enso_status status;

    if (!likely && (stat(name, &st) != 0 || !S_ISREG(st.st_mode)))
        return ENSO_OK;
    status = enso_file_read(name, PICTURE_MAX, &ret->picture, &ret->size, likely ? err : NULL);
    if (status != ENSO_OK)
        return likely ? status : ENSO_OK;
    ret->type = enso_cli_picture_type(ret->picture, ret->size);
    if (ret->type != NULL)
        return ENSO_OK;
    enso_free(ret->picture);
    ret->picture = NULL;
    if (likely)
        return enso_error_set(err, ENSO_INVALID, "'%.200s' is no JPEG, PNG or WebP picture", name);
    return ENSO_OK;
}

static enum enso_status next_line(struct enso_cli_inputs *inputs, const char **ret,
                                  struct enso_error *err)
{
    ssize_t n;

    do {
        n = getline(&inputs->line, &inputs->capacity, inputs->lines);
        while (n > 0 && (inputs->line[n - 1] == '\n' || inputs->line[n - 1] == '\r'))
            inputs->line[--n] = '\0';
    } while (n == 0);
    if (n < 0 && ferror(inputs->lines))
        return enso_error_set(err, ENSO_IO, "standard input could not be read");
    if (n > 0 && strlen(inputs->line) != (size_t)n)
        return enso_error_set(err, ENSO_INVALID, "standard input holds a NUL byte; send text");
    *ret = n > 0 ? inputs->line : NULL;
    return ENSO_OK;
}

enum enso_status enso_cli_inputs_next(struct enso_cli_inputs *inputs, struct enso_cli_input *ret,
                                      bool *ret_more, struct enso_error *err)
{
    *ret = (struct enso_cli_input){0};
    while (ret->name == NULL) {
        enum enso_status st = ENSO_OK;

        if (inputs->in_lines) {
            st = next_line(inputs, &ret->name, err);
            inputs->in_lines = ret->name != NULL;
        } else if (inputs->at == inputs->n) {
            *ret_more = false;
            return ENSO_OK;
        } else if (strcmp(inputs->arguments[inputs->at], "-") == 0) {
            inputs->in_lines = true;
            inputs->at++;
        } else {
            ret->name = inputs->arguments[inputs->at++];
            if (inputs->pictures)
                st = try_picture(ret->name, ret, err);
        }
        if (st != ENSO_OK)
            return st;
    }
    if (ret->picture == NULL && !enso_utf8_valid(ret->name, strlen(ret->name), NULL))
        return enso_error_set(err, ENSO_INVALID, "a text is not UTF-8");
    *ret_more = true;
    return ENSO_OK;
}
