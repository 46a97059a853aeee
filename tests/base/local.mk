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
