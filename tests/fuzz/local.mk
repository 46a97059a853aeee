# libFuzzer targets, one per parser: ./configure CC=clang --enable-fuzzers, then `make fuzz` runs
# each for FUZZ_SECONDS. To add one: tests/fuzz/fuzz_<parser>.c, a line in FUZZERS and the three
# lines of its sources, flags and libraries.
FUZZ_SECONDS = 20
FUZZER_LINK = $(AM_LDFLAGS) -fsanitize=fuzzer $(SANITIZER_CFLAGS)

if ENABLE_FUZZERS
noinst_PROGRAMS += $(FUZZERS)
endif
EXTRA_PROGRAMS += $(FUZZERS)

# One a core at a time; what each said is in fuzz-<name>.log, and shown when it found something.
fuzz: $(FUZZERS)
	@printf '%s\n' $(FUZZERS) | xargs -P "$$(nproc)" -I{} sh -c 'name=$$(basename {}); \
	  {} -max_total_time=$(FUZZ_SECONDS) -max_len=65536 -timeout=10 -rss_limit_mb=2048 -verbosity=0 \
	    -artifact_prefix=$$name- >$$name.log 2>&1 && echo "$$name: nothing found" || \
	  { tail -n 60 $$name.log; echo "$$name: FAILED, see $$name.log"; exit 1; }'

FUZZERS += tests/fuzz/fuzz_safetensors
tests_fuzz_fuzz_safetensors_SOURCES = tests/fuzz/fuzz_safetensors.c
tests_fuzz_fuzz_safetensors_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_safetensors_LDADD = engine/libengine.a $(PROTOBUF_C_LIBS) $(BASE_LIBS)

FUZZERS += tests/fuzz/fuzz_onnx
tests_fuzz_fuzz_onnx_SOURCES = tests/fuzz/fuzz_onnx.c
tests_fuzz_fuzz_onnx_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_onnx_LDADD = engine/libengine.a $(PROTOBUF_C_LIBS) $(BASE_LIBS)

FUZZERS += tests/fuzz/fuzz_algorithms
tests_fuzz_fuzz_algorithms_SOURCES = tests/fuzz/fuzz_algorithms.c kernels/cuda/algorithms.c
tests_fuzz_fuzz_algorithms_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_algorithms_LDADD = engine/libengine.a $(BASE_LIBS)

FUZZERS += tests/fuzz/fuzz_image
tests_fuzz_fuzz_image_SOURCES = tests/fuzz/fuzz_image.c
tests_fuzz_fuzz_image_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_image_LDADD = engine/libengine.a $(JPEG_LIBS) $(PNG_LIBS) $(WEBP_LIBS) $(BASE_LIBS)

FUZZERS += tests/fuzz/fuzz_image_spec
tests_fuzz_fuzz_image_spec_SOURCES = tests/fuzz/fuzz_image_spec.c
tests_fuzz_fuzz_image_spec_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_image_spec_LDADD = engine/libengine.a $(JPEG_LIBS) $(PNG_LIBS) $(WEBP_LIBS) $(BASE_LIBS)

FUZZERS += tests/fuzz/fuzz_tokenizer_json
tests_fuzz_fuzz_tokenizer_json_SOURCES = tests/fuzz/fuzz_tokenizer_json.c
tests_fuzz_fuzz_tokenizer_json_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_tokenizer_json_LDADD = engine/libengine.a $(UTF8PROC_LIBS) $(BASE_LIBS)

FUZZERS += tests/fuzz/fuzz_tokenizer_encode
tests_fuzz_fuzz_tokenizer_encode_SOURCES = tests/fuzz/fuzz_tokenizer_encode.c
tests_fuzz_fuzz_tokenizer_encode_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_tokenizer_encode_LDADD = engine/libengine.a $(UTF8PROC_LIBS) $(BASE_LIBS)

