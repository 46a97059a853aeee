# Tests of engine/image/.

# Pictures need no kernels.
IMAGE_LIBS = engine/libengine.a $(JPEG_LIBS) $(PNG_LIBS) $(WEBP_LIBS) $(BASE_LIBS)

IMAGE_TESTS = \
	tests/engine/image/check_image \
	tests/engine/image/check_prepare \
	tests/engine/image/check_resize
check_PROGRAMS += $(IMAGE_TESTS)
TESTS += $(IMAGE_TESTS)

tests_engine_image_check_image_SOURCES = tests/engine/image/check_image.c \
	tests/engine/image/image_test.h
tests_engine_image_check_image_CFLAGS = $(TEST_CFLAGS)
tests_engine_image_check_image_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_image_check_image_LDADD = $(TEST_LIBS) $(IMAGE_LIBS) $(CHECK_LIBS)

tests_engine_image_check_prepare_SOURCES = tests/engine/image/check_prepare.c \
	tests/engine/image/image_test.h
tests_engine_image_check_prepare_CFLAGS = $(TEST_CFLAGS)
tests_engine_image_check_prepare_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_image_check_prepare_LDADD = $(TEST_LIBS) $(IMAGE_LIBS) $(CHECK_LIBS)

tests_engine_image_check_resize_SOURCES = tests/engine/image/check_resize.c \
	tests/engine/image/image_test.h
tests_engine_image_check_resize_CFLAGS = $(TEST_CFLAGS)
tests_engine_image_check_resize_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_image_check_resize_LDADD = $(TEST_LIBS) $(IMAGE_LIBS) $(CHECK_LIBS)

# For tests/parity/images_parity.py.
check_PROGRAMS += tests/engine/image/prepare_cli
tests_engine_image_prepare_cli_SOURCES = tests/engine/image/prepare_cli.c
tests_engine_image_prepare_cli_LDADD = $(IMAGE_LIBS)

EXTRA_DIST += tests/parity/images_parity.py tests/engine/image/golden
