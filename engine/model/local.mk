# Build fragment of engine/model/: see engine/local.mk.
