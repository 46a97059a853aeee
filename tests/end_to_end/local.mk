# The daemon as a whole. Scripts: see each one's head.
dist_check_SCRIPTS += tests/end_to_end/check_systemd.sh tests/end_to_end/check_daemon.py \
	tests/end_to_end/check_life.py tests/end_to_end/check_operations.py \
	tests/end_to_end/check_models.py tests/end_to_end/check_cuda.py \
	tests/end_to_end/check_cuda_lost.py tests/end_to_end/check_cuda_lanes.py \
	tests/end_to_end/check_cuda_padding.py \
	tests/end_to_end/check_cublaslt.py
EXTRA_DIST += tests/end_to_end/daemon.py tests/end_to_end/make_models.py tests/models
tests/end_to_end/check_daemon.log tests/end_to_end/check_life.log tests/end_to_end/check_operations.log: ensod
TESTS += tests/end_to_end/check_systemd.sh tests/end_to_end/check_daemon.py \
	tests/end_to_end/check_life.py tests/end_to_end/check_operations.py \
	tests/end_to_end/check_models.py tests/end_to_end/check_cuda.py \
	tests/end_to_end/check_cuda_lost.py tests/end_to_end/check_cuda_lanes.py \
	tests/end_to_end/check_cuda_padding.py \
	tests/end_to_end/check_cublaslt.py
tests/end_to_end/check_models.log: ensod enso
tests/end_to_end/check_systemd.log: systemd/ensod.service
