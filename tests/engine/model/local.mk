# Tests of whole models on the CPU backend: the numbers of engine/model and of all below it.
MODEL_RIG = tests/engine/model/model_rig.c tests/engine/model/model_rig.h \
	tests/engine/model/step_times.c tests/engine/model/step_times.h

GOLDEN_RIG = tests/engine/model/golden_rig.c tests/engine/model/golden_rig.h $(MODEL_RIG)

# For tests/parity.
check_PROGRAMS += tests/engine/model/run_cli
tests_engine_model_run_cli_SOURCES = tests/engine/model/run_cli.c $(MODEL_RIG)
tests_engine_model_run_cli_LDADD = $(ENGINE_LIBS)

check_PROGRAMS += tests/engine/model/check_model
TESTS += tests/engine/model/check_model
tests_engine_model_check_model_SOURCES = tests/engine/model/check_model.c $(GOLDEN_RIG)
tests_engine_model_check_model_CFLAGS = $(TEST_CFLAGS)
tests_engine_model_check_model_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_model_check_model_LDADD = $(TEST_LIBS) $(ENGINE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/model/check_model_folders
TESTS += tests/engine/model/check_model_folders
tests_engine_model_check_model_folders_SOURCES = tests/engine/model/check_model_folders.c $(GOLDEN_RIG)
tests_engine_model_check_model_folders_CFLAGS = $(TEST_CFLAGS)
tests_engine_model_check_model_folders_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_model_check_model_folders_LDADD = $(TEST_LIBS) $(ENGINE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/model/check_borders
TESTS += tests/engine/model/check_borders
tests_engine_model_check_borders_SOURCES = tests/engine/model/check_borders.c $(MODEL_RIG)
tests_engine_model_check_borders_CFLAGS = $(TEST_CFLAGS)
tests_engine_model_check_borders_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_model_check_borders_LDADD = $(TEST_LIBS) $(ENGINE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/model/check_precision
TESTS += tests/engine/model/check_precision
tests_engine_model_check_precision_SOURCES = tests/engine/model/check_precision.c \
	$(GRAPH_TEST_HELPERS)
tests_engine_model_check_precision_CFLAGS = $(TEST_CFLAGS)
tests_engine_model_check_precision_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_model_check_precision_LDADD = $(TEST_LIBS) $(ENGINE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/model/check_attention_work
TESTS += tests/engine/model/check_attention_work
tests_engine_model_check_attention_work_SOURCES = tests/engine/model/check_attention_work.c
tests_engine_model_check_attention_work_CFLAGS = $(TEST_CFLAGS)
tests_engine_model_check_attention_work_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_model_check_attention_work_LDADD = $(TEST_LIBS) $(ENGINE_LIBS) $(CHECK_LIBS)

# Models with random weights, and what PyTorch and transformers make of them.
EXTRA_DIST += tests/engine/model/golden
