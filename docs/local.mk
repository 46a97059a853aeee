# Build fragment of docs/: see Makefile.am.
dist_man_MANS += docs/enso.1 docs/ensod.8 docs/ensod.conf.5
EXTRA_DIST += LICENSE README.md CONTRIBUTING.md CHANGELOG.md \
	docs/api.md docs/architecture.md docs/bench-results.md docs/ensod-json.md docs/gpu-results.md docs/metrics.md
