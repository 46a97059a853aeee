# Build fragment of engine/formats/: see engine/local.mk.
