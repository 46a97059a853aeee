# Build fragment of bench/: see Makefile.am.
noinst_PROGRAMS += bench/http_transport
bench_http_transport_SOURCES = bench/http_transport.c
bench_http_transport_LDADD = server/libserver.a $(BASE_LIBS) $(MICROHTTPD_LIBS) $(UV_LIBS) $(SYSTEMD_LIBS)

noinst_PROGRAMS += bench/kernels
bench_kernels_SOURCES = bench/kernels.c
bench_kernels_LDADD = $(ENGINE_LIBS)
EXTRA_DIST += bench/README.md bench/harness.py bench/http_speed.py bench/memory.py bench/peers.py \
	bench/gpu/ceilings.py bench/gpu/count.py bench/gpu/cublaslt.py bench/gpu/engine.py bench/gpu/ladder.py \
	bench/gpu/lengths.py bench/gpu/onnx_torch.py bench/gpu/options.py bench/gpu/peers.py \
	bench/gpu/pictures.py bench/gpu/predict.py bench/gpu/predicted.md \
	bench/gpu/resnet.py bench/gpu/serve.py bench/gpu/steps.py bench/gpu/torch_models.py
