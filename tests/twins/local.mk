# Build fragment of tests/twins/: see cases.h.
twins_sources = tests/twins/cases.c tests/twins/cases.h tests/twins/twins.h
if HAVE_CXX
twins_object = tests/cuda_emulation/tests/twins/twins.o
$(twins_object): tests/twins/twins.cu
	@$(MKDIR_P) $(@D)
	$(emulated_verbose)$(CXX) -x c++ $(emulation_include) -I$(top_srcdir) -I$(top_builddir) \
		$(emulation_cxxflags) $(CXXFLAGS) -MMD -MP -MF $@.d -MT $@ -c -o $@ $<

check_PROGRAMS += tests/twins/check_twins tests/twins/record
TESTS += tests/twins/check_twins
tests_twins_check_twins_SOURCES = tests/twins/check_twins.c $(twins_sources)
nodist_EXTRA_tests_twins_check_twins_SOURCES = tests/twins/none.cpp
tests_twins_check_twins_CPPFLAGS = $(emulation_include) $(TEST_CPPFLAGS)
tests_twins_check_twins_CFLAGS = $(TEST_CFLAGS)
tests_twins_check_twins_CXXFLAGS = $(emulation_cxxflags)
tests_twins_check_twins_LDADD = $(twins_object) tests/cuda_emulation/libemulator.a $(TEST_LIBS) \
	$(ENGINE_LIBS) $(CHECK_LIBS)

tests_twins_record_SOURCES = tests/twins/record.c $(twins_sources)
nodist_EXTRA_tests_twins_record_SOURCES = tests/twins/none.cpp
tests_twins_record_CPPFLAGS = $(emulation_include) $(TEST_CPPFLAGS)
tests_twins_record_CFLAGS = $(TEST_CFLAGS)
tests_twins_record_CXXFLAGS = $(emulation_cxxflags)
tests_twins_record_LDADD = $(twins_object) tests/cuda_emulation/libemulator.a -lm

-include $(twins_object:.o=.o.d)
CLEANFILES += $(twins_object) $(twins_object:.o=.o.d)
endif
if HAVE_CUDA
# For a card: make tests/twins/record-cuda && tests/twins/record-cuda FILE
tests/twins/record-cuda: tests/twins/twins.cu tests/twins/record.c $(twins_sources) kernels/cuda/ptx.cuh
	@$(MKDIR_P) $(@D)
	$(nvcc_verbose)$(NVCC) $(cuda_nvcc_flags) -cudart static -Xcompiler -static-libgcc,-static-libstdc++ \
		-o $@ $(top_srcdir)/tests/twins/twins.cu \
		$(top_srcdir)/tests/twins/cases.c $(top_srcdir)/tests/twins/record.c
CLEANFILES += tests/twins/record-cuda
endif
EXTRA_DIST += tests/twins/twins.cu tests/twins/record.c tests/twins/check_twins.c $(twins_sources)
