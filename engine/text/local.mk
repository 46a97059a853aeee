# Tokenizers.
engine_libengine_a_SOURCES += \
	engine/text/added_tokens.c \
	engine/text/lower.c engine/text/lower.h \
	engine/text/normalize_bert.c \
	engine/text/normalize_string.c \
	engine/text/normalize_unicode.c \
	engine/text/normalizer.c \
	engine/text/post_processor.c \
	engine/text/pre_tokenizer.c \
	engine/text/text_internal.h \
	engine/text/token_model.c \
	engine/text/tokenizer.c engine/text/tokenizer.h \
	engine/text/tokenizer_load.c \
	engine/text/unicode.c engine/text/unicode.h engine/text/unicode_tables.h \
	engine/text/vocabulary.c engine/text/vocabulary.h \
	engine/text/wordpiece.c
EXTRA_DIST += engine/text/README.md
