# Graph, operators, passes, programs and plans.
engine_libengine_a_SOURCES += \
	engine/graph/attributes.c \
	engine/graph/constant.c \
	engine/graph/dump.c \
	engine/graph/graph.c engine/graph/graph.h engine/graph/graph_internal.h \
	engine/graph/sort.c \
	engine/ops/conv.c \
	engine/ops/elementwise.c \
	engine/ops/floats.c \
	engine/ops/fused.c \
	engine/ops/infer.c engine/ops/infer.h \
	engine/ops/move.c \
	engine/ops/network.c \
	engine/ops/ops.h engine/ops/ops_internal.h \
	engine/ops/reduce.c \
	engine/ops/resize.c \
	engine/ops/shape.c \
	engine/ops/table.c
engine_libengine_a_SOURCES += \
	engine/passes/detach_shapes.c \
	engine/passes/fold_batch_norm.c \
	engine/passes/fold_constants.c \
	engine/passes/fold_views.c \
	engine/passes/fuse_activations.c \
	engine/passes/fuse_conv.c \
	engine/passes/fuse_gather.c \
	engine/passes/fuse_layer_norm.c \
	engine/passes/fuse_linear.c \
	engine/passes/layout.c \
	engine/passes/lift_over_pool.c \
	engine/passes/lower_precision.c \
	engine/passes/pass.c engine/passes/pass_internal.h engine/passes/passes.h \
	engine/passes/pixels.c \
	engine/passes/plain_conv.c \
	engine/passes/remove_dead.c \
	engine/passes/remove_identity.c \
	engine/passes/run.c \
	engine/passes/run_cpu.c \
	engine/program/arena.c \
	engine/program/context.c engine/program/context.h \
	engine/program/guarded.c engine/program/guarded.h \
	engine/program/plan.c engine/program/plan.h \
	engine/program/program.c engine/program/program.h engine/program/program_internal.h
EXTRA_DIST += engine/graph/README.md
