# Tests of engine/graph, engine/ops, engine/passes and engine/program.
GRAPH_TEST_HELPERS = tests/engine/graph/text_graph.c tests/engine/graph/text_graph.h
GRAPH_TEST_LIBS = engine/libengine.a $(BASE_LIBS)

check_PROGRAMS += tests/engine/graph/check_graph
TESTS += tests/engine/graph/check_graph
tests_engine_graph_check_graph_SOURCES = tests/engine/graph/check_graph.c $(GRAPH_TEST_HELPERS)
tests_engine_graph_check_graph_CFLAGS = $(TEST_CFLAGS)
tests_engine_graph_check_graph_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_graph_check_graph_LDADD = $(GRAPH_TEST_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/graph/check_infer
TESTS += tests/engine/graph/check_infer
tests_engine_graph_check_infer_SOURCES = tests/engine/graph/check_infer.c $(GRAPH_TEST_HELPERS)
tests_engine_graph_check_infer_CFLAGS = $(TEST_CFLAGS)
tests_engine_graph_check_infer_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_graph_check_infer_LDADD = $(GRAPH_TEST_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/graph/check_program
TESTS += tests/engine/graph/check_program
tests_engine_graph_check_program_SOURCES = tests/engine/graph/check_program.c \
	tests/engine/graph/fake_backend.c tests/engine/graph/fake_backend.h $(GRAPH_TEST_HELPERS)
tests_engine_graph_check_program_CFLAGS = $(TEST_CFLAGS)
tests_engine_graph_check_program_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_graph_check_program_LDADD = $(GRAPH_TEST_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/graph/check_passes
TESTS += tests/engine/graph/check_passes
tests_engine_graph_check_passes_SOURCES = tests/engine/graph/check_passes.c $(GRAPH_TEST_HELPERS)
tests_engine_graph_check_passes_CFLAGS = $(TEST_CFLAGS)
tests_engine_graph_check_passes_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_graph_check_passes_LDADD = $(ENGINE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/engine/graph/check_lower_precision
TESTS += tests/engine/graph/check_lower_precision
tests_engine_graph_check_lower_precision_SOURCES = tests/engine/graph/check_lower_precision.c \
	$(GRAPH_TEST_HELPERS)
tests_engine_graph_check_lower_precision_CFLAGS = $(TEST_CFLAGS)
tests_engine_graph_check_lower_precision_CPPFLAGS = $(TEST_CPPFLAGS)
tests_engine_graph_check_lower_precision_LDADD = $(ENGINE_LIBS) $(CHECK_LIBS)
