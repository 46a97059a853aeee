# Build fragment of tests/cuda_emulation/: see README.md there.
# The CUDA module's own files, compiled by g++ under headers that shadow CUDA's. Never installed.
if HAVE_CXX
emulation_include = -I$(top_srcdir)/tests/cuda_emulation/include
# Kernels and the emulator alike. The emulator itself is hidden from the race detector.
emulation_cxxflags = -std=c++17 -pthread -fPIC -fvisibility=hidden -fno-exceptions -fno-rtti \
	$(WARNING_CXXFLAGS) $(filter-out %fuzzer-no-link,$(SANITIZER_CFLAGS))
emulator_cxxflags = $(filter-out -fsanitize=thread,$(emulation_cxxflags))
if ENABLE_TSAN
emulator_cxxflags += -DENSO_EMULATED_TSAN
endif

emulator_sources = \
	tests/cuda_emulation/door.cpp tests/cuda_emulation/door.h \
	tests/cuda_emulation/emulator.h \
	tests/cuda_emulation/fiber.cpp tests/cuda_emulation/fiber.h \
	tests/cuda_emulation/block.cpp \
	tests/cuda_emulation/count.cpp \
	tests/cuda_emulation/device.cpp \
	tests/cuda_emulation/errors.cpp \
	tests/cuda_emulation/graph.cpp \
	tests/cuda_emulation/launch.cpp \
	tests/cuda_emulation/memory.cpp \
	tests/cuda_emulation/operation.cpp \
	tests/cuda_emulation/pool.cpp \
	tests/cuda_emulation/profile.cpp \
	tests/cuda_emulation/report.cpp \
	tests/cuda_emulation/runtime.cpp \
	tests/cuda_emulation/shared.cpp \
	tests/cuda_emulation/stream.cpp \
	tests/cuda_emulation/twins.cpp

check_LIBRARIES += tests/cuda_emulation/libemulator.a tests/cuda_emulation/libemulated_host.a
tests_cuda_emulation_libemulator_a_SOURCES = $(emulator_sources)
tests_cuda_emulation_libemulator_a_CPPFLAGS = -I$(top_srcdir) $(emulation_include)
tests_cuda_emulation_libemulator_a_CXXFLAGS = $(emulator_cxxflags)

tests_cuda_emulation_libemulated_host_a_SOURCES = $(cuda_host_sources) $(kernel_nodes)
tests_cuda_emulation_libemulated_host_a_CPPFLAGS = $(emulation_include) $(AM_CPPFLAGS)
tests_cuda_emulation_libemulated_host_a_CFLAGS = -std=gnu11 -pthread -fPIC -fvisibility=hidden \
	$(WARNING_CFLAGS) $(SANITIZER_CFLAGS)

emulated_objects = $(patsubst %.cu,tests/cuda_emulation/%.o,$(filter %.cu,$(cuda_kernel_sources)))
emulated_module_parts = $(emulated_objects) $(tests_cuda_emulation_libemulated_host_a_OBJECTS) \
	$(tests_cuda_emulation_libemulator_a_OBJECTS) $(tests_cuda_emulation_libfailing_a_OBJECTS)
emulated_verbose = $(emulated_verbose_@AM_V@)
emulated_verbose_ = $(emulated_verbose_@AM_DEFAULT_V@)
emulated_verbose_0 = @echo "  EMULATED" $@;

# Kernels of the emulator's own tests.
emulated_test_sources = tests/cuda_emulation/emulated.cu tests/cuda_emulation/wrong/wrong.cu
emulated_test_objects = $(patsubst %.cu,tests/cuda_emulation/%.o,$(emulated_test_sources))

$(emulated_objects) $(emulated_test_objects): tests/cuda_emulation/%.o: %.cu
	@$(MKDIR_P) $(@D)
	$(emulated_verbose)$(CXX) -x c++ $(emulation_include) -I$(top_srcdir) -I$(top_builddir) \
		$(emulation_cxxflags) $(CXXFLAGS) -MMD -MP -MF $@.d -MT $@ -c -o $@ $<

