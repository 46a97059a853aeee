# Build fragment of tests/base/: see tests/local.mk.

check_PROGRAMS += tests/base/check_file
TESTS += tests/base/check_file
tests_base_check_file_SOURCES = tests/base/check_file.c
tests_base_check_file_CFLAGS = $(TEST_CFLAGS)
tests_base_check_file_CPPFLAGS = $(TEST_CPPFLAGS)
tests_base_check_file_LDADD = $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/base/check_number
TESTS += tests/base/check_number
tests_base_check_number_SOURCES = tests/base/check_number.c
tests_base_check_number_CFLAGS = $(TEST_CFLAGS)
tests_base_check_number_CPPFLAGS = $(TEST_CPPFLAGS)
tests_base_check_number_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/base/check_error
TESTS += tests/base/check_error
tests_base_check_error_SOURCES = tests/base/check_error.c
tests_base_check_error_CFLAGS = $(TEST_CFLAGS)
tests_base_check_error_CPPFLAGS = $(TEST_CPPFLAGS)
tests_base_check_error_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/base/check_memory
TESTS += tests/base/check_memory
tests_base_check_memory_SOURCES = tests/base/check_memory.c
tests_base_check_memory_CFLAGS = $(TEST_CFLAGS)
tests_base_check_memory_CPPFLAGS = $(TEST_CPPFLAGS)
tests_base_check_memory_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/base/check_buffer
TESTS += tests/base/check_buffer
tests_base_check_buffer_SOURCES = tests/base/check_buffer.c
tests_base_check_buffer_CFLAGS = $(TEST_CFLAGS)
tests_base_check_buffer_CPPFLAGS = $(TEST_CPPFLAGS)
tests_base_check_buffer_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/base/check_utf8
TESTS += tests/base/check_utf8
tests_base_check_utf8_SOURCES = tests/base/check_utf8.c
tests_base_check_utf8_CFLAGS = $(TEST_CFLAGS)
tests_base_check_utf8_CPPFLAGS = $(TEST_CPPFLAGS)
tests_base_check_utf8_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/base/check_log
TESTS += tests/base/check_log
tests_base_check_log_SOURCES = tests/base/check_log.c
tests_base_check_log_CFLAGS = $(TEST_CFLAGS)
tests_base_check_log_CPPFLAGS = $(TEST_CPPFLAGS)
tests_base_check_log_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/base/check_base64
TESTS += tests/base/check_base64
tests_base_check_base64_SOURCES = tests/base/check_base64.c
tests_base_check_base64_CFLAGS = $(TEST_CFLAGS)
tests_base_check_base64_CPPFLAGS = $(TEST_CPPFLAGS)
tests_base_check_base64_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/base/check_json
TESTS += tests/base/check_json
tests_base_check_json_SOURCES = tests/base/check_json.c
tests_base_check_json_CFLAGS = $(TEST_CFLAGS)
tests_base_check_json_CPPFLAGS = $(TEST_CPPFLAGS)
tests_base_check_json_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/base/check_metrics
TESTS += tests/base/check_metrics
tests_base_check_metrics_SOURCES = tests/base/check_metrics.c
tests_base_check_metrics_CFLAGS = $(TEST_CFLAGS)
tests_base_check_metrics_CPPFLAGS = $(TEST_CPPFLAGS)
tests_base_check_metrics_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)
