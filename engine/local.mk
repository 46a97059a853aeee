# The engine: models, graph, text, images. Each folder below brings a local.mk that adds its sources.
noinst_LIBRARIES += engine/libengine.a
engine_libengine_a_SOURCES =

include engine/text/local.mk
