# Tests of the engine; each folder below brings a local.mk, see tests/local.mk.
include tests/engine/text/local.mk
include tests/engine/image/local.mk
include tests/engine/graph/local.mk
include tests/engine/formats/local.mk
include tests/engine/model/local.mk
