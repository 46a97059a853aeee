/* SPDX-License-Identifier: Apache-2.0
 *
 * Tests of config/config.h: precedence, the file's rules, sentences of errors, the command line,
 * models, the dump that reads back, and every allocation failing once.
 */
#include "config/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/log.h"
#include "tests/support/support.h"

static struct enso_config config;
static struct enso_error err;

/* Load a text; the configuration is in `config`. */
static enum enso_status load_text(const char *text)
{
    memset(&err, 0, sizeof err);
    return enso_config_load_text("t.conf", text, strlen(text), &config, &err);
}

/* Load with arguments (NULL-terminated, without argv[0]) and environment. */
static enum enso_status load(const char *const *arguments, const char *const *environment)
{
    const char *argv[64] = {"ensod"};
    int argc = 1;

    while (*arguments != NULL)
        argv[argc++] = *arguments++;
    memset(&err, 0, sizeof err);
    return enso_config_load(argc, (char *const *)(void *)argv, (char *const *)(void *)environment,
                            &config, &err);
}

#define ARGUMENTS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define NOTHING ((const char *const[]){NULL})

START_TEST(test_config_defaults)
{
    ENSO_TEST_OK(load(NOTHING, NULL), &err);
    ck_assert_int_eq(config.action, ENSO_CONFIG_SERVE);
    ck_assert_uint_eq(config.listen.n, 1);
    ck_assert_str_eq(config.listen.items[0], "127.0.0.1:8080");
    ck_assert_uint_eq(config.max_body_bytes, 32 << 20);
    ck_assert_int_eq(config.max_json_depth, 64);
    ck_assert_int_eq(config.max_json_values, 2000000);
    ck_assert_int_eq(config.max_inputs, 2048);
    ck_assert_uint_eq(config.request_memory_bytes, 1 << 30);
    ck_assert_uint_eq(config.header_timeout_ns, 10 * ENSO_NS_PER_S);
    ck_assert_uint_eq(config.idle_timeout_ns, 75 * ENSO_NS_PER_S);
    ck_assert_uint_eq(config.batching.max_batch_ns, 50 * ENSO_NS_PER_MS);
    ck_assert(config.batching.truncate);
    ck_assert_str_eq(config.device, "auto");
    ck_assert_int_eq(config.lanes, 1);
    ck_assert_int_eq(config.isa, ENSO_CONFIG_ISA_AUTO);
    ck_assert_str_eq(config.gpu_memory, "90%");
    ck_assert_int_eq(config.on_device_lost, ENSO_CONFIG_LOST_AUTO);
    ck_assert_int_eq(config.log_level, ENSO_LOG_INFO);
    ck_assert_uint_eq(config.drain_delay_ns, 0);
    ck_assert_uint_eq(config.n_model_entries, 0);
    ck_assert_ptr_null(config.config_file);
    enso_config_done(&config);
    enso_config_done(&config); /* twice is fine */
    enso_config_done(NULL);
}
END_TEST

START_TEST(test_config_gpu_memory)
{
    uint64_t bytes;
    unsigned percent;

    ENSO_TEST_OK(enso_config_parse_gpu_memory("90%", &bytes, &percent, &err), &err);
    ck_assert(bytes == 0 && percent == 90);
    ENSO_TEST_OK(enso_config_parse_gpu_memory("100%", &bytes, &percent, &err), &err);
    ck_assert(bytes == 0 && percent == 100);
    ENSO_TEST_OK(enso_config_parse_gpu_memory("8GiB", &bytes, &percent, &err), &err);
    ck_assert(bytes == (uint64_t)8 << 30 && percent == 0);
    ck_assert_int_eq(enso_config_parse_gpu_memory("0%", &bytes, &percent, NULL), ENSO_INVALID);
    ck_assert_int_eq(enso_config_parse_gpu_memory("", &bytes, &percent, NULL), ENSO_INVALID);
    ck_assert_int_eq(enso_config_parse_gpu_memory("5 %", &bytes, &percent, NULL), ENSO_INVALID);
    ck_assert_int_eq(enso_config_parse_gpu_memory("0", &bytes, &percent, NULL), ENSO_INVALID);
}
END_TEST

