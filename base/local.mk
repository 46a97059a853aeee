noinst_LIBRARIES += base/libbase.a
base_libbase_a_SOURCES = \
	base/banned.h \
	base/base64.c base/base64.h \
	base/buffer.c base/buffer.h \
	base/clock.c base/clock.h \
	base/error.c base/error.h \
	base/file.c base/file.h \
	base/json.c base/json.h \
	base/log.c base/log.h \
	base/macros.h \
	base/memory.c base/memory.h \
	base/metrics.c base/metrics.h \
	base/number.c base/number.h \
	base/utf8.c base/utf8.h
