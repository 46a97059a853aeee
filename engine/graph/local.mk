# Graph, operators, passes, programs and plans.
engine_libengine_a_SOURCES += engine/graph/graph.h engine/ops/infer.h engine/ops/ops.h
