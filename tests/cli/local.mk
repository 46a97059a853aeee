# Build fragment of tests/cli/: see tests/local.mk. Unit tests of what needs no server; check_cli.py
# plays the whole program against a server of its own (Python's standard library only).
CLI_TEST_LIBS = $(TEST_LIBS) $(CLI_LIBS) $(CHECK_LIBS)
CLI_TESTS = tests/cli/check_latency tests/cli/check_arrivals tests/cli/check_server_timing \
	tests/cli/check_confusion tests/cli/check_table tests/cli/check_labels tests/cli/check_dataset tests/cli/check_eval_run

if HAVE_CHECK
check_PROGRAMS += $(CLI_TESTS)
TESTS += $(CLI_TESTS)
endif
EXTRA_PROGRAMS += $(CLI_TESTS)

tests_cli_check_latency_SOURCES = tests/cli/check_latency.c
tests_cli_check_latency_CFLAGS = $(TEST_CFLAGS)
tests_cli_check_latency_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cli_check_latency_LDADD = $(CLI_TEST_LIBS)

tests_cli_check_arrivals_SOURCES = tests/cli/check_arrivals.c
tests_cli_check_arrivals_CFLAGS = $(TEST_CFLAGS)
tests_cli_check_arrivals_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cli_check_arrivals_LDADD = $(CLI_TEST_LIBS)

tests_cli_check_server_timing_SOURCES = tests/cli/check_server_timing.c
tests_cli_check_server_timing_CFLAGS = $(TEST_CFLAGS)
tests_cli_check_server_timing_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cli_check_server_timing_LDADD = $(CLI_TEST_LIBS)

tests_cli_check_confusion_SOURCES = tests/cli/check_confusion.c
tests_cli_check_confusion_CFLAGS = $(TEST_CFLAGS)
tests_cli_check_confusion_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cli_check_confusion_LDADD = $(CLI_TEST_LIBS)

tests_cli_check_table_SOURCES = tests/cli/check_table.c
tests_cli_check_table_CFLAGS = $(TEST_CFLAGS) $(ARCHIVE_CFLAGS)
tests_cli_check_table_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cli_check_table_LDADD = $(CLI_TEST_LIBS)

tests_cli_check_labels_SOURCES = tests/cli/check_labels.c
tests_cli_check_labels_CFLAGS = $(TEST_CFLAGS)
tests_cli_check_labels_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cli_check_labels_LDADD = $(CLI_TEST_LIBS)

tests_cli_check_dataset_SOURCES = tests/cli/check_dataset.c
tests_cli_check_dataset_CFLAGS = $(TEST_CFLAGS) $(ARCHIVE_CFLAGS)
tests_cli_check_dataset_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cli_check_dataset_LDADD = $(CLI_TEST_LIBS)

tests_cli_check_eval_run_SOURCES = tests/cli/check_eval_run.c
tests_cli_check_eval_run_CFLAGS = $(TEST_CFLAGS)
tests_cli_check_eval_run_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cli_check_eval_run_LDADD = $(CLI_TEST_LIBS)

dist_check_SCRIPTS += tests/cli/check_cli.py tests/cli/check_eval.py tests/cli/check_manuals.py
TESTS += tests/cli/check_cli.py tests/cli/check_eval.py tests/cli/check_manuals.py
tests/cli/check_cli.log tests/cli/check_eval.log: enso
tests/cli/check_manuals.log: enso ensod
