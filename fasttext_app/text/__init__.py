"""From texts to row ids: tokenizers, vocabulary, hashing, the encoder, tf-idf."""
