# Models: folders to graphs, inputs to samples, batches to outputs.
engine_libengine_a_SOURCES += \
	engine/architectures/architecture.c engine/architectures/architecture.h \
	engine/architectures/bert.c \
	engine/architectures/builder.c engine/architectures/builder.h \
	engine/architectures/distilbert.c \
	engine/model/attention_work.c engine/model/encode.c \
	engine/model/labels.c \
	engine/model/load_onnx.c \
	engine/model/load_text.c \
	engine/model/model.c engine/model/model.h engine/model/model_internal.h \
	engine/model/precision.c \
	engine/model/run.c
