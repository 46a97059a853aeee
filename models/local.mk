# The bundled models, installed as $(pkgdatadir)/models/NAME.
bundleddir = $(pkgdatadir)
nobase_dist_bundled_DATA = \
	models/cifar/README.md \
	models/cifar/ensod.json \
	models/cifar/model.onnx \
	models/embeddings/1_Pooling/config.json \
	models/embeddings/README.md \
	models/embeddings/config.json \
	models/embeddings/model.safetensors \
	models/embeddings/modules.json \
	models/embeddings/sentence_bert_config.json \
	models/embeddings/special_tokens_map.json \
	models/embeddings/tokenizer.json \
	models/embeddings/tokenizer_config.json \
	models/embeddings/vocab.txt \
	models/fashion/README.md \
	models/fashion/ensod.json \
	models/fashion/model.onnx \
	models/intents/README.md \
	models/intents/config.json \
	models/intents/model.safetensors \
	models/intents/special_tokens_map.json \
	models/intents/tokenizer.json \
	models/intents/tokenizer_config.json \
	models/intents/vocab.txt

# What the cards' figures are made of.
EXTRA_DIST += models/cifar/training.json models/cifar/evaluation.json
EXTRA_DIST += models/fashion/training.json models/fashion/evaluation.json
EXTRA_DIST += models/intents/training.json models/intents/evaluation.json
EXTRA_DIST += models/embeddings/training.json models/embeddings/similarity.json