# Calls that failing.cpp lets fail.
check_LIBRARIES += tests/cuda_emulation/libfailing.a
tests_cuda_emulation_libfailing_a_SOURCES = tests/cuda_emulation/failing.cpp
tests_cuda_emulation_libfailing_a_CPPFLAGS = -I$(top_srcdir) $(emulation_include)
tests_cuda_emulation_libfailing_a_CXXFLAGS = $(emulator_cxxflags)
comma = ,
emulated_wrapped = cudaGetDeviceCount cudaGetDeviceProperties cudaSetDevice cudaMalloc cudaFree \
	cudaMemGetInfo cudaHostAlloc cudaFreeHost cudaStreamCreateWithFlags cudaStreamDestroy \
	cudaEventCreateWithFlags cudaEventDestroy cudaEventRecord cudaEventSynchronize \
	cudaMemcpyAsync cudaMemsetAsync cudaStreamSynchronize cudaStreamWaitEvent cudaStreamQuery \
	cudaEventQuery cudaEventElapsedTime cudaMallocFromPoolAsync cudaFreeAsync cudaMemPoolCreate \
	cudaMemPoolDestroy cudaMemPoolSetAttribute \
	cudaStreamBeginCapture cudaStreamEndCapture cudaGraphInstantiate cudaGraphUpload \
	cudaGraphLaunch cudaGraphExecDestroy cudaGraphDestroy \
	cudaDriverGetVersion cudaGetDevice cudaSetDeviceFlags cudaDeviceGetAttribute cudaDeviceGetPCIBusId \
	cudaMemPoolGetAttribute cudaMemPoolTrimTo
check_DATA = tests/cuda_emulation/ensod-cuda-emulated.so
tests/cuda_emulation/ensod-cuda-emulated.so: $(emulated_module_parts) \
		tests/cuda_emulation/module.map
	$(emulated_verbose)$(CXX) -shared $(emulation_cxxflags) $(CXXFLAGS) -o $@ \
		$(emulated_module_parts) -Wl,--version-script=$(top_srcdir)/tests/cuda_emulation/module.map \
		$(addprefix -Wl$(comma)--wrap=,$(emulated_wrapped)) -Wl,-z,noexecstack -lm

# cuBLASLt for it, a library of its own as the real one is. Hidden from the race detector.
check_DATA += tests/cuda_emulation/libcublasLt-emulated.so
tests/cuda_emulation/libcublasLt-emulated.so: tests/cuda_emulation/cublaslt.cpp
	@$(MKDIR_P) $(@D)
	$(emulated_verbose)$(CXX) -shared -I$(top_srcdir) -I$(top_builddir) $(emulation_include) \
		$(emulator_cxxflags) $(CXXFLAGS) -MMD -MP -MF $@.d -MT $@ -o $@ $< -Wl,-z,noexecstack -ldl -lm
-include tests/cuda_emulation/libcublasLt-emulated.so.d
CLEANFILES += tests/cuda_emulation/libcublasLt-emulated.so tests/cuda_emulation/libcublasLt-emulated.so.d

# The driver's management library as tests/end_to_end/check_cuda.py wants it.
check_DATA += tests/cuda_emulation/libfake-nvml.so
tests/cuda_emulation/libfake-nvml.so: tests/cuda_emulation/fake_nvml.c
	@$(MKDIR_P) $(@D)
	$(emulated_verbose)$(CC) -shared -std=gnu11 -fPIC -fvisibility=hidden $(WARNING_CFLAGS) $(CFLAGS) \
		-o $@ $<
CLEANFILES += tests/cuda_emulation/libfake-nvml.so

# The module under test: see check_module.c, check_kernels.sh.
MODULE_RIG = tests/cuda_emulation/module_rig.c tests/cuda_emulation/module_rig.h
check_PROGRAMS += tests/cuda_emulation/check_module
TESTS += tests/cuda_emulation/check_module tests/cuda_emulation/check_kernels.sh \
	tests/cuda_emulation/check_golden.py tests/cuda_emulation/check_predict.py
tests_cuda_emulation_check_module_SOURCES = tests/cuda_emulation/check_module.c $(MODULE_RIG)
tests_cuda_emulation_check_module_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_module_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cuda_emulation_check_module_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/cuda_emulation/check_batches
TESTS += tests/cuda_emulation/check_batches
tests_cuda_emulation_check_batches_SOURCES = tests/cuda_emulation/check_batches.c $(MODULE_RIG)
tests_cuda_emulation_check_batches_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_batches_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cuda_emulation_check_batches_LDADD = $(KERNEL_TEST_LIBS)

check_PROGRAMS += tests/cuda_emulation/check_cublaslt
TESTS += tests/cuda_emulation/check_cublaslt
tests_cuda_emulation_check_cublaslt_SOURCES = tests/cuda_emulation/check_cublaslt.c $(MODULE_RIG) \
	kernels/cuda/cublaslt_load.c
tests_cuda_emulation_check_cublaslt_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_cublaslt_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cuda_emulation_check_cublaslt_LDADD = $(KERNEL_TEST_LIBS)

