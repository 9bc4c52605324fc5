"""Byte-pair encoding trained on one's own texts (arXiv 1508.07909, on bytes as GPT-2 has it)."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import (
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)

from tabstar_lit.data.tokenizers import JsonTokenizer
from tabstar_lit.errors import DataError

SPECIALS = ("<|pad|>", "<|endoftext|>", "<|startoftext|>")
SMALLEST = 256 + len(SPECIALS)
"""Every byte is a token, so that there is no text that cannot be written."""


def train_bpe(texts: Iterable[str], vocabulary_size: int) -> JsonTokenizer:
    """Return a tokenizer whose pairs are the most frequent ones of ``texts``.

    Parameters
    ----------
    texts : iterable of str
        Documents; those of training alone, where losses of others are to be trusted.
    vocabulary_size : int
        Number of tokens, bytes and special tokens included; fewer where the texts have not so many pairs.

    Raises
    ------
    DataError
        The vocabulary has no room for the bytes.
    """
    if vocabulary_size < SMALLEST:
        raise DataError(
            f"a vocabulary of {vocabulary_size} is too small: {SMALLEST} are taken by bytes and special tokens."
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary_size,
        special_tokens=list(SPECIALS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return JsonTokenizer(str(tokenizer.to_str()))
