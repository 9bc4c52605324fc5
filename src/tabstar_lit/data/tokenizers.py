"""From texts and sequences to token ids and back: bytes, the letters of an alphabet, or a ``tokenizer.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import tokenizers

from tabstar_lit.arrays import Int32
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.errors import DataError

SPELLINGS = {
    "pad": ("[PAD]", "<pad>", "<|pad|>"),
    "bos": ("[CLS]", "<s>", "<bos>", "<|startoftext|>", "<|begin_of_text|>"),
    "eos": ("[SEP]", "</s>", "<eos>", "<|endoftext|>", "<|end_of_text|>"),
    "unknown": ("[UNK]", "<unk>"),
    "mask": ("[MASK]", "<mask>"),
}
"""How files spell the special tokens; a ``tokenizer.json`` does not say which of its tokens is which."""


class Tokenizer(Protocol):
    """Turns strings into token ids; small enough to travel in a checkpoint."""

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids, which are 0 to this minus 1."""

    @property
    def specials(self) -> Mapping[str, int]:
        """Ids of the special tokens it has: of ``pad``, ``bos``, ``eos``, ``unknown``, ``mask`` and others by name."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that the ids of a string depend on."""

    def encode(self, strings: Sequence[str]) -> Ragged:
        """Return the ids of each string as int32, with the special tokens that surround it."""

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids up to the first ``eos``, without padding and without the token it begins with."""

    def to_payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: plain values, for :func:`tokenizer_from_payload`."""


