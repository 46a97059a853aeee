# Tests of the engine; each folder below brings a local.mk, see tests/local.mk.
include tests/engine/text/local.mk
