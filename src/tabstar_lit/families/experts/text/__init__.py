"""Text: corpora, tokenizers, rows of tokens."""
