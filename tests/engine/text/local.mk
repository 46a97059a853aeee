# Tests of the tokenizers.
