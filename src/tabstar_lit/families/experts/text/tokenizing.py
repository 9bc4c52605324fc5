"""Documents as tokens: a tokenizer by its name, and the tokens that begin and end each document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tabstar_lit.arrays import Int32
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.tokenizers import SPELLINGS, ByteTokenizer, JsonTokenizer, Tokenizer
from tabstar_lit.errors import DataError
from tabstar_lit.hub import HubError, hub_file

BYTES = "bytes"
TOKENIZER_FILE = "tokenizer.json"
REMEDY = (
    f"Use '{BYTES}', which needs no file, give the path of a {TOKENIZER_FILE} or of a folder that holds one, or train "
    "one on your texts: tabstar_lit convert text ROOT --train-bpe 8192 -o CORPUS.h5"
)


@dataclass(frozen=True)
class Framing:
    """What stands around each document: a token that begins and one that ends it, which may be the same.

    So the first token of a document is predicted too, and every byte of a text has a likelihood.

    Attributes
    ----------
    tokenizer : Tokenizer
        What makes tokens of the text between.

    Raises
    ------
    DataError
        The tokenizer has no token that could end a document.
    """

    tokenizer: Tokenizer

    def __post_init__(self) -> None:
        """Refuse a tokenizer whose documents would not end."""
        if "eos" not in self.tokenizer.specials:
            raise DataError(
                f"the tokenizer has no token that ends a text, spelled as one of {', '.join(SPELLINGS['eos'])}. Add "
                "one to it (tokenizer.add_special_tokens) and save it anew."
            )

    @property
    def begin(self) -> int:
        """Id of the token that begins a document: ``bos``, or ``eos`` where there is none."""
        return self.tokenizer.specials.get("bos", self.end)

    @property
    def end(self) -> int:
        """Id of the token that ends a document."""
        return self.tokenizer.specials["eos"]

    def encode(self, texts: Sequence[str]) -> Ragged:
        """Return the tokens of each document, framed."""
        plain = self.tokenizer.encode(texts)
        first, last = self._own_frame
        lengths = plain.lengths + 2 - first - last
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        flat = np.empty(offsets[-1], dtype=np.int32)
        is_text = np.ones(len(flat), dtype=bool)
        if not first:
            flat[offsets[:-1]], is_text[offsets[:-1]] = self.begin, False
        if not last:
            flat[offsets[1:] - 1], is_text[offsets[1:] - 1] = self.end, False
        flat[is_text] = plain.flat
        return Ragged(flat, offsets)

    def prompt(self, text: str) -> list[int]:
        """Return the tokens that a text beginning so begins with."""
        whole: Int32 = self.encode([text])[0]
        return [int(token) for token in whole[:-1]]

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens up to the first that ends a document; one that begins it is passed over."""
        own = list(tokens)
        return self.tokenizer.decode(own[1:] if own[:1] == [self.begin] else own)

    @cached_property
    def _own_frame(self) -> tuple[int, int]:
        """How many tokens the tokenizer itself puts before and after a text: 0 or 1 each."""
        ids = self.tokenizer.encode([""])[0].tolist()
        return int(ids[:1] == [self.begin] and len(ids) > (self.begin == self.end)), int(ids[-1:] == [self.end])


def find_tokenizer(name: str) -> Tokenizer:
    """Return the tokenizer that ``name`` means.

    Parameters
    ----------
    name : str
        ``bytes``, the path of a ``tokenizer.json`` or of a folder with a tokenizer, or the name of one on the Hugging
        Face hub, such as ``gpt2``.

    Raises
    ------
    DataError
        There is none, or it cannot be read.
    """
    if name == BYTES:
        return ByteTokenizer(begin=True)
    path = Path(name).expanduser()
    if path.is_dir():
        inside = path / TOKENIZER_FILE
        text = _read(inside) if inside.is_file() else _older_format(path)
    else:
        text = _read(path if path.is_file() else _from_hub(name))
    tokenizer = JsonTokenizer(text)
    try:
        Framing(tokenizer)
    except DataError as error:
        raise DataError(f"tokenizer '{name}': {error}") from error
    return tokenizer


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"tokenizer {path}: cannot be read ({error}).") from error


def _older_format(folder: Path) -> str:
    """Return the tokenizer of a folder that has no ``tokenizer.json``, such as ``vocab.json`` and ``merges.txt``."""
    import transformers

    try:
        auto: Any = transformers.AutoTokenizer
        return str(auto.from_pretrained(folder, local_files_only=True).backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataError(f"tokenizer '{folder}': the folder holds none that can be read ({reason}). {REMEDY}") from error


def _from_hub(name: str) -> Path:
    """Return the file of a tokenizer on the hub: from the cache, else downloaded, or fail within seconds."""
    try:
        return hub_file(name, TOKENIZER_FILE)
    except HubError as error:
        raise DataError(
            f"tokenizer '{name}' is no file or folder, is not in the local cache, and the hub did not give it: "
            f"{error}\n{REMEDY}"
        ) from error
