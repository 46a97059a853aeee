# Tests of engine/image/.

# Pictures need no kernels.
IMAGE_LIBS = engine/libengine.a $(JPEG_LIBS) $(PNG_LIBS) $(WEBP_LIBS) $(BASE_LIBS)

# For tests/parity/images_parity.py.
check_PROGRAMS += tests/engine/image/prepare_cli
tests_engine_image_prepare_cli_SOURCES = tests/engine/image/prepare_cli.c
tests_engine_image_prepare_cli_LDADD = $(IMAGE_LIBS)
EXTRA_DIST += tests/parity/images_parity.py
