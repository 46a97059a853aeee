# Build fragment of engine/image/: see engine/local.mk.
