# Build fragment of tests/gpu/: what is asked of a real card; see check_gpu.sh. Not part of make check.
EXTRA_DIST += tests/gpu/check_gpu.sh tests/gpu/make_bundle.sh tests/gpu/parity.py

.PHONY: check-gpu gpu-bundle
# What the stages run; the module is among `all` where nvcc is found.
gpu_twins =
if HAVE_CUDA
gpu_twins += tests/twins/record-cuda
endif
check-gpu: all $(check_PROGRAMS) $(gpu_twins)
	top_srcdir='$(abs_top_srcdir)' top_builddir='$(abs_top_builddir)' \
		bash $(srcdir)/tests/gpu/check_gpu.sh $(GPU_STAGES)
gpu-bundle:
	bash $(srcdir)/tests/gpu/make_bundle.sh '$(abs_top_srcdir)' '$(abs_top_builddir)'