@dataclass(frozen=True)
class ByteTokenizer:
    """Every byte of the UTF-8 text is a token: byte b is id b + 3. Needs no file and knows every text.

    Attributes
    ----------
    max_tokens : int or None
        Longer strings are cut, special tokens counted and kept; a letter may be cut in two.
    begin, end : bool
        Put ``bos`` before, ``eos`` after each string.
    """

    max_tokens: int | None = None
    begin: bool = False
    end: bool = True

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids: 256 bytes and three special tokens."""
        return 259

    @property
    def specials(self) -> Mapping[str, int]:
        """Ids of the special tokens."""
        return {"pad": 0, "eos": 1, "bos": 2}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that the ids of a string depend on."""
        return _hashed(self.to_payload())

    def encode(self, strings: Sequence[str]) -> Ragged:
        """Return the ids of each string; lone surrogates, which UTF-8 cannot hold, become question marks."""
        encoded = [text.encode("utf-8", errors="replace") for text in strings]
        return _framed(encoded, np.arange(256, dtype=np.int32) + 3, self)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids up to the first ``eos``; what is no UTF-8 becomes the replacement character."""
        own = _between(ids, self.specials)
        return bytes(i - 3 for i in own if i > 2).decode("utf-8", errors="replace")

    def to_payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"kind": "bytes", "max_tokens": self.max_tokens, "begin": self.begin, "end": self.end}


@dataclass(frozen=True)
class LetterTokenizer:
    """Every letter is a token: of proteins, of nucleotides, of any alphabet of ASCII characters.

    Attributes
    ----------
    letters : mapping of str to int
        Id of each letter.
    specials : mapping of str to int
        Ids of special tokens. With ``unknown`` letters of no id are that token, otherwise they are an error.
    max_tokens : int or None
        Longer strings are cut, special tokens counted and kept.
    begin, end : bool
        Put ``bos`` before, ``eos`` after each string.

    Raises
    ------
    DataError
        A letter is no single ASCII character or is ``?``, two tokens have one id, or a special token that is needed is
        missing.
    """

    letters: Mapping[str, int]
    specials: Mapping[str, int]
    max_tokens: int | None = None
    begin: bool = True
    end: bool = True

    def __post_init__(self) -> None:
        """Refuse an alphabet that cannot be read back."""
        ids = [*self.letters.values(), *self.specials.values()]
        needed = {"pad", *(["bos"] if self.begin else []), *(["eos"] if self.end else [])}
        if odd := [letter for letter in self.letters if not (len(letter) == 1 and letter.isascii() and letter != "?")]:
            raise DataError(f"letters are single ASCII characters other than '?'; {odd[0]!r} is not.")
        if len(set(ids)) < len(ids) or min(ids, default=0) < 0:
            raise DataError("every letter and special token of an alphabet has an id of its own, from 0.")
        if missing := sorted(needed - set(self.specials)):
            raise DataError(f"the alphabet has no special token '{missing[0]}'.")

    @cached_property
    def vocabulary_size(self) -> int:
        """Number of token ids."""
        return 1 + max([*self.letters.values(), *self.specials.values()])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that the ids of a string depend on."""
        return _hashed(self.to_payload())

    def encode(self, strings: Sequence[str]) -> Ragged:
        """Return the ids of each string.

        Raises
        ------
        DataError
            A string holds a letter without id, and the alphabet has no ``unknown``.
        """
        known = self.specials.get("unknown")
        if known is None:
            self._require_letters(strings)
        table = np.full(256, -1 if known is None else known, dtype=np.int32)
        for letter, own in self.letters.items():
            table[ord(letter)] = own
        # In ASCII a letter of another script is one question mark, not several bytes.
        return _framed([text.encode("ascii", errors="replace") for text in strings], table, self)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids up to the first ``eos``; what has no letter is written as in ``<mask>``."""
        names = {own: letter for letter, own in self.letters.items()}
        names |= {own: f"<{name}>" for name, own in self.specials.items()}
        return "".join(names.get(own, f"<{own}>") for own in _between(ids, self.specials))

    def to_payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {
            "kind": "letters",
            "letters": dict(self.letters),
            "specials": dict(self.specials),
            "max_tokens": self.max_tokens,
            "begin": self.begin,
            "end": self.end,
        }

    def _require_letters(self, strings: Sequence[str]) -> None:
        allowed = set(self.letters)
        for number, text in enumerate(strings):
            if not allowed.issuperset(text):
                letter = next(letter for letter in text if letter not in allowed)
                raise DataError(
                    f"sequence {number} holds {letter!r} at position {text.index(letter)}, counted from 0. Allowed: "
                    f"{''.join(self.letters)}. Leave it out, or give the alphabet a token for unknown letters."
                )


@dataclass(frozen=True)
class JsonTokenizer:
    """The tokenizer of a ``tokenizer.json``: word pieces, byte pairs and whatever else that format holds.

    Attributes
    ----------
    text : str
        The file's text; truncation and padding stated in it are replaced.
    max_tokens : int or None
        Longer strings are cut, special tokens counted and kept.

    Raises
    ------
    DataError
        When first used: the text is no tokenizer.
    """

    text: str = field(repr=False)
    max_tokens: int | None = None

    @cached_property
    def vocabulary_size(self) -> int:
        """Number of token ids, tokens that were added to the vocabulary included."""
        return 1 + max(self._reader.get_vocab(with_added_tokens=True).values(), default=-1)

    @cached_property
    def specials(self) -> Mapping[str, int]:
        """Ids of the special tokens that the file spells in one of the ways of :data:`SPELLINGS`."""
        found = {name: [self._reader.token_to_id(text) for text in texts] for name, texts in SPELLINGS.items()}
        return {name: own for name, ids in found.items() for own in [i for i in ids if i is not None][:1]}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that the ids of a string depend on."""
        return hashlib.sha256(f"{self.max_tokens}\n{self.text}".encode()).hexdigest()

    def encode(self, strings: Sequence[str]) -> Ragged:
        """Return the ids of each string, with the special tokens that the file puts around it."""
        encoded = [encoding.ids for encoding in self._reader.encode_batch_fast(list(strings))]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        flat = np.fromiter((i for ids in encoded for i in ids), dtype=np.int32, count=int(offsets[-1]))
        return Ragged(flat, offsets)

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of ids up to the first ``eos``, without special tokens."""
        return str(self._reader.decode(_between(ids, self.specials), skip_special_tokens=True))

    def to_payload(self) -> dict[str, Any]:
        """Return what a checkpoint keeps."""
        return {"kind": "json", "text": self.text, "max_tokens": self.max_tokens}

    @cached_property
    def _reader(self) -> Any:
        try:
            reader = tokenizers.Tokenizer.from_str(self.text)
        except Exception as error:  # the library raises nothing more particular
            raise DataError(f"not the text of a tokenizer.json: {error}. Save the tokenizer anew.") from error
        reader.no_padding()
        if self.max_tokens is None:
            reader.no_truncation()
        else:
            reader.enable_truncation(self.max_tokens)
        return reader


def tokenizer_from_payload(payload: Mapping[str, Any]) -> Tokenizer:
    """Return the tokenizer that a checkpoint kept.

    Raises
    ------
    DataError
        It is of a kind that this release does not know.
    """
    options = {key: value for key, value in payload.items() if key != "kind"}
    kinds: dict[str, type[Tokenizer]] = {"bytes": ByteTokenizer, "letters": LetterTokenizer, "json": JsonTokenizer}
    if payload["kind"] not in kinds:
        raise DataError(f"no tokenizer is called '{payload['kind']}'.{suggestion(payload['kind'], kinds)}")
    return kinds[payload["kind"]](**options)


def _hashed(payload: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(payload, sort_keys=True).encode()).hexdigest()


def _framed(encoded: Sequence[bytes], table: Int32, tokenizer: ByteTokenizer | LetterTokenizer) -> Ragged:
    """Look bytes up in a table, and put special tokens around each string."""
    begin, end, specials = tokenizer.begin, tokenizer.end, tokenizer.specials
    if tokenizer.max_tokens is not None:
        encoded = [own[: max(0, tokenizer.max_tokens - begin - end)] for own in encoded]
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    offsets = np.concatenate([[0], np.cumsum(lengths + begin + end)])
    flat = np.empty(offsets[-1], dtype=np.int32)
    shift = begin + (begin + end) * np.arange(len(encoded))
    flat[np.arange(lengths.sum()) + np.repeat(shift, lengths)] = table[np.frombuffer(b"".join(encoded), dtype=np.uint8)]
    if begin:
        flat[offsets[:-1]] = specials["bos"]
    if end:
        flat[offsets[1:] - 1] = specials["eos"]
    return Ragged(flat, offsets)


def _between(ids: Sequence[int], specials: Mapping[str, int]) -> list[int]:
    """Return ids up to the first ``eos``, without the ``bos`` they begin with and without padding."""
    own = [int(i) for i in ids]
    own = own[1:] if own[:1] == [specials.get("bos")] else own
    own = own[: own.index(specials["eos"])] if specials.get("eos") in own else own
    return [i for i in own if i != specials.get("pad")]
