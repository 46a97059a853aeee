/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's configuration: what the file, the environment and the command line say, checked.
 *
 *     struct enso_config config;
 *     struct enso_error err = {0};
 *     if (enso_config_load(argc, argv, environ, &config, &err) != ENSO_OK) {
 *         fprintf(stderr, "ensod: %s\n", err.message);
 *         return enso_config_exit_code(&err);
 *     }
 *     ...
 *     enso_config_done(&config);
 *
 * Precedence: defaults < file < environment < command line. Every option is a row of the table in
 * config/options.c; parser, checks, --help, the example file, docs/configuration.md and the dump
 * come from it. Errors name file, line, section, key, and for unknown names the nearest valid one.
 *
 * File format: INI, read with libinih.
 *  - "[section]" and "key = value" lines; blanks around both are dropped, values are not quoted.
 *  - A line that begins with # or ; is a comment; so is the rest of a line from a ; after a blank.
 *  - Lists are separated by commas; a list key may be repeated, which adds to it. Any other key may
 *    stand once.
 *  - UTF-8, at most 1 MiB, lines of at most 8000 bytes; no continuation lines.
 *
 * Threads: a loaded configuration is constant and may be read from any thread. Everything it points
 * to lives until enso_config_done.
 */
#ifndef ENSO_CONFIG_CONFIG_H
#define ENSO_CONFIG_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"

struct enso_buffer;

struct enso_config_list {
    const char **items; /* NULL when empty */
    size_t n;
};

/* What to do, from the command line. */
enum enso_config_action {
    ENSO_CONFIG_SERVE,
    ENSO_CONFIG_CHECK_MODEL,  /* --check DIR: check_dir is set */
    ENSO_CONFIG_CHECK_CONFIG, /* --check-config */
    ENSO_CONFIG_TUNE,         /* --tune */
    ENSO_CONFIG_HELP,
    ENSO_CONFIG_VERSION,
};

enum enso_config_lost {
    ENSO_CONFIG_LOST_AUTO, /* exit under a supervisor that wants to be notified, else stay */
    ENSO_CONFIG_LOST_EXIT,
    ENSO_CONFIG_LOST_CPU,
    ENSO_CONFIG_LOST_STAY,
};

enum enso_config_isa { ENSO_CONFIG_ISA_AUTO, ENSO_CONFIG_ISA_GENERIC, ENSO_CONFIG_ISA_AVX2 };

/* [batching], and the same keys in [model NAME], where they override it. */
struct enso_config_batching {
    int64_t max_batch_items;  /* 0 = learned */
    int64_t max_batch_tokens; /* 0 = learned */
    int64_t max_queue_items;
    uint64_t max_queue_delay_ns;
    uint64_t max_batch_ns; /* key max_batch_ms */
    bool truncate;         /* cut long texts unless the request says otherwise */
};

enum enso_config_dtype {
    ENSO_CONFIG_DTYPE_AUTO,
    ENSO_CONFIG_DTYPE_FP32,
    ENSO_CONFIG_DTYPE_BF16,
    ENSO_CONFIG_DTYPE_FP16,
};
enum enso_config_gelu { ENSO_CONFIG_GELU_EXACT, ENSO_CONFIG_GELU_FAST };

/* Keys of [device] that may stand in [model NAME], too, where they override it. */
struct enso_config_arithmetic {
    int dtype; /* enum enso_config_dtype */
    int gelu;  /* enum enso_config_gelu */
    bool batch_invariant;
};

/* A model to serve. */
struct enso_config_model {
    const char *name; /* of the section; NULL for a folder given without one: the id is its name */
    const char *path; /* folder or file; NULL: settings for the model of this id found elsewhere */
    const char *served_name; /* NULL: the model's id */
    struct enso_config_list aliases;
    bool required; /* a failure to load ends the start; true for the command line's */
    bool from_command_line;
    struct enso_config_batching batching;
    struct enso_config_arithmetic arithmetic;
    const char
        *device;   /* "cpu" or "cuda:N,cuda:M"; NULL: the GPU with the fewest bytes of weights */
    unsigned line; /* in the file, 0 for others */
};

struct enso_config {
    enum enso_config_action action;
    const char *check_dir;   /* ENSO_CONFIG_CHECK_MODEL only */
    const char *config_file; /* NULL: none read */

    /* [server] */
    struct enso_config_list listen; /* each is valid for enso_config_parse_address */
    struct enso_config_list models; /* folders; they are also in model_entries */
    const char *model_dir;          /* served when no model is named at all; "" = installed ones */
    int64_t max_connections;
    uint64_t header_timeout_ns, body_timeout_ns, idle_timeout_ns, write_timeout_ns;
    uint64_t default_timeout_ns; /* of a request; 0 = none */