/* default < file < environment < command line, option by option. */
START_TEST(test_config_devices)
{
    int gpus[ENSO_CONFIG_MAX_GPUS];
    size_t n;

    ENSO_TEST_OK(load_text("[device]\ndevice = cuda:3, cuda:0\nlanes = 2\n[model a]\npath = /a\n"
                           "device = cuda:0\n[model b]\npath = /b\n[model c]\npath = /c\n"
                           "device = cpu\n"),
                 &err);
    ENSO_TEST_OK(enso_config_parse_device(config.device, gpus, &n, &err), &err);
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(gpus[0], 3);
    ck_assert_int_eq(gpus[1], 0);
    ck_assert_int_eq(config.lanes, 2);
    ck_assert_str_eq(config.model_entries[0].device, "cuda:0");
    ck_assert_ptr_null(config.model_entries[1].device); /* it inherits none */
    ck_assert_str_eq(config.model_entries[2].device, "cpu");
    enso_config_done(&config);

    ENSO_TEST_OK(load_text("[model a]\ndevice = cuda\n"), &err); /* auto may be it */
    enso_config_done(&config);
    ENSO_TEST_OK(enso_config_parse_device("auto", gpus, &n, &err), &err);
    ck_assert_uint_eq(n, 0);
    ENSO_TEST_OK(enso_config_parse_device("cpu", gpus, &n, &err), &err);
    ck_assert_uint_eq(n, 0);
    ENSO_TEST_OK(enso_config_parse_device("cuda", gpus, &n, &err), &err);
    ck_assert_uint_eq(n, 1);
    ck_assert_int_eq(gpus[0], 0);
    ck_assert_int_eq(enso_config_parse_device("", gpus, &n, NULL), ENSO_INVALID);
    ck_assert_int_eq(enso_config_parse_device("cuda:-1", gpus, &n, NULL), ENSO_INVALID);
    ck_assert_int_eq(enso_config_parse_device("cuda:0,,cuda:1", gpus, &n, NULL), ENSO_INVALID);
}
END_TEST

START_TEST(test_config_precedence)
{
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/e.conf", dir);
    const char *text = "[device]\nthreads = 1\nisa = generic\ndevice = cpu\n[log]\nlevel = debug\n"
                       "[server]\nlisten = 127.0.0.1:1\nlisten = 127.0.0.1:2\nmodels = f1, f2\n";
    char *file_variable = enso_test_format("ENSOD_CONFIG=%s", path);

    enso_test_write_file(path, text, strlen(text));
    ENSO_TEST_OK(
        load(ARGUMENTS("--threads=3", "--config", path),
             ARGUMENTS("ENSOD_THREADS=2", "ENSOD_CPU_ISA=avx2", "ENSOD_PORT=tcp://x", "OTHER=1")),
        &err);
    ck_assert_int_eq(config.threads, 3);
    ck_assert_int_eq(config.isa, ENSO_CONFIG_ISA_AVX2);
    ck_assert_str_eq(config.device, "cpu");
    ck_assert_int_eq(config.log_level, ENSO_LOG_DEBUG);
    ck_assert_uint_eq(config.listen.n, 2); /* the file's keys add up, and replace the default */
    ck_assert_str_eq(config.listen.items[1], "127.0.0.1:2");
    ck_assert_uint_eq(config.n_model_entries, 2);
    ck_assert_str_eq(config.model_entries[1].path, "f2");
    ck_assert(!config.model_entries[1].required);
    ck_assert_str_eq(config.config_file, path);
    enso_config_done(&config);

    ENSO_TEST_OK(load(ARGUMENTS("--listen=*:3", "--listen", "unix:/s", "d1"),
                      ARGUMENTS(file_variable, "ENSOD_LISTEN=127.0.0.1:9, 127.0.0.1:10")),
                 &err);
    ck_assert_uint_eq(config.listen.n, 2);
    ck_assert_str_eq(config.listen.items[0], "*:3");
    ck_assert_str_eq(config.listen.items[1], "unix:/s");
    ck_assert_uint_eq(config.n_model_entries, 1); /* MODEL_DIR replaces models */
    ck_assert_str_eq(config.model_entries[0].path, "d1");
    ck_assert(config.model_entries[0].required);
    ck_assert(config.model_entries[0].from_command_line);
    enso_config_done(&config);

    ENSO_TEST_OK(load(NOTHING, ARGUMENTS("ENSOD_LISTEN=127.0.0.1:9, 127.0.0.1:10")), &err);
    ck_assert_uint_eq(config.listen.n, 2);
    ck_assert_str_eq(config.listen.items[1], "127.0.0.1:10");
    enso_config_done(&config);
    free(path);
    free(file_variable);
    enso_test_remove_dir(dir);
}
END_TEST

