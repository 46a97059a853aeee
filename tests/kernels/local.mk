# Build fragment of tests/kernels/: see tests/local.mk.
# The rig builds graphs of one node, so kernels' tests link the engine's graph as well.
KERNEL_TEST_LIBS = tests/kernels/librig.a $(TEST_LIBS) $(ENGINE_LIBS) $(CHECK_LIBS)
check_LIBRARIES += tests/kernels/librig.a
tests_kernels_librig_a_SOURCES = tests/kernels/rig.c tests/kernels/rig.h \
	tests/kernels/halves.c tests/kernels/halves.h tests/kernels/reference.c \
	tests/kernels/reference.h
tests_kernels_librig_a_CFLAGS = $(TEST_CFLAGS)
tests_kernels_librig_a_CPPFLAGS = $(TEST_CPPFLAGS)

check_PROGRAMS += tests/kernels/check_team
TESTS += tests/kernels/check_team
tests_kernels_check_team_SOURCES = tests/kernels/check_team.c
tests_kernels_check_team_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_team_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_team_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_elementwise
TESTS += tests/kernels/check_elementwise
tests_kernels_check_elementwise_SOURCES = tests/kernels/check_elementwise.c
tests_kernels_check_elementwise_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_elementwise_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_elementwise_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_corners
TESTS += tests/kernels/check_corners
tests_kernels_check_corners_SOURCES = tests/kernels/check_corners.c
tests_kernels_check_corners_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_corners_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_corners_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_half
TESTS += tests/kernels/check_half
tests_kernels_check_half_SOURCES = tests/kernels/check_half.c
tests_kernels_check_half_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_half_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_half_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_half_rows
TESTS += tests/kernels/check_half_rows
tests_kernels_check_half_rows_SOURCES = tests/kernels/check_half_rows.c
tests_kernels_check_half_rows_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_half_rows_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_half_rows_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_invariance
TESTS += tests/kernels/check_invariance
tests_kernels_check_invariance_SOURCES = tests/kernels/check_invariance.c
tests_kernels_check_invariance_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_invariance_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_invariance_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_move
TESTS += tests/kernels/check_move
tests_kernels_check_move_SOURCES = tests/kernels/check_move.c
tests_kernels_check_move_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_move_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_move_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_move_corners
TESTS += tests/kernels/check_move_corners
tests_kernels_check_move_corners_SOURCES = tests/kernels/check_move_corners.c
tests_kernels_check_move_corners_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_move_corners_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_move_corners_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_network
TESTS += tests/kernels/check_network
tests_kernels_check_network_SOURCES = tests/kernels/check_network.c
tests_kernels_check_network_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_network_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_network_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_fused
TESTS += tests/kernels/check_fused
tests_kernels_check_fused_SOURCES = tests/kernels/check_fused.c
tests_kernels_check_fused_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_fused_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_fused_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_threads
TESTS += tests/kernels/check_threads
tests_kernels_check_threads_SOURCES = tests/kernels/check_threads.c
tests_kernels_check_threads_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_threads_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_threads_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_network_corners
TESTS += tests/kernels/check_network_corners
tests_kernels_check_network_corners_SOURCES = tests/kernels/check_network_corners.c
tests_kernels_check_network_corners_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_network_corners_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_network_corners_LDADD = $(KERNEL_TEST_LIBS)

# Loading cuBLASLt touches no device: the module's file is compiled into its test.
check_PROGRAMS += tests/kernels/check_cublaslt_load
TESTS += tests/kernels/check_cublaslt_load
tests_kernels_check_cublaslt_load_SOURCES = tests/kernels/check_cublaslt_load.c \
	kernels/cuda/cublaslt_load.c kernels/cuda/cublaslt_api.h
tests_kernels_check_cublaslt_load_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_cublaslt_load_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_cublaslt_load_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)

# Nor do sizes of batches.
check_PROGRAMS += tests/kernels/check_ladder
TESTS += tests/kernels/check_ladder
tests_kernels_check_ladder_SOURCES = tests/kernels/check_ladder.c \
	kernels/cuda/ladder.c kernels/cuda/ladder.h
tests_kernels_check_ladder_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_ladder_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_ladder_LDADD = $(TEST_LIBS) $(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/kernels/check_types
TESTS += tests/kernels/check_types
tests_kernels_check_types_SOURCES = tests/kernels/check_types.c $(GRAPH_TEST_HELPERS)
tests_kernels_check_types_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_types_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_types_LDADD = $(KERNEL_TEST_LIBS)

# The same with the table of timed algorithms.
check_PROGRAMS += tests/kernels/check_algorithms
TESTS += tests/kernels/check_algorithms
tests_kernels_check_algorithms_SOURCES = tests/kernels/check_algorithms.c \
	kernels/cuda/algorithms.c kernels/cuda/algorithms.h
tests_kernels_check_algorithms_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_algorithms_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_algorithms_LDADD = $(TEST_LIBS) $(ENGINE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/kernels/check_half_ragged
TESTS += tests/kernels/check_half_ragged
tests_kernels_check_half_ragged_SOURCES = tests/kernels/check_half_ragged.c
tests_kernels_check_half_ragged_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_half_ragged_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_half_ragged_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_half_products
TESTS += tests/kernels/check_half_products
tests_kernels_check_half_products_SOURCES = tests/kernels/check_half_products.c
tests_kernels_check_half_products_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_half_products_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_half_products_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_resize
TESTS += tests/kernels/check_resize
tests_kernels_check_resize_SOURCES = tests/kernels/check_resize.c
tests_kernels_check_resize_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_resize_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_resize_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_top_k
TESTS += tests/kernels/check_top_k
tests_kernels_check_top_k_SOURCES = tests/kernels/check_top_k.c
tests_kernels_check_top_k_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_top_k_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_top_k_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_gather
TESTS += tests/kernels/check_gather
tests_kernels_check_gather_SOURCES = tests/kernels/check_gather.c
tests_kernels_check_gather_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_gather_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_gather_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/kernels/check_pixels
TESTS += tests/kernels/check_pixels
tests_kernels_check_pixels_SOURCES = tests/kernels/check_pixels.c
tests_kernels_check_pixels_CFLAGS = $(TEST_CFLAGS)
tests_kernels_check_pixels_CPPFLAGS = $(TEST_CPPFLAGS)
tests_kernels_check_pixels_LDADD = $(KERNEL_TEST_LIBS)
