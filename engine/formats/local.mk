# Model files: where weights are read from, and the formats that describe them.
engine_libengine_a_SOURCES += \
	engine/formats/safetensors.c engine/formats/safetensors.h \
	engine/formats/weights_file.c engine/formats/weights_file.h