FUZZERS += tests/fuzz/fuzz_json
tests_fuzz_fuzz_json_SOURCES = tests/fuzz/fuzz_json.c
tests_fuzz_fuzz_json_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_json_LDADD = $(BASE_LIBS)

FUZZERS += tests/fuzz/fuzz_config
tests_fuzz_fuzz_config_SOURCES = tests/fuzz/fuzz_config.c
tests_fuzz_fuzz_config_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_config_LDADD = $(CONFIG_LIBS)

TRANSPORT_FUZZ_LIBS = server/libserver.a $(BASE_LIBS) $(MICROHTTPD_LIBS) $(UV_LIBS) $(SYSTEMD_LIBS)
FUZZERS += tests/fuzz/fuzz_http
tests_fuzz_fuzz_http_SOURCES = tests/fuzz/fuzz_http.c
tests_fuzz_fuzz_http_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_http_LDADD = $(TRANSPORT_FUZZ_LIBS)

FUZZERS += tests/fuzz/fuzz_http_target
tests_fuzz_fuzz_http_target_SOURCES = tests/fuzz/fuzz_http_target.c
tests_fuzz_fuzz_http_target_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_http_target_LDADD = $(TRANSPORT_FUZZ_LIBS)

FUZZERS += tests/fuzz/fuzz_server_timing
tests_fuzz_fuzz_server_timing_SOURCES = tests/fuzz/fuzz_server_timing.c
tests_fuzz_fuzz_server_timing_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_server_timing_LDADD = $(CLI_LIBS)

FUZZERS += tests/fuzz/fuzz_idx
tests_fuzz_fuzz_idx_SOURCES = tests/fuzz/fuzz_idx.c
tests_fuzz_fuzz_idx_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_idx_LDADD = $(CLI_LIBS)

FUZZERS += tests/fuzz/fuzz_table
tests_fuzz_fuzz_table_SOURCES = tests/fuzz/fuzz_table.c
tests_fuzz_fuzz_table_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_table_LDADD = $(CLI_LIBS)

FUZZERS += tests/fuzz/fuzz_model_config
tests_fuzz_fuzz_model_config_SOURCES = tests/fuzz/fuzz_model_config.c
tests_fuzz_fuzz_model_config_CPPFLAGS = $(AM_CPPFLAGS) -DENSO_TOP_SRCDIR='"$(abs_top_srcdir)"'
tests_fuzz_fuzz_model_config_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_model_config_LDADD = $(ENGINE_LIBS)

FUZZERS += tests/fuzz/fuzz_multipart
tests_fuzz_fuzz_multipart_SOURCES = tests/fuzz/fuzz_multipart.c
tests_fuzz_fuzz_multipart_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_multipart_LDADD = server/libserver.a $(BASE_LIBS)

# These stand on the stand-ins of tests/server, which need Check.
if HAVE_CHECK
FUZZERS += tests/fuzz/fuzz_classify_decode
tests_fuzz_fuzz_classify_decode_SOURCES = tests/fuzz/fuzz_classify_decode.c $(FAKE_SOURCES)
tests_fuzz_fuzz_classify_decode_CFLAGS = $(TEST_CFLAGS)
tests_fuzz_fuzz_classify_decode_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_classify_decode_LDADD = $(DIALECT_LIBS)

FUZZERS += tests/fuzz/fuzz_v2_decode
tests_fuzz_fuzz_v2_decode_SOURCES = tests/fuzz/fuzz_v2_decode.c $(FAKE_SOURCES)
tests_fuzz_fuzz_v2_decode_CFLAGS = $(TEST_CFLAGS)
tests_fuzz_fuzz_v2_decode_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_v2_decode_LDADD = $(DIALECT_LIBS)
endif

FUZZERS += tests/fuzz/fuzz_base64
tests_fuzz_fuzz_base64_SOURCES = tests/fuzz/fuzz_base64.c
tests_fuzz_fuzz_base64_LDFLAGS = $(FUZZER_LINK)
tests_fuzz_fuzz_base64_LDADD = $(BASE_LIBS)
