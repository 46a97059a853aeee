# Build fragment of tests/gpu/: what is asked of a real card; see check_gpu.sh. Not part of make check but for a
# rehearsal.
EXTRA_DIST += tests/gpu/check_bundle.sh tests/gpu/check_gpu.sh tests/gpu/checks.sh tests/gpu/make_bundle.sh tests/gpu/parity.py
dist_check_SCRIPTS += tests/gpu/check_rehearsal.sh
TESTS += tests/gpu/check_rehearsal.sh
tests/gpu/check_rehearsal.log: ensod enso

.PHONY: check-gpu gpu-bundle check-bundle
# What the stages run; the module is among `all` where nvcc is found.
gpu_parts =
if HAVE_CUDA
gpu_parts += tests/twins/record-cuda kernels/cuda/ensod-cuda-75.so

# The module of compute_75 alone, from a build folder of its own, as make_bundle.sh makes it.
kernels/cuda/ensod-cuda-75.so: kernels/cuda/ensod-cuda.so
	$(MKDIR_P) build-cuda-75
	cd build-cuda-75 && '$(abs_top_srcdir)/configure' --with-cuda=yes --with-cuda-arch=75 \
		CFLAGS='-O2 -g0' >configure.out
	$(MAKE) -C build-cuda-75 -s kernels/cuda/ensod-cuda.so
	cp build-cuda-75/kernels/cuda/ensod-cuda.so $@
CLEANFILES += kernels/cuda/ensod-cuda-75.so
endif
check-gpu: $(BUILT_SOURCES) all-am $(check_PROGRAMS) $(gpu_parts)
	top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
		bash $(srcdir)/tests/gpu/check_gpu.sh $(GPU_STAGES)
gpu-bundle:
	bash $(srcdir)/tests/gpu/make_bundle.sh '$(abs_top_srcdir)' '$(abs_top_builddir)'
# Makes it, and proves it where no card is.
check-bundle:
	top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' bash $(srcdir)/tests/gpu/check_bundle.sh
