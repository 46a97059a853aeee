# Tokenizers.