START_TEST(test_config_file_rules)
{
    ENSO_TEST_OK(load_text("\xEF\xBB\xBF# comment\n"
                           "; comment\n"
                           "  [ log ]  ; comment\r\n"
                           "\t level\t=\tdebug ; comment\r\n"
                           "  # indented comment\n"
                           "access_log = /var/log/a;b # not a comment\n"
                           "\n"
                           "[batching] # comment\n"
                           "truncate: no\n"
                           "[log]\n"
                           "[model a=b:c]\n"
                           "path=/p"),
                 &err);
    ck_assert_int_eq(config.log_level, ENSO_LOG_DEBUG);
    ck_assert_str_eq(config.access_log, "/var/log/a;b # not a comment");
    ck_assert(!config.batching.truncate);
    ck_assert_str_eq(config.model_entries[0].name, "a=b:c");
    enso_config_done(&config);
    ENSO_TEST_OK(load_text(""), &err);
    enso_config_done(&config);
}
END_TEST

START_TEST(test_config_file_errors)
{
    static const struct {
        const char *text, *sentence;
    } cases[] = {
        {"[server]\nmax_conections = 3\n",
         "t.conf:2: [server] max_conections: unknown key; did you mean 'max_connections'?"},
        {"[server]\nmax_body = 3\n", "t.conf:2: [server] max_body: this key belongs in section "
                                     "[limits]"},
        {"[server]\npath = 3\n", "belongs in section [model NAME]"},
        {"[server]\nzzz = 3\n", "[server] zzz: unknown key"},
        {"[serve]\n", "t.conf:1: [serve]: unknown section; did you mean [server]?"},
        {"[xyzzy]\n", "t.conf:1: [xyzzy]: unknown section; there are server,"},
        {"[model]\n", "write [model NAME]"},
        {"[models]\n", "write [model NAME]"},
        {"[model ]\n", "write [model NAME]"},
        {"[model a b]\n", "'a b' is no model name"},
        {"[model a]\n[model a]\n", "t.conf:2: [model a]: the model has a section at line 1"},
        {"[server\n", "t.conf:1: a section line must read [section]"},
        {"[]\n", "t.conf:1: a section line must read [section]"},
        {"[server] x\n", "t.conf:1: a section line"},
        {"listen = 1\n", "t.conf:1: listen: a key needs a section; write [server] above it"},
        {"max_body = 1\n", "write [limits] above it"},
        {"[server]\n\nlisten\n", "t.conf:3: expected 'key = value'"},
        {"[server]\nthis is a very long line of prose without any sign in it whatsoever, really\n",
         "t.conf:2: expected 'key = value'"},
        {"[device]\nthreads = 1\nthreads = 2\n",
         "t.conf:3: [device] threads: the key is set at line 2 already"},
        {"[model a]\npath = /a\npath = /b\n", "t.conf:3: [model a] path: the key stands in"},
        {"[device]\nthreads = 5000\n", "[device] threads: '5000' is out of range; use 0 to 1024"},
        {"[device]\nthreads =\n", "[device] threads: '' is not a whole number"},
        {"[device]\ndevice = gpu\n", "'gpu' is no device; use auto, cpu or cuda:N"},
        {"[device]\ndevice = cuda:x\n", "is no device"},
        {"[device]\ndevice = cuda:0,\n", "'cuda:0,' is no device"},
        {"[device]\ndevice = cuda:0,cpu\n",
         "'cuda:0,cpu' is no device; use auto, cpu or cuda:N, for several GPUs cuda:0,cuda:1"},
        {"[device]\ndevice = cuda:1, cuda:0, cuda:1\n",
         "'cuda:1, cuda:0, cuda:1' names cuda:1 twice; name each GPU once"},
        {"[device]\ndevice = cuda, cuda:0\n", "names cuda:0 twice"},
        {"[device]\ndevice = cuda:1024\n", "is no device"},
        {"[device]\ndevice = cuda:0,cuda:1,cuda:2,cuda:3,cuda:4,cuda:5,cuda:6,cuda:7,cuda:8,cuda:9,"
         "cuda:10,cuda:11,cuda:12,cuda:13,cuda:14,cuda:15,cuda:16\n",
         "names more than 16 GPUs"},
        {"[device]\nlanes = 0\n", "[device] lanes: '0' is out of range; use 1 to 8"},
        {"[device]\nlanes = 9\n", "[device] lanes: '9' is out of range; use 1 to 8"},
        {"[model a]\ndevice = auto\n", "'auto' is no device of a model; use cpu or cuda:N"},
        {"[model a]\ndevice = cuda:0,cpu\n", "'cuda:0,cpu' is no device"},
        {"[device]\ndevice = cuda:0,cuda:1\n[model a]\ndevice = cuda:1,cuda:2\n",
         "[model a] device: cuda:2 is not one of [device] device = cuda:0,cuda:1; write "
         "cuda:0,cuda:1,cuda:2 there"},
        {"[device]\ndevice = cuda:0\n[model a]\npath = /a\ndevice = cuda:1\n",
         "t.conf:3: [model a] device: cuda:1 is not one of [device] device = cuda:0; write "
         "cuda:0,cuda:1 there"},
        {"[model a]\ndevice = cuda:1\n",
         "t.conf:1: [model a] device: cuda:1 is not one of [device] device = auto; write "
         "cuda:0,cuda:1 there"},
        {"[device]\ndevice = cpu\n[model a]\ndevice = cuda\n",
         "[model a] device: cuda:0 is not one of [device] device = cpu; write cuda:0 there"},
        {"[device]\ngpu_memory = 101%\n", "'101%' is no amount of GPU memory; write 1% to 100%"},
        {"[device]\ngpu_memory = %\n", "'%' is no amount of GPU memory"},
        {"[device]\ngpu_memory = 1000000000%\n", "is no amount of GPU memory"},
        {"[device]\ngpu_memory = 100KiB\n", "a size of 1MiB or more"},
        {"[device]\ngpu_memory = all\n", "'all' is no amount of GPU memory"},
        {"[device]\non_device_lost = reset\n", "auto, exit, cpu or stay"},
        {"[log]\nlevel = warnings\n", "did you mean 'warning'?"},
        {"[log]\naccess_log =\n", "the value is empty"},
        {"[limits]\nmax_body = 3 MB\n", "'3 MB' is not a size"},
        {"[server]\nidle_timeout = 75\n", "'75' is not a duration"},
        {"[batching]\nmax_batch_ms = 0\n", "out of range; use 1 to 60000"},
        {"[device]\ndtype = tf32\n", "auto, fp32, bf16 or fp16"},
        {"[batching]\ntruncate = maybe\n", "'maybe' is neither yes nor no"},
        {"[server]\nlisten = 8080\n", "'8080' is no address (the port is missing)"},
        {"[server]\nlisten = a:1, a:1\n", "listen has 'a:1' twice"},
        {"[server]\nlisten =\n", "listen is empty"},
        {"[limits]\nmax_image_pixels = 300000000\n", "is more than max_request_pixels"},
        {"[limits]\nmax_body = 2GiB\n", "is more than request_memory"},
        {"[model a]\naliases = x\n[model b]\naliases = y, x\n",
         "t.conf:3: [model b]: 'x' is also a name of [model a] (line 1)"},
        {"[model a]\naliases = a\n", "'a' is also a name of [model a]"},
        {"[model a]\nserved_name = a%20b\n", "is no model name"},
        {"[log]\naccess_log = a\x01z\n", "control character"},
        {"[server]\nmodels = a,;b\n", "a ';' after a blank"},
        {"[log]\naccess_log = \xFF\n", "t.conf:2: the line is not UTF-8 text"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        ck_assert_msg(load_text(cases[i].text) == ENSO_INVALID, "accepted: %s", cases[i].text);
        ENSO_TEST_CONTAINS(err.message, cases[i].sentence);
        ck_assert_int_eq(enso_config_exit_code(&err), 1);
    }
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(enso_config_load_text("t", "[log]\0", 6, &config, &err), ENSO_INVALID);
    ck_assert_int_eq(load_text("[limits]\nmax_body = 1\n"), ENSO_INVALID);
    ck_assert_str_eq(err.param, "limits.max_body");
}
END_TEST

START_TEST(test_config_long_lines_and_names)
{
    char *text = malloc(9000);
    struct enso_config_model *m;

    ck_assert_ptr_nonnull(text);
    /* libinih alone would cut this name and this value */
    sprintf(text, "[model %0150d]\npath = %04000d\n", 7, 8);
    ENSO_TEST_OK(load_text(text), &err);
    m = &config.model_entries[0];
    ck_assert_uint_eq(strlen(m->name), 150);
    ck_assert_int_eq(m->name[149], '7');
    ck_assert_uint_eq(strlen(m->path), 4000);
    ck_assert_int_eq(m->path[3999], '8');
    enso_config_done(&config);
    sprintf(text, "[model a]\npath = %08000d\n", 8);
    ck_assert_int_eq(load_text(text), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "t.conf:2: the line has 8007 bytes");
    sprintf(text, "[model a]\npath = %04097d\n", 8);
    ck_assert_int_eq(load_text(text), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "t.conf:2: [model a] path: the value has 4097 bytes");
    sprintf(text, "[model %0300d]\n", 7);
    ck_assert_int_eq(load_text(text), ENSO_INVALID);
    free(text);
}
END_TEST

START_TEST(test_config_big_file)
{
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/e.conf", dir);
    size_t size = 10 << 20;
    char *text = malloc(size);

    ck_assert_ptr_nonnull(text);
    memset(text, '\n', size);
    enso_test_write_file(path, text, size);
    ck_assert_int_eq(load(ARGUMENTS("--config", path), NULL), ENSO_TOO_LARGE);
    ENSO_TEST_CONTAINS(err.message, path);
    memset(&err, 0, sizeof err);
    ck_assert_int_eq(enso_config_load_text("t.conf", text, size, &config, &err), ENSO_TOO_LARGE);
    ENSO_TEST_OK(enso_config_load_text("t.conf", text, 1 << 20, &config, NULL), NULL);
    enso_config_done(&config);
    ck_assert_int_eq(load(ARGUMENTS("--config", "/nowhere/e.conf"), NULL), ENSO_NOT_FOUND);
    ENSO_TEST_CONTAINS(err.message, "/nowhere/e.conf");
    ck_assert_int_eq(enso_config_exit_code(&err), 1);
    ck_assert_int_ne(load(ARGUMENTS("--config", dir), NULL), ENSO_OK);
    free(text);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

START_TEST(test_config_command_line)
{
    ENSO_TEST_OK(load(ARGUMENTS("--check", "dir"), NULL), &err);
    ck_assert_int_eq(config.action, ENSO_CONFIG_CHECK_MODEL);
    ck_assert_str_eq(config.check_dir, "dir");
    enso_config_done(&config);
    ENSO_TEST_OK(load(ARGUMENTS("--check-config", "a", "--", "--b"), NULL), &err);
    ck_assert_int_eq(config.action, ENSO_CONFIG_CHECK_CONFIG);
    ck_assert_uint_eq(config.n_model_entries, 2);
    ck_assert_str_eq(config.model_entries[1].path, "--b");
    enso_config_done(&config);
    ENSO_TEST_OK(load(ARGUMENTS("--tune", "a", "b"), NULL), &err);
    ck_assert_int_eq(config.action, ENSO_CONFIG_TUNE);
    ck_assert_uint_eq(config.n_model_entries, 2);
    enso_config_done(&config);
    ENSO_TEST_OK(load(ARGUMENTS("--help", "--config", "/nowhere"), NULL), &err);
    ck_assert_int_eq(config.action, ENSO_CONFIG_HELP);
    enso_config_done(&config);
    ENSO_TEST_OK(load(ARGUMENTS("-h"), NULL), &err);
    ck_assert_int_eq(config.action, ENSO_CONFIG_HELP);
    enso_config_done(&config);
    ENSO_TEST_OK(load(ARGUMENTS("--version"), NULL), &err);
    ck_assert_int_eq(config.action, ENSO_CONFIG_VERSION);
    enso_config_done(&config);
    ENSO_TEST_OK(load(ARGUMENTS("--device", "cuda:1", "--threads", "4"), NULL), &err);
    ck_assert_str_eq(config.device, "cuda:1");
    ck_assert_int_eq(config.threads, 4);
    enso_config_done(&config);
}
END_TEST

START_TEST(test_config_command_line_errors)
{
    static const struct {
        const char *arguments[4];
        const char *sentence;
    } cases[] = {
        {{"--lissten=x"}, "unknown option '--lissten'; did you mean '--listen'?"},
        {{"--zzz"}, "unknown option '--zzz'; 'ensod --help' lists all"},
        {{"-x"}, "unknown option '-x'"},
        {{"--listen"}, "option '--listen' needs a value"},
        {{"--config"}, "option '--config' needs a value"},
        {{"--check"}, "option '--check' needs a value"},
        {{"--help=yes"}, "option '--help' takes no value"},
        {{"--listen=nonsense"}, "option --listen: 'nonsense' is no address"},
        {{"--threads", "many"}, "option --threads: 'many' is not a whole number"},
        {{"--check", "a", "b"}, "--check takes one model folder; 'b' is one too many"},
        {{""}, "argument 1 is empty"},
    };

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(cases); i++) {
        ck_assert_int_eq(load(cases[i].arguments, NULL), ENSO_INVALID);
        ENSO_TEST_CONTAINS(err.message, cases[i].sentence);
        ck_assert_int_eq(enso_config_exit_code(&err), 2);
    }
    ck_assert_int_eq(load(NOTHING, ARGUMENTS("ENSOD_THREADS=x")), ENSO_INVALID);
    ENSO_TEST_CONTAINS(err.message, "environment variable ENSOD_THREADS: 'x' is not");
    ck_assert_int_eq(enso_config_exit_code(&err), 1);
}
END_TEST

START_TEST(test_config_models_inherit)
{
    const struct enso_config_model *m;

    ENSO_TEST_OK(load_text("[model a]\n"
                           "path = /a\nserved_name = alpha\naliases = x, y\naliases = z\n"
                           "required = yes\nmax_batch_items = 7\nmax_queue_delay = 3ms\n"
                           "[model b]\n"
                           "truncate = yes\ndtype = fp16\n"
                           "[device]\ndtype = bf16\ngelu = fast\n"
                           "[batching]\n" /* stands behind the sections on purpose */
                           "max_batch_items = 5\nmax_batch_tokens = 600\ntruncate = no\n"
                           "max_batch_ms = 20\n"
                           "[server]\nmodels = /m\n"),
                 &err);
    ck_assert_uint_eq(config.n_model_entries, 3);
    m = &config.model_entries[0];
    ck_assert_ptr_null(m->name);
    ck_assert_str_eq(m->path, "/m");
    ck_assert_int_eq(m->batching.max_batch_items, 5);
    ck_assert_int_eq(m->arithmetic.dtype, ENSO_CONFIG_DTYPE_BF16);
    m = &config.model_entries[1];
    ck_assert_str_eq(m->name, "a");
    ck_assert_str_eq(m->path, "/a");
    ck_assert_str_eq(m->served_name, "alpha");
    ck_assert_uint_eq(m->aliases.n, 3);
    ck_assert_str_eq(m->aliases.items[2], "z");
    ck_assert(m->required);
    ck_assert_int_eq(m->batching.max_batch_items, 7);
    ck_assert_int_eq(m->batching.max_batch_tokens, 600);
    ck_assert_uint_eq(m->batching.max_queue_delay_ns, 3 * ENSO_NS_PER_MS);
    ck_assert_uint_eq(m->batching.max_batch_ns, 20 * ENSO_NS_PER_MS);
    ck_assert(!m->batching.truncate);
    ck_assert_int_eq(m->arithmetic.dtype, ENSO_CONFIG_DTYPE_BF16);
    ck_assert_int_eq(m->arithmetic.gelu, ENSO_CONFIG_GELU_FAST);
    m = &config.model_entries[2];
    ck_assert_int_eq(m->arithmetic.dtype, ENSO_CONFIG_DTYPE_FP16);
    ck_assert_int_eq(m->arithmetic.gelu, ENSO_CONFIG_GELU_FAST);
    ck_assert_ptr_null(m->path);
    ck_assert(m->batching.truncate);
    ck_assert(!m->required);
    enso_config_done(&config);
}
END_TEST

static void note_change(const char *section, const char *key, bool is_reloadable,
                        const char *old_value, const char *new_value, void *context)
{
    char *text = context;

    sprintf(text + strlen(text), "%s.%s %d '%s' '%s'; ", section, key, is_reloadable, old_value,
            new_value);
}

START_TEST(test_config_dump_reads_back)
{
    struct enso_config again;
    struct enso_buffer b = ENSO_BUFFER_INIT, b2 = ENSO_BUFFER_INIT;
    char changes[1000] = "";

    ENSO_TEST_OK(load_text("[server]\nlisten = *:1, unix:/s\nmodels = /m, /n o\n"
                           "[log]\nlevel = error\n[limits]\nmax_body = 1000001B\n"
                           "[batching]\nmax_queue_delay = 1500us\n"
                           "[model a]\npath = /a\naliases = x, y\n[model b]\nmax_batch_ms = 3\n"),
                 &err);
    enso_config_write(&config, &b);
    ck_assert(!b.failed);
    ENSO_TEST_OK(enso_config_load_text("dump", b.data, b.size, &again, &err), &err);
    ENSO_TEST_OK(enso_config_compare(&config, &again, note_change, changes, &err), &err);
    ck_assert_str_eq(changes, "");
    ck_assert_uint_eq(again.n_model_entries, config.n_model_entries);
    ENSO_TEST_CONTAINS(b.data, "threads = 0 ; default\n");
    ENSO_TEST_CONTAINS(b.data, "level = error\n");
    memset(again.origin, ENSO_CONFIG_FROM_FILE, sizeof again.origin);
    memset(config.origin, ENSO_CONFIG_FROM_FILE, sizeof config.origin);
    enso_buffer_clear(&b);
    enso_config_write(&config, &b);
    enso_config_write(&again, &b2);
    ck_assert_str_eq(b.data, b2.data);
    enso_config_done(&again);
    enso_buffer_done(&b);
    enso_buffer_done(&b2);
    enso_config_done(&config);
}
END_TEST

START_TEST(test_config_compare)
{
    struct enso_config a;
    char changes[1000] = "";

    ENSO_TEST_OK(load_text("[log]\nlevel = error\n[device]\nthreads = 3\n"), &err);
    ENSO_TEST_OK(enso_config_load_text("a", NULL, 0, &a, &err), &err);
    ENSO_TEST_OK(enso_config_compare(&a, &config, note_change, changes, &err), &err);
    ck_assert_str_eq(changes, "device.threads 0 '0' '3'; log.level 1 'info' 'error'; ");
    enso_config_done(&a);
    enso_config_done(&config);
}
END_TEST

/* SIGHUP: what may change while running is put, the rest is told only. */
START_TEST(test_config_take_over)
{
    struct enso_config running;
    char changes[1000] = "";

    ENSO_TEST_OK(load_text("[log]\nlevel = error\naccess_log = /a b.log\n[device]\nthreads = 3\n"
                           "[server]\nidle_timeout = 3s\ndefault_timeout = 0\n"),
                 &err);
    ENSO_TEST_OK(enso_config_load_text("a", NULL, 0, &running, &err), &err);
    ENSO_TEST_OK(enso_config_take_over(&running, &config, note_change, changes, &err), &err);
    enso_config_done(&config); /* nothing of it is borrowed */
    ENSO_TEST_CONTAINS(changes, "device.threads 0 '0' '3'; log.level 1 'info' 'error'; ");
    ck_assert_int_eq(running.threads, 0);
    ck_assert_int_eq(running.log_level, ENSO_LOG_ERROR);
    ck_assert_str_eq(running.access_log, "/a b.log");
    ck_assert_uint_eq(running.idle_timeout_ns, 3 * ENSO_NS_PER_S);
    ck_assert_uint_eq(running.default_timeout_ns, 0);
    ck_assert_uint_eq(running.header_timeout_ns, 10 * ENSO_NS_PER_S);
    enso_config_done(&running);
}
END_TEST

static enum enso_status take_over(void *context, struct enso_error *e)
{
    struct enso_config running;
    enum enso_status st = enso_config_load_text("a", NULL, 0, &running, e);

    if (st == ENSO_OK) {
        st = enso_config_take_over(&running, context, NULL, NULL, e);
        enso_config_done(&running);
    }
    return st;
}

START_TEST(test_config_take_over_oom)
{
    ENSO_TEST_OK(load_text("[log]\nlevel = error\naccess_log = /a.log\n"), &err);
    ck_assert_uint_gt(enso_test_oom_sweep(take_over, &config), 0);
    enso_config_done(&config);
}
END_TEST

START_TEST(test_config_help)
{
    struct enso_buffer b = ENSO_BUFFER_INIT;

    enso_config_write_help(&b);
    ck_assert(!b.failed);
    ENSO_TEST_CONTAINS(b.data, "Usage: ensod [OPTION]... [MODEL_DIR]...");
    ENSO_TEST_CONTAINS(b.data, "  --listen ADDR:PORT|unix:PATH\n");
    ENSO_TEST_CONTAINS(b.data, "  --check MODEL_DIR\n");
    ENSO_TEST_CONTAINS(b.data, "ENSOD_MAX_BODY");
    for (char *line = b.data; *line != '\0'; line += strcspn(line, "\n") + 1)
        ck_assert_uint_le(strcspn(line, "\n"), 80);
    enso_buffer_done(&b);
}
END_TEST

START_TEST(test_config_addresses)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
        bool is_local;
    } good[] = {
        {"127.0.0.1:8080", "127.0.0.1", 8080, true},
        {"0.0.0.0:1", "0.0.0.0", 1, false},
        {"[::1]:0", "::1", 0, true},
        {"[::]:65535", "::", 65535, false},
        {"*:80", "*", 80, false},
        {"localhost:80", "localhost", 80, true},
        {"host.example:80", "host.example", 80, false},
    };
    static const char *const bad[] = {
        "",       ":",     ":80",         "a",       "a:",    "a:65536",
        "a:-1",   "a: 1",  "::1:80",      "[::1:80", "[]:80", "[x y]:80",
        "a b:80", "unix:", "http://a:80", "[::1]80", "a:80x"};
    struct enso_config_address a;
    char path[200];

    for (size_t i = 0; i < ENSO_ARRAY_SIZE(good); i++) {
        memset(&err, 0, sizeof err);
        ENSO_TEST_OK(enso_config_parse_address(good[i].text, &a, &err), &err);
        ck_assert(!a.is_unix);
        ck_assert_str_eq(a.host, good[i].host);
        ck_assert_uint_eq(a.port, good[i].port);
        ck_assert_int_eq(enso_config_address_is_local(&a), good[i].is_local);
    }
    for (size_t i = 0; i < ENSO_ARRAY_SIZE(bad); i++)
        ck_assert_msg(enso_config_parse_address(bad[i], &a, NULL) == ENSO_INVALID, "'%s'", bad[i]);
    ENSO_TEST_OK(enso_config_parse_address("unix:/run/e:1.sock", &a, &err), &err);
    ck_assert(a.is_unix && enso_config_address_is_local(&a));
    ck_assert_str_eq(a.path, "/run/e:1.sock");
    sprintf(path, "unix:%0107d", 1);
    ENSO_TEST_OK(enso_config_parse_address(path, &a, &err), &err);
    sprintf(path, "unix:%0108d", 1);
    ck_assert_int_eq(enso_config_parse_address(path, &a, NULL), ENSO_INVALID);
}
END_TEST

