# Build fragment of kernels/: see Makefile.am.
# What operators of all devices share and that touches no device: the CUDA module has it as well.
kernel_nodes = \
	kernels/nodes/activation.h \
	kernels/nodes/batch_norm.c kernels/nodes/batch_norm.h \
	kernels/nodes/broadcast.c kernels/nodes/broadcast.h \
	kernels/nodes/conv.c kernels/nodes/conv.h \
	kernels/nodes/matmul.c kernels/nodes/matmul.h \
	kernels/nodes/move.c kernels/nodes/move.h \
	kernels/nodes/node.c kernels/nodes/node.h \
	kernels/nodes/norm.c kernels/nodes/norm.h \
	kernels/nodes/pixels.c kernels/nodes/pixels.h kernels/nodes/pixels_shape.h \
	kernels/nodes/reduction.c kernels/nodes/reduction.h \
	kernels/nodes/resize.c kernels/nodes/resize.h \
	kernels/nodes/strided.c kernels/nodes/strided.h \
	kernels/nodes/top_k.c kernels/nodes/top_k.h \
	kernels/nodes/view.c kernels/nodes/view.h \
	kernels/nodes/window.c kernels/nodes/window.h

# The portable kernels, and one library per instruction set with only its flags: nothing built with
# wider instructions may be linked where they are not asked for.
KERNEL_CFLAGS = $(AM_CFLAGS) -O3
noinst_LIBRARIES += kernels/libkernels.a
kernels_libkernels_a_CFLAGS = $(KERNEL_CFLAGS)
kernels_libkernels_a_SOURCES = \
	kernels/cpu/attention.c \
	kernels/cpu/backend.c \
	kernels/cpu/binary.c \
	kernels/cpu/cast.c \
	kernels/cpu/conv.c \
	kernels/cpu/conv_nhwc.c \
	kernels/cpu/cores.c \
	kernels/cpu/cpu_internal.h \
	kernels/cpu/embedding.c \
	kernels/cpu/gemm.c kernels/cpu/gemm_driver.h kernels/cpu/tile_args.h \
	kernels/cpu/isa.c \
	kernels/cpu/kernels.h \
	kernels/cpu/linear.c \
	kernels/cpu/move.c \
	kernels/cpu/node.c \
	kernels/cpu/norm.c \
	kernels/cpu/pad.c \
	kernels/cpu/pixels.c \
	kernels/cpu/pool.c \
	kernels/cpu/product.c \
	kernels/cpu/reduce.c \
	kernels/cpu/resize.c \
	kernels/cpu/rows.c \
	kernels/cpu/strided.c kernels/cpu/strided.h \
	kernels/cpu/team.c kernels/cpu/team.h \
	kernels/cpu/top_k.c \
	kernels/cpu/unary.c \
	kernels/cpu/view.c \
	$(kernel_nodes)

AVX2_LIBS =
if HAVE_AVX2
noinst_LIBRARIES += kernels/libkernels_avx2.a
AVX2_LIBS += kernels/libkernels_avx2.a
kernels_libkernels_avx2_a_CFLAGS = $(KERNEL_CFLAGS) -mavx2 -mfma
kernels_libkernels_avx2_a_SOURCES = \
	kernels/cpu/gemm_avx2.c \
	kernels/cpu/math_avx2.h \
	kernels/cpu/rows_avx2.c
endif

# The CUDA module: the same files are compiled by nvcc (kernels/cuda/ensod-cuda.so) and, for tests, by
# g++ with an emulated CUDA (tests/cuda_emulation/ensod-cuda-emulated.so).
cuda_host_sources = \
	kernels/cuda/algorithms.c kernels/cuda/algorithms.h \
	kernels/cuda/cublaslt.c kernels/cuda/cublaslt.h \
	kernels/cuda/cublaslt_api.h kernels/cuda/cublaslt_internal.h \
	kernels/cuda/cublaslt_load.c kernels/cuda/cublaslt_open.c \
	kernels/cuda/cuda_internal.h \
	kernels/cuda/capture.c kernels/cuda/capture.h \
	kernels/cuda/device.c kernels/cuda/device.h \
	kernels/cuda/families.c \
	kernels/cuda/host_calls.c \
	kernels/cuda/ladder.c kernels/cuda/ladder.h \
	kernels/cuda/lane.c \
	kernels/cuda/launch.h kernels/cuda/launch_elements.h kernels/cuda/launch_gemm.h \
	kernels/cuda/launch_network.h \
	kernels/cuda/memory.c kernels/cuda/memory.h \
	kernels/cuda/module.c kernels/cuda/module.h \
	kernels/cuda/node.c \
	kernels/cuda/node_binary.c \
	kernels/cuda/node_conv.c \
	kernels/cuda/node_move.c \
	kernels/cuda/node_norm.c \
	kernels/cuda/node_pad.c \
	kernels/cuda/node_pixels.c \
	kernels/cuda/node_pool.c \
	kernels/cuda/node_product.c \
	kernels/cuda/node_ragged.c \
	kernels/cuda/node_reduce.c \
	kernels/cuda/node_resize.c \
	kernels/cuda/node_top_k.c \
	kernels/cuda/node_unary.c \
	kernels/cuda/node_view.c \
	kernels/cuda/node_window.h \
	kernels/cuda/nvml.c kernels/cuda/nvml.h \
	kernels/cuda/packed.c kernels/cuda/packed.h \
	kernels/cuda/tune.c \
	kernels/cuda/watch.c kernels/cuda/watch.h