    /* [limits] */
    uint64_t max_body_bytes;
    int64_t max_json_depth, max_json_values, max_inputs;
    int64_t max_image_pixels, max_request_pixels;
    uint64_t request_memory_bytes;

    struct enso_config_batching batching; /* [batching] */

    /* [device] */
    const char *device; /* valid for enso_config_parse_device */
    int64_t lanes;      /* of each GPU */
    int64_t threads;    /* 0 = as many as the process may use */
    const char *cuda_module;
    const char *state_dir; /* "": $STATE_DIRECTORY */
    const char *cublaslt;  /* a path, "none", or "": look for it */
    struct enso_config_arithmetic arithmetic;
    const char *gpu_memory; /* valid for enso_config_parse_gpu_memory */
    int on_device_lost;     /* enum enso_config_lost */
    int isa;                /* enum enso_config_isa */

    /* [log] */
    int log_level;          /* enum enso_log_level */
    const char *access_log; /* "off", "stderr" or a path */

    /* [shutdown] */
    uint64_t drain_delay_ns, drain_timeout_ns;

    /* Folders of the command line or of `models`, then [model] sections. */
    struct enso_config_model *model_entries;
    size_t n_model_entries;

    struct enso_arena arena;  /* owns all of the above */
    unsigned char origin[64]; /* per row of the table: enum enso_config_origin */
};

enum enso_config_origin {
    ENSO_CONFIG_FROM_DEFAULT,
    ENSO_CONFIG_FROM_FILE,
    ENSO_CONFIG_FROM_ENVIRONMENT,
    ENSO_CONFIG_FROM_COMMAND_LINE,
};

/* Read everything. argv[0] is skipped; envp is NULL-terminated "NAME=value" (NULL: none). On
 * failure *ret is untouched and there is nothing to release. With --help and --version the file is
 * not read. */
enum enso_status enso_config_load(int argc, char *const argv[], char *const envp[],
                                  struct enso_config *ret, struct enso_error *err);

/* Defaults and the text of a configuration file (NULL: defaults alone). `name` is how errors call
 * the text. For tests and tools. */
enum enso_status enso_config_load_text(const char *name, const char *text, size_t size,
                                       struct enso_config *ret, struct enso_error *err);

void enso_config_done(struct enso_config *config);

/* What main returns after a failed load: 2 for mistakes on the command line, 1 for all others. */
int enso_config_exit_code(const struct enso_error *err);

/* --help; and the whole configuration as a file that reads back as the same (--check-config). */
void enso_config_write_help(struct enso_buffer *b);
void enso_config_write(const struct enso_config *config, struct enso_buffer *b);

/* Call `changed` for each option whose value differs between a and b (SIGHUP: the running and the
 * newly read one); `is_reloadable` says whether b's value may be taken over while running. Models
 * are not compared. */
typedef void (*enso_config_changed_fn)(const char *section, const char *key, bool is_reloadable,
                                       const char *old_value, const char *new_value, void *context);
enum enso_status enso_config_compare(const struct enso_config *a, const struct enso_config *b,
                                     enso_config_changed_fn changed, void *context,
                                     struct enso_error *err);

/* Put fresh's values of the options that may change while running into `config`, for whoever reads
 * them from then on; everything else stays. `changed` as above, after a value was put (or for one
 * that would need a restart); NULL: nobody. On failure some values may have been put. The caller
 * sees to it that no other thread reads those options meanwhile. */
enum enso_status enso_config_take_over(struct enso_config *config, const struct enso_config *fresh,
                                       enso_config_changed_fn changed, void *context,
                                       struct enso_error *err);

/* An address to listen on: "127.0.0.1:8080", "[::1]:8080", "localhost:8080", "*:8080" (all
 * addresses), "unix:/run/ensod/ensod.sock". Port 0 lets the system choose. */
struct enso_config_address {
    bool is_unix;
    char host[256]; /* without brackets; "*" for all; "" for Unix */
    uint16_t port;
    char path[108]; /* Unix only */
};
enum enso_status enso_config_parse_address(const char *text, struct enso_config_address *ret,
                                           struct enso_error *err);

/* "90%" of what is free (1 to 100), or a size of at least 1 MiB ("8GiB"): one of the two results is
 * not 0. */
enum enso_status enso_config_parse_gpu_memory(const char *text, uint64_t *ret_bytes,
                                              unsigned *ret_percent, struct enso_error *err);

/* "auto" and "cpu" are no GPUs; else "cuda" (the first), "cuda:N", or a list with commas in which
 * none comes twice. */
#define ENSO_CONFIG_MAX_GPUS 16
enum enso_status enso_config_parse_device(const char *text, int ret_gpus[ENSO_CONFIG_MAX_GPUS],
                                          size_t *ret_n, struct enso_error *err);

/* True when only this machine can reach it: 127.0.0.0/8, ::1, localhost, Unix. */
bool enso_config_address_is_local(const struct enso_config_address *address);

#endif
