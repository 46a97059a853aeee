# Model files: where weights are read from, and the formats that describe them.
engine_libengine_a_SOURCES += \
	engine/formats/onnx.c engine/formats/onnx.h \
	engine/formats/onnx_function.c engine/formats/onnx_internal.h \
	engine/formats/onnx_node.c \
	engine/formats/onnx_scan.c engine/formats/onnx_scan.h \
	engine/formats/onnx_tensor.c \
	engine/formats/safetensors.c engine/formats/safetensors.h \
	engine/formats/weights_file.c engine/formats/weights_file.h

# What ensod reads of an ONNX model, made C by protoc-c in the build folder.
ONNX_SKELETON = engine/formats/onnx_skeleton
# In full, since Automake makes no rule for the dependencies of a name it must look up.
nodist_engine_libengine_a_SOURCES = engine/formats/onnx_skeleton.pb-c.c engine/formats/onnx_skeleton.pb-c.h
EXTRA_DIST += engine/formats/README.md engine/formats/onnx_skeleton.proto
BUILT_SOURCES += $(ONNX_SKELETON).pb-c.h
CLEANFILES += $(ONNX_SKELETON).pb-c.c $(ONNX_SKELETON).pb-c.h

$(ONNX_SKELETON).pb-c.c: $(srcdir)/$(ONNX_SKELETON).proto
	$(AM_V_GEN)$(MKDIR_P) engine/formats && \
	  $(PROTOC_C) --c_out=engine/formats -I$(srcdir)/engine/formats $(srcdir)/$(ONNX_SKELETON).proto
$(ONNX_SKELETON).pb-c.h: $(ONNX_SKELETON).pb-c.c

# For those who build one target without the others.
engine/formats/onnx.$(OBJEXT) engine/formats/onnx_function.$(OBJEXT) \
engine/formats/onnx_node.$(OBJEXT) engine/formats/onnx_tensor.$(OBJEXT) \
$(ONNX_SKELETON).pb-c.$(OBJEXT): $(ONNX_SKELETON).pb-c.h
