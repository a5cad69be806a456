"""From text to row ids: tokenizers, vocabulary, hashing, and the encoder that joins them."""
