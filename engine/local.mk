# The engine: models, graph, text, images. Each folder below brings a local.mk that adds its sources.
noinst_LIBRARIES += engine/libengine.a
engine_libengine_a_SOURCES = \
	engine/backend.h \
	engine/host.c engine/host.h \
	engine/sample.c engine/sample.h \
	engine/tensor.c engine/tensor.h

include engine/text/local.mk
include engine/image/local.mk
include engine/graph/local.mk
include engine/formats/local.mk
include engine/model/local.mk
