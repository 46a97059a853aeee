# Graph, operators, passes, programs and plans.
engine_libengine_a_SOURCES += \
	engine/graph/attributes.c \
	engine/graph/constant.c \
	engine/graph/dump.c \
	engine/graph/graph.c engine/graph/graph.h engine/graph/graph_internal.h \
	engine/graph/sort.c \
	engine/ops/conv.c \
	engine/ops/elementwise.c \
	engine/ops/fused.c \
	engine/ops/infer.c engine/ops/infer.h \
	engine/ops/move.c \
	engine/ops/network.c \
	engine/ops/ops.h engine/ops/ops_internal.h \
	engine/ops/reduce.c \
	engine/ops/shape.c \
	engine/ops/table.c
