# Build fragment of tests/batching/: see tests/local.mk.
BATCHING_TESTS = tests/batching/check_cost_curve tests/batching/check_heap \
	tests/batching/check_lanes tests/batching/check_queue tests/batching/check_scheduler tests/batching/check_slots \
	tests/batching/check_targets
# Of the engine only samples are used: no kernels, no formats.
BATCHING_TEST_LIBS = batching/libbatching.a engine/libengine.a $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += $(BATCHING_TESTS)
TESTS += $(BATCHING_TESTS)

tests_batching_check_cost_curve_SOURCES = tests/batching/check_cost_curve.c
tests_batching_check_cost_curve_CFLAGS = $(TEST_CFLAGS)
tests_batching_check_cost_curve_CPPFLAGS = $(TEST_CPPFLAGS)
tests_batching_check_cost_curve_LDADD = $(BATCHING_TEST_LIBS)
tests_batching_check_heap_SOURCES = tests/batching/check_heap.c
tests_batching_check_heap_CFLAGS = $(TEST_CFLAGS)
tests_batching_check_heap_CPPFLAGS = $(TEST_CPPFLAGS)
tests_batching_check_heap_LDADD = $(BATCHING_TEST_LIBS)
tests_batching_check_lanes_SOURCES = tests/batching/check_lanes.c
tests_batching_check_lanes_CFLAGS = $(TEST_CFLAGS)
tests_batching_check_lanes_CPPFLAGS = $(TEST_CPPFLAGS)
tests_batching_check_lanes_LDADD = $(BATCHING_TEST_LIBS)
tests_batching_check_queue_SOURCES = tests/batching/check_queue.c tests/batching/fake.h
tests_batching_check_queue_CFLAGS = $(TEST_CFLAGS)
tests_batching_check_queue_CPPFLAGS = $(TEST_CPPFLAGS)
tests_batching_check_queue_LDADD = $(BATCHING_TEST_LIBS)
tests_batching_check_scheduler_SOURCES = tests/batching/check_scheduler.c tests/batching/fake.h
tests_batching_check_scheduler_CFLAGS = $(TEST_CFLAGS)
tests_batching_check_scheduler_CPPFLAGS = $(TEST_CPPFLAGS)
tests_batching_check_scheduler_LDADD = $(BATCHING_TEST_LIBS)
tests_batching_check_slots_SOURCES = tests/batching/check_slots.c
tests_batching_check_slots_CFLAGS = $(TEST_CFLAGS)
tests_batching_check_slots_CPPFLAGS = $(TEST_CPPFLAGS)
tests_batching_check_slots_LDADD = $(BATCHING_TEST_LIBS)
tests_batching_check_targets_SOURCES = tests/batching/check_targets.c tests/batching/fake.h
tests_batching_check_targets_CFLAGS = $(TEST_CFLAGS)
tests_batching_check_targets_CPPFLAGS = $(TEST_CPPFLAGS)
tests_batching_check_targets_LDADD = $(BATCHING_TEST_LIBS)

# For bench/gpu/ladder.py, which check_ladder.py asserts. The sizes of the CUDA module touch no device: its
# file is compiled in.
check_PROGRAMS += tests/batching/trace_cli
tests_batching_trace_cli_SOURCES = tests/batching/trace_cli.c kernels/cuda/ladder.c \
	kernels/cuda/ladder.h tests/engine/graph/fake_backend.c tests/engine/graph/fake_backend.h
tests_batching_trace_cli_CPPFLAGS = $(TEST_CPPFLAGS)
tests_batching_trace_cli_LDADD = $(BATCHING_LIBS)
dist_check_SCRIPTS += tests/batching/check_ladder.py
TESTS += tests/batching/check_ladder.py