# Several lanes, several cards.
check_PROGRAMS += tests/cuda_emulation/check_several
TESTS += tests/cuda_emulation/check_several
tests_cuda_emulation_check_several_SOURCES = tests/cuda_emulation/check_several.c $(MODULE_RIG)
tests_cuda_emulation_check_several_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_several_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cuda_emulation_check_several_LDADD = $(KERNEL_TEST_LIBS)

# Device memory of whole models.
check_PROGRAMS += tests/cuda_emulation/check_memory
TESTS += tests/cuda_emulation/check_memory
tests_cuda_emulation_check_memory_SOURCES = tests/cuda_emulation/check_memory.c
tests_cuda_emulation_check_memory_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_memory_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cuda_emulation_check_memory_LDADD = $(KERNEL_TEST_LIBS)

# Guarded batches (ENSO_ARENA_DEBUG) and what they find.
check_PROGRAMS += tests/cuda_emulation/check_guarded
TESTS += tests/cuda_emulation/check_guarded
tests_cuda_emulation_check_guarded_SOURCES = tests/cuda_emulation/check_guarded.c $(MODULE_RIG) \
	$(GRAPH_TEST_HELPERS)
tests_cuda_emulation_check_guarded_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_guarded_CPPFLAGS = $(TEST_CPPFLAGS)
tests_cuda_emulation_check_guarded_LDADD = $(KERNEL_TEST_LIBS)

# The emulator's own tests link as C++.
emulator_test_sources = tests/cuda_emulation/children.c tests/cuda_emulation/children.h \
	tests/cuda_emulation/emulated.h
emulator_test_cppflags = $(emulation_include) $(TEST_CPPFLAGS)
emulator_test_libs = $(emulated_test_objects) tests/cuda_emulation/libemulator.a $(TEST_LIBS) \
	$(BASE_LIBS) $(CHECK_LIBS)

check_PROGRAMS += tests/cuda_emulation/check_emulator
TESTS += tests/cuda_emulation/check_emulator
tests_cuda_emulation_check_emulator_SOURCES = tests/cuda_emulation/check_emulator.c \
	$(emulator_test_sources) tests/cuda_emulation/wrong/wrong.h
nodist_EXTRA_tests_cuda_emulation_check_emulator_SOURCES = tests/cuda_emulation/none.cpp
tests_cuda_emulation_check_emulator_CPPFLAGS = $(emulator_test_cppflags)
tests_cuda_emulation_check_emulator_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_emulator_CXXFLAGS = $(emulation_cxxflags)
tests_cuda_emulation_check_emulator_LDADD = $(emulator_test_libs)

check_PROGRAMS += tests/cuda_emulation/check_streams
TESTS += tests/cuda_emulation/check_streams
tests_cuda_emulation_check_streams_SOURCES = tests/cuda_emulation/check_streams.c \
	$(emulator_test_sources)
nodist_EXTRA_tests_cuda_emulation_check_streams_SOURCES = tests/cuda_emulation/none.cpp
tests_cuda_emulation_check_streams_CPPFLAGS = $(emulator_test_cppflags)
tests_cuda_emulation_check_streams_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_streams_CXXFLAGS = $(emulation_cxxflags)
tests_cuda_emulation_check_streams_LDADD = $(emulator_test_libs)

check_PROGRAMS += tests/cuda_emulation/check_devices
TESTS += tests/cuda_emulation/check_devices
tests_cuda_emulation_check_devices_SOURCES = tests/cuda_emulation/check_devices.c \
	$(emulator_test_sources)
nodist_EXTRA_tests_cuda_emulation_check_devices_SOURCES = tests/cuda_emulation/none.cpp
tests_cuda_emulation_check_devices_CPPFLAGS = $(emulator_test_cppflags)
tests_cuda_emulation_check_devices_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_devices_CXXFLAGS = $(emulation_cxxflags)
tests_cuda_emulation_check_devices_LDADD = $(emulator_test_libs)

check_PROGRAMS += tests/cuda_emulation/check_graphs
TESTS += tests/cuda_emulation/check_graphs
tests_cuda_emulation_check_graphs_SOURCES = tests/cuda_emulation/check_graphs.c \
	$(emulator_test_sources)
nodist_EXTRA_tests_cuda_emulation_check_graphs_SOURCES = tests/cuda_emulation/none.cpp
tests_cuda_emulation_check_graphs_CPPFLAGS = $(emulator_test_cppflags)
tests_cuda_emulation_check_graphs_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_graphs_CXXFLAGS = $(emulation_cxxflags)
tests_cuda_emulation_check_graphs_LDADD = $(emulator_test_libs)

