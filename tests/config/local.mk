# Build fragment of tests/config/: see tests/local.mk.

check_PROGRAMS += tests/config/check_options
TESTS += tests/config/check_options
tests_config_check_options_SOURCES = tests/config/check_options.c
tests_config_check_options_CFLAGS = $(TEST_CFLAGS)
tests_config_check_options_CPPFLAGS = $(TEST_CPPFLAGS)
tests_config_check_options_LDADD = $(TEST_LIBS) $(CONFIG_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/config/check_config
TESTS += tests/config/check_config
tests_config_check_config_SOURCES = tests/config/check_config.c
tests_config_check_config_CFLAGS = $(TEST_CFLAGS)
tests_config_check_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_config_check_config_LDADD = $(TEST_LIBS) $(CONFIG_LIBS) $(CHECK_LIBS)
