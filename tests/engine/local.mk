# Tests of the engine; each folder below brings a local.mk, see tests/local.mk.
include tests/engine/text/local.mk
include tests/engine/image/local.mk
include tests/engine/graph/local.mk
include tests/engine/formats/local.mk
include tests/engine/model/local.mk

check_PROGRAMS += tests/engine/check_tensor
TESTS += tests/engine/check_tensor
tests_engine_check_tensor_SOURCES = tests/engine/check_tensor.c
tests_engine_check_tensor_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_check_tensor_CFLAGS = $(TEST_CFLAGS)
tests_engine_check_tensor_LDADD = engine/libengine.a $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)