# What kernels do to memory, counted. Their calls before each access end in trace.cpp.
check_PROGRAMS += tests/cuda_emulation/check_counts
TESTS += tests/cuda_emulation/check_counts
tests_cuda_emulation_check_counts_SOURCES = tests/cuda_emulation/check_counts.c \
	tests/cuda_emulation/counted.h $(emulator_test_sources)
nodist_EXTRA_tests_cuda_emulation_check_counts_SOURCES = tests/cuda_emulation/none.cpp
tests_cuda_emulation_check_counts_CPPFLAGS = $(emulator_test_cppflags)
tests_cuda_emulation_check_counts_CFLAGS = $(TEST_CFLAGS)
tests_cuda_emulation_check_counts_CXXFLAGS = $(emulation_cxxflags)
if HAVE_TRACE_CXX
check_LIBRARIES += tests/cuda_emulation/libtrace.a
tests_cuda_emulation_libtrace_a_SOURCES = tests/cuda_emulation/trace.cpp
tests_cuda_emulation_libtrace_a_CPPFLAGS = -I$(top_srcdir) $(emulation_include)
tests_cuda_emulation_libtrace_a_CXXFLAGS = $(emulator_cxxflags)

traced_cxxflags = -std=c++17 -pthread -fPIC -fvisibility=hidden -O1 -g -fno-exceptions -fno-rtti \
	-DENSO_EMULATED_TRACED $(WARNING_CXXFLAGS) $(TRACE_CXXFLAGS)
traced_kernels = $(patsubst %.cu,tests/cuda_emulation/traced/%.o,$(filter %.cu,$(cuda_kernel_sources)))
traced_test_objects = tests/cuda_emulation/traced/tests/cuda_emulation/counted.o
$(traced_kernels) $(traced_test_objects): tests/cuda_emulation/traced/%.o: %.cu
	@$(MKDIR_P) $(@D)
	$(emulated_verbose)$(TRACE_CXX) -x c++ $(emulation_include) -I$(top_srcdir) -I$(top_builddir) \
		$(traced_cxxflags) -MMD -MP -MF $@.d -MT $@ -c -o $@ $<

tests_cuda_emulation_check_counts_LDADD = $(traced_test_objects) \
	$(tests_cuda_emulation_libtrace_a_OBJECTS) tests/cuda_emulation/libemulator.a $(TEST_LIBS) \
	$(BASE_LIBS) $(CHECK_LIBS)
EXTRA_tests_cuda_emulation_check_counts_DEPENDENCIES = tests/cuda_emulation/libtrace.a

# The module whose kernels are counted: bench/gpu/count.py, check_predict.py.
counted_module = tests/cuda_emulation/ensod-cuda-counted.so
counted_module_parts = $(traced_kernels) $(tests_cuda_emulation_libtrace_a_OBJECTS) \
	$(filter-out $(emulated_objects),$(emulated_module_parts))
check_DATA += $(counted_module)
$(counted_module): $(counted_module_parts) tests/cuda_emulation/module.map
	$(emulated_verbose)$(CXX) -shared $(emulation_cxxflags) $(CXXFLAGS) -o $@ \
		$(counted_module_parts) -Wl,--version-script=$(top_srcdir)/tests/cuda_emulation/module.map \
		$(addprefix -Wl$(comma)--wrap=,$(emulated_wrapped)) -Wl,-z,noexecstack -lm

-include $(traced_kernels:.o=.o.d) $(traced_test_objects:.o=.o.d)
CLEANFILES += $(counted_module) $(traced_kernels) $(traced_test_objects) $(traced_kernels:.o=.o.d) \
	$(traced_test_objects:.o=.o.d)
else
tests_cuda_emulation_check_counts_CPPFLAGS += -DENSO_NOT_TRACED
tests_cuda_emulation_check_counts_LDADD = tests/cuda_emulation/libemulator.a $(TEST_LIBS) \
	$(BASE_LIBS) $(CHECK_LIBS)
endif

if HAVE_RACE_CXX
# Kernels with the race detector, the emulator beside it, whatever the rest is built with.
race_cxxflags = -std=c++17 -pthread -O1 -g -fno-exceptions -fno-rtti $(WARNING_CXXFLAGS)
race_objects = $(patsubst %.cpp,tests/cuda_emulation/races/%.o,$(filter %.cpp,$(emulator_sources)))
race_test_objects = tests/cuda_emulation/races/check_races.o tests/cuda_emulation/races/wrong.o
race_build = @$(MKDIR_P) $(@D)
race_compile = $(emulated_verbose)$(RACE_CXX) -x c++ $(emulation_include) -I$(top_srcdir) $(race_cxxflags) \
	-MMD -MP -MF $@.d -MT $@ -c -o $@

