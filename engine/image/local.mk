# Pictures: decoding, resizing, preparing.
engine_libengine_a_SOURCES += \
	engine/image/image.c engine/image/image.h \
	engine/image/image_exif.c \
	engine/image/image_internal.h \
	engine/image/image_jpeg.c \
	engine/image/image_png.c \
	engine/image/image_webp.c \
	engine/image/prepare.c engine/image/prepare.h \
	engine/image/resize.c engine/image/resize.h \
	engine/image/spec.c engine/image/spec.h

EXTRA_DIST += engine/image/README.md docs/ensod-json.md
