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
	tests/cuda_emulation/block.cpp \
	tests/cuda_emulation/emulator.h \
	tests/cuda_emulation/fiber.cpp tests/cuda_emulation/fiber.h \
	tests/cuda_emulation/launch.cpp \
	tests/cuda_emulation/memory.cpp \
	tests/cuda_emulation/profile.cpp \
	tests/cuda_emulation/report.cpp \
	tests/cuda_emulation/runtime.cpp \
	tests/cuda_emulation/shared.cpp

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
	$(tests_cuda_emulation_libemulator_a_OBJECTS)
emulated_verbose = $(emulated_verbose_@AM_V@)
emulated_verbose_ = $(emulated_verbose_@AM_DEFAULT_V@)
emulated_verbose_0 = @echo "  EMULATED" $@;

$(emulated_objects): tests/cuda_emulation/%.o: %.cu
	@$(MKDIR_P) $(@D)
	$(emulated_verbose)$(CXX) -x c++ $(emulation_include) -I$(top_srcdir) -I$(top_builddir) \
		$(emulation_cxxflags) $(CXXFLAGS) -MMD -MP -MF $@.d -MT $@ -c -o $@ $<

check_DATA = tests/cuda_emulation/ensod-cuda-emulated.so
tests/cuda_emulation/ensod-cuda-emulated.so: $(emulated_module_parts) kernels/cuda/module.map
	$(emulated_verbose)$(CXX) -shared $(emulation_cxxflags) $(CXXFLAGS) -o $@ \
		$(emulated_module_parts) -Wl,--version-script=$(top_srcdir)/kernels/cuda/module.map \
		-Wl,-z,noexecstack -lm

-include $(emulated_objects:.o=.o.d)
CLEANFILES += tests/cuda_emulation/ensod-cuda-emulated.so $(emulated_objects) \
	$(emulated_objects:.o=.o.d)
endif
EXTRA_DIST += tests/cuda_emulation/README.md $(emulator_sources) \
	tests/cuda_emulation/include/cuda_bf16.h \
	tests/cuda_emulation/include/cuda_fp16.h \
	tests/cuda_emulation/include/cuda_runtime.h \
	tests/cuda_emulation/include/cuda_runtime_api.h \
	tests/cuda_emulation/include/enso_emulated.h \
	tests/cuda_emulation/include/vector_types.h