$(race_objects): tests/cuda_emulation/races/%.o: %.cpp
	$(race_build)
	$(race_compile) -DENSO_EMULATED_TSAN $<
tests/cuda_emulation/races/check_races.o: tests/cuda_emulation/check_races.cpp
	$(race_build)
	$(race_compile) -fsanitize=thread $<
tests/cuda_emulation/races/wrong.o: tests/cuda_emulation/wrong/wrong.cu
	$(race_build)
	$(race_compile) -fsanitize=thread $<
tests/cuda_emulation/check_races: $(race_objects) $(race_test_objects)
	$(emulated_verbose)$(RACE_CXX) -fsanitize=thread $(race_cxxflags) -o $@ $(race_objects) $(race_test_objects)

# Our own kernels, those with shared memory or a fault word.
race_kernels = $(patsubst %,tests/cuda_emulation/races/%.o,attention embedding flash_attention gemm gemm_conv gemm_gather gemm_stack move norm pixels \
	product product_wide reduce tiled_attention top_k)
race_kernel_objects = tests/cuda_emulation/races/check_kernel_races.o $(race_kernels)
$(race_kernels): tests/cuda_emulation/races/%.o: kernels/cuda/%.cu
	$(race_build)
	$(race_compile) -fsanitize=thread $<
tests/cuda_emulation/races/check_kernel_races.o: tests/cuda_emulation/check_kernel_races.cpp
	$(race_build)
	$(race_compile) -fsanitize=thread $<
tests/cuda_emulation/check_kernel_races: $(race_objects) $(race_kernel_objects)
	$(emulated_verbose)$(RACE_CXX) -fsanitize=thread $(race_cxxflags) -o $@ $(race_objects) $(race_kernel_objects)

race_programs = tests/cuda_emulation/check_races tests/cuda_emulation/check_kernel_races
race_parts = $(race_objects) $(race_test_objects) $(race_kernel_objects)
check_SCRIPTS += $(race_programs)
TESTS += $(race_programs)
-include $(race_parts:.o=.o.d)
CLEANFILES += $(race_programs) $(race_parts) $(race_parts:.o=.o.d)
else
TESTS += tests/cuda_emulation/check_skipped.sh
endif

-include $(emulated_objects:.o=.o.d) $(emulated_test_objects:.o=.o.d)
CLEANFILES += tests/cuda_emulation/ensod-cuda-emulated.so $(emulated_objects) \
	$(emulated_objects:.o=.o.d) $(emulated_test_objects) $(emulated_test_objects:.o=.o.d)
else
TESTS += tests/cuda_emulation/check_skipped.sh
endif
dist_check_SCRIPTS += tests/cuda_emulation/check_skipped.sh tests/cuda_emulation/check_kernels.sh \
	tests/cuda_emulation/check_golden.py tests/cuda_emulation/check_predict.py
EXTRA_DIST += $(emulated_test_sources) tests/cuda_emulation/check_races.cpp \
	tests/cuda_emulation/check_kernel_races.cpp tests/cuda_emulation/README.md $(emulator_sources) \
	tests/cuda_emulation/check_memory.c tests/cuda_emulation/fake_nvml.c \
	tests/cuda_emulation/check_guarded.c tests/cuda_emulation/check_counts.c \
	tests/cuda_emulation/counted.cu tests/cuda_emulation/counted.h tests/cuda_emulation/trace.cpp \
	tests/cuda_emulation/check_module.c tests/cuda_emulation/failing.cpp \
	tests/cuda_emulation/check_batches.c tests/cuda_emulation/module_rig.c \
	tests/cuda_emulation/module_rig.h \
	tests/cuda_emulation/check_cublaslt.c tests/cuda_emulation/cublaslt.cpp \
	tests/cuda_emulation/check_several.c \
	tests/cuda_emulation/module.map \
	tests/cuda_emulation/include/cuda_bf16.h \
	tests/cuda_emulation/include/cuda_fp16.h \
	tests/cuda_emulation/include/cuda_runtime.h \
	tests/cuda_emulation/include/cuda_runtime_api.h \
	tests/cuda_emulation/include/enso_emulated.h \
	tests/cuda_emulation/include/vector_types.h

# All that the GPU's part can show without a card, alone; check-long adds what takes minutes.
.PHONY: check-cuda-emulation check-long
cuda_emulation_tests = $(filter tests/cuda_emulation/% tests/twins/% tests/end_to_end/check_cuda% \
	tests/end_to_end/check_cublaslt%,$(TESTS))
check-cuda-emulation:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(cuda_emulation_tests)'
check-long:
	ENSOD_TEST_LONG=yes $(MAKE) $(AM_MAKEFLAGS) check
