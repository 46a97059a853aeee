# Tests of engine/graph, engine/ops and engine/passes.