static enum enso_status load_once(void *path, struct enso_error *error)
{
    char *argv[] = {(char[]){"ensod"}, (char[]){"--config"}, path, (char[]){"--listen=*:1"},
                    (char[]){"dir"}};
    char *envp[] = {(char[]){"ENSOD_MODELS=a,b"}, NULL};
    struct enso_config c;
    struct enso_buffer b = ENSO_BUFFER_INIT;
    enum enso_status st = enso_config_load(5, argv, envp, &c, error);

    if (st != ENSO_OK)
        return st;
    enso_config_write(&c, &b);
    st = b.failed ? enso_error_no_memory(error, "the dump") : ENSO_OK;
    enso_buffer_done(&b);
    enso_config_done(&c);
    return st;
}

START_TEST(test_config_oom)
{
    char *dir = enso_test_make_dir(), *path = enso_test_format("%s/e.conf", dir);
    struct enso_buffer b = ENSO_BUFFER_INIT;

    enso_buffer_puts(&b, "[server]\nmodels = x, y\n[log]\nlevel = debug\n");
    for (int i = 0; i < 20; i++)
        enso_buffer_printf(&b, "[model m%d]\npath = /some/where/%d\naliases = a%d, b%d\n", i, i, i,
                           i);
    enso_test_write_file(path, b.data, b.size);
    enso_buffer_done(&b);
    ck_assert_uint_gt(enso_test_oom_sweep(load_once, path), 5);
    free(path);
    enso_test_remove_dir(dir);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("config/config");
    TCase *core = tcase_create("core"), *limits = tcase_create("limits");
    TCase *errors = tcase_create("errors"), *oom = tcase_create("oom");

    tcase_add_test(core, test_config_defaults);
    tcase_add_test(core, test_config_gpu_memory);
    tcase_add_test(core, test_config_devices);
    tcase_add_test(core, test_config_precedence);
    tcase_add_test(core, test_config_file_rules);
    tcase_add_test(core, test_config_command_line);
    tcase_add_test(core, test_config_models_inherit);
    tcase_add_test(core, test_config_dump_reads_back);
    tcase_add_test(core, test_config_compare);
    tcase_add_test(core, test_config_take_over);
    tcase_add_test(core, test_config_help);
    tcase_add_test(core, test_config_addresses);
    tcase_add_test(limits, test_config_long_lines_and_names);
    tcase_add_test(limits, test_config_big_file);
    tcase_add_test(errors, test_config_file_errors);
    tcase_add_test(errors, test_config_command_line_errors);
    tcase_add_test(oom, test_config_oom);
    tcase_add_test(oom, test_config_take_over_oom);
    suite_add_tcase(s, core);
    suite_add_tcase(s, limits);
    suite_add_tcase(s, errors);
    suite_add_tcase(s, oom);
    return s;
}

ENSO_TEST_MAIN(suite)