cuda_kernel_sources = \
	kernels/cuda/activation.cuh \
	kernels/cuda/attention.cu \
	kernels/cuda/binary.cu \
	kernels/cuda/cast.cu \
	kernels/cuda/conv.cu \
	kernels/cuda/depthwise.cu \
	kernels/cuda/device.cuh \
	kernels/cuda/elements.cuh \
	kernels/cuda/embedding.cu \
	kernels/cuda/flash_attention.cu \
	kernels/cuda/gemm.cu kernels/cuda/gemm.cuh \
	kernels/cuda/gemm_conv.cu \
	kernels/cuda/gemm_gather.cu \
	kernels/cuda/gemm_stack.cu \
	kernels/cuda/half.cuh \
	kernels/cuda/move.cu \
	kernels/cuda/norm.cu \
	kernels/cuda/pad.cu \
	kernels/cuda/pixels.cu \
	kernels/cuda/pool.cu \
	kernels/cuda/probe.cu \
	kernels/cuda/product.cu \
	kernels/cuda/product_wide.cu \
	kernels/cuda/ptx.cuh \
	kernels/cuda/query_tile.cuh \
	kernels/cuda/ragged.cuh \
	kernels/cuda/reduce.cu \
	kernels/cuda/resize.cu \
	kernels/cuda/rows.cuh \
	kernels/cuda/stack.cuh \
	kernels/cuda/strided.cu \
	kernels/cuda/tiled_attention.cu \
	kernels/cuda/top_k.cu \
	kernels/cuda/unary.cu \
	kernels/cuda/window.cuh
EXTRA_DIST += $(cuda_host_sources) $(cuda_kernel_sources) kernels/cuda/module.map

if HAVE_CUDA
# The host files are C and belong into a shared object, without a sanitizer (the module must load into
# any build); all symbols but the entry are hidden.
noinst_LIBRARIES += kernels/libcuda_host.a
kernels_libcuda_host_a_CPPFLAGS = $(AM_CPPFLAGS) -isystem $(CUDA_INCLUDE)
kernels_libcuda_host_a_CFLAGS = -std=gnu11 -pthread $(WARNING_CFLAGS) -O2 -fPIC -fvisibility=hidden
kernels_libcuda_host_a_SOURCES = $(cuda_host_sources) $(kernel_nodes)

# Spilled registers and warnings fail the build. Products and sums are fused where enso_fma or fmaf says
# so and nowhere else: where is the compiler's choice otherwise, another one in each kernel, and with it a
# row's bits.
NVCCFLAGS = -O3
cuda_nvcc_flags = -std=c++17 -fmad=false $(CUDA_CODE) -I$(top_srcdir) -I$(top_builddir) \
	-Xcompiler -fPIC,-fvisibility=hidden,-Wall,-Wextra \
	-Xptxas -warn-spills,-warn-lmem-usage -Werror all-warnings $(NVCCFLAGS)
cuda_objects = $(patsubst %.cu,%-cuda.o,$(filter %.cu,$(cuda_kernel_sources)))
nvcc_verbose = $(nvcc_verbose_@AM_V@)
nvcc_verbose_ = $(nvcc_verbose_@AM_DEFAULT_V@)
nvcc_verbose_0 = @echo "  NVCC    " $@;

$(cuda_objects): %-cuda.o: %.cu
	@$(MKDIR_P) $(@D)
	$(nvcc_verbose)$(NVCC) $(cuda_nvcc_flags) -MD -MF $@.d -MT $@ -c -o $@ $<

cuda_module_objects = $(cuda_objects) $(kernels_libcuda_host_a_OBJECTS)
kernels/cuda/ensod-cuda.so: $(cuda_module_objects) kernels/cuda/module.map
	$(nvcc_verbose)$(NVCC) -shared -cudart static -o $@ $(cuda_module_objects) \
		-Xlinker --version-script=$(top_srcdir)/kernels/cuda/module.map \
		-Xlinker -z,defs -Xlinker -z,noexecstack -Xcompiler -static-libgcc,-static-libstdc++ -ldl -lpthread

-include $(cuda_objects:.o=.o.d)
cudamoduledir = $(pkglibdir)
cudamodule_DATA = kernels/cuda/ensod-cuda.so
CLEANFILES += kernels/cuda/ensod-cuda.so $(cuda_objects) $(cuda_objects:.o=.o.d)
endif

EXTRA_DIST += kernels/README.md kernels/cpu/fit_coefficients.py
