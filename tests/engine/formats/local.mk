# Build fragment of tests/engine/formats/: see tests/local.mk.

# The readers of formats need no kernels.
FORMATS_LIBS = engine/libengine.a $(PROTOBUF_C_LIBS) $(BASE_LIBS)

check_PROGRAMS += tests/engine/formats/check_weights_file
TESTS += tests/engine/formats/check_weights_file
tests_engine_formats_check_weights_file_SOURCES = tests/engine/formats/check_weights_file.c
tests_engine_formats_check_weights_file_CFLAGS = $(TEST_CFLAGS)
tests_engine_formats_check_weights_file_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_formats_check_weights_file_LDADD = $(FORMATS_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/formats/check_safetensors
TESTS += tests/engine/formats/check_safetensors
tests_engine_formats_check_safetensors_SOURCES = tests/engine/formats/check_safetensors.c
tests_engine_formats_check_safetensors_CFLAGS = $(TEST_CFLAGS)
tests_engine_formats_check_safetensors_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_formats_check_safetensors_LDADD = $(FORMATS_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/formats/check_onnx
TESTS += tests/engine/formats/check_onnx
tests_engine_formats_check_onnx_SOURCES = tests/engine/formats/check_onnx.c
tests_engine_formats_check_onnx_CFLAGS = $(TEST_CFLAGS)
tests_engine_formats_check_onnx_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_formats_check_onnx_LDADD = $(TEST_LIBS) $(FORMATS_LIBS) $(CHECK_LIBS)
EXTRA_DIST += tests/engine/formats/make_files.py tests/engine/formats/golden

check_PROGRAMS += tests/engine/formats/check_onnx_ops
TESTS += tests/engine/formats/check_onnx_ops
tests_engine_formats_check_onnx_ops_SOURCES = tests/engine/formats/check_onnx_ops.c \
	tests/engine/formats/onnx_run.c tests/engine/formats/onnx_run.h
tests_engine_formats_check_onnx_ops_CFLAGS = $(TEST_CFLAGS)
tests_engine_formats_check_onnx_ops_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_formats_check_onnx_ops_LDADD = $(TEST_LIBS) $(ENGINE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/formats/check_onnx_models
TESTS += tests/engine/formats/check_onnx_models
tests_engine_formats_check_onnx_models_SOURCES = tests/engine/formats/check_onnx_models.c \
	tests/engine/formats/onnx_run.c tests/engine/formats/onnx_run.h
tests_engine_formats_check_onnx_models_CFLAGS = $(TEST_CFLAGS)
tests_engine_formats_check_onnx_models_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_formats_check_onnx_models_LDADD = $(TEST_LIBS) $(ENGINE_LIBS) $(CHECK_LIBS)
