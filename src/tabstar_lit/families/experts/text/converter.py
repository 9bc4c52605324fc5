"""Texts to corpus: read, make tokens, write. Domains that did not change since the last time are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabstar_lit.arrays import UInt64
from tabstar_lit.data.conversion import bring_up_to_date, fingerprint
from tabstar_lit.data.progress import Progress, no_progress
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.source_files import file_identity
from tabstar_lit.data.splits import document_ids
from tabstar_lit.data.tokenizers import Tokenizer
from tabstar_lit.errors import DataError
from tabstar_lit.families.experts.text.bpe import train_bpe
from tabstar_lit.families.experts.text.corpus import Domain, TextCorpus, write_corpus
from tabstar_lit.families.experts.text.jsonl import find_domains, read_texts
from tabstar_lit.families.experts.text.tokenizing import BYTES, Framing, find_tokenizer

CONVERTER_VERSION = 1
DOCUMENTS_AT_ONCE = 1024


class Summary(NamedTuple):
    """What became of one domain."""

    name: str
    files: int
    documents: int
    repeated: int
    n_bytes: int
    tokens: int
    kept: bool


class Report(NamedTuple):
    """Outcome of a conversion."""

    path: Path
    written: bool
    vocabulary_size: int
    domains: list[Summary]


@dataclass(frozen=True)
class Source:
    """The files of all domains, and how they become tokens.

    Attributes
    ----------
    files : mapping of str to sequence of Path
        By domain, see :func:`~tabstar_lit.families.experts.text.jsonl.find_domains`.
    tokenizer : str
        What :func:`~tabstar_lit.families.experts.text.tokenizing.find_tokenizer` understands.
    bpe : int or None
        Train a byte-pair encoding of this vocabulary on all the texts, in place of ``tokenizer``.
    """

    files: Mapping[str, Sequence[Path]]
    tokenizer: str = BYTES
    bpe: int | None = None

    @cached_property
    def identities(self) -> dict[str, list[dict[str, str]]]:
        """Name and SHA-256 of each file, by domain."""
        return {name: [file_identity(path) for path in files] for name, files in self.files.items()}

    @cached_property
    def made_tokenizer(self) -> Tokenizer:
        """What makes the tokens; a trained one is trained when it is first asked for."""
        if self.bpe is None:
            return find_tokenizer(self.tokenizer)
        texts = (line.text for files in self.files.values() for path in files for line in read_texts(path))
        return train_bpe(texts, self.bpe)

    def fingerprints(self) -> dict[str, str]:
        """Return what each domain is made from; a trained tokenizer is made from all domains."""
        made: dict[str, Any] = {"tokenizer": self.made_tokenizer.fingerprint} if self.bpe is None else {}
        if self.bpe is not None:
            made = {"bpe": self.bpe, "of": self.identities}
        common = {"converter": CONVERTER_VERSION, **made}
        return {name: fingerprint({**common, "files": own}) for name, own in self.identities.items()}


def convert_text(
    root: Path, output: Path, *, tokenizer: str = BYTES, bpe: int | None = None, progress: Progress = no_progress
) -> Report:
    """Bring a corpus up to date with the texts below ``root``.

    Parameters
    ----------
    root : Path
        Folder of the domains.
    output : Path
        The corpus. An existing one keeps the domains whose files are unchanged.
    tokenizer, bpe
        As for :class:`Source`.
    progress : callable
        For a bar over the bytes that are read.

    Returns
    -------
    Report
        What was converted and what was kept.

    Raises
    ------
    DataError
        A text or the tokenizer cannot be read, a domain has no document, or ``output`` is another kind of file.
    """
    source = Source(find_domains(root), tokenizer, bpe)
    target = _Domains(source, progress)
    outcome = bring_up_to_date(target, output, target.wanted)
    corpus = outcome.opened
    summaries = [_summary(corpus.load(name), kept=name not in outcome.changed) for name in corpus.domains]
    return Report(output, outcome.written, corpus.tokenizer.vocabulary_size, summaries)


class _Domains:
    """The corpus as the target of a conversion; its parts are domains."""

    def __init__(self, source: Source, progress: Progress) -> None:
        self._source, self._progress = source, progress
        self.wanted = source.fingerprints()

    def open(self, path: Path) -> TextCorpus:
        return TextCorpus.open(path)

    def fingerprints(self, opened: TextCorpus) -> dict[str, str]:
        return {name: self._sound(opened, name) for name in opened.domains}

    def write(self, path: Path, changed: Sequence[str], old: TextCorpus | None) -> None:
        tokenizer = self._source.made_tokenizer
        write_corpus(path, self._converted(changed), order=list(self.wanted), tokenizer=tokenizer, keep=old)

    def _sound(self, corpus: TextCorpus, name: str) -> str:
        """Return the fingerprint of a domain; none if it is damaged."""
        own = corpus.source_fingerprint(name)
        if own == self.wanted.get(name):
            try:
                corpus.load(name)
            except DataError:
                return ""
        return own

    def _converted(self, names: Sequence[str]) -> Iterator[Domain]:
        framing = Framing(self._source.made_tokenizer)
        sizes = [path.stat().st_size for name in names for path in self._source.files[name]]
        with self._progress(sum(sizes)) as advance:
            for name in names:
                yield self._domain(name, framing, advance)

    def _domain(self, name: str, framing: Framing, advance: Any) -> Domain:
        parts: list[_Part] = []
        sources = []
        for path, identity in zip(self._source.files[name], self._source.identities[name], strict=True):
            before = len(parts)
            lines_of_file = read_texts(path)
            while lines := list(islice(lines_of_file, DOCUMENTS_AT_ONCE)):
                parts.append(_part([line.text for line in lines], framing))
                advance(sum(line.size for line in lines))
            sources.append({**identity, "documents": sum(len(part.n_bytes) for part in parts[before:])})
        if not parts:
            files = ", ".join(path.name for path in self._source.files[name])
            folder = self._source.files[name][0].parent
            raise DataError(f"{folder}: the domain '{name}' has no document: {files} is empty. Remove it, or fill it.")
        return Domain(
            name,
            Ragged.joined([part.tokens for part in parts], parts[0].tokens.flat.dtype),
            ids=np.concatenate([part.ids for part in parts]),
            n_bytes=np.concatenate([part.n_bytes for part in parts]),
            sources=sources,
            fingerprint=self.wanted[name],
        )


class _Part(NamedTuple):
    """Some documents of a domain."""

    tokens: Ragged
    ids: UInt64
    n_bytes: Any


def _part(texts: Sequence[str], framing: Framing) -> _Part:
    tokens = framing.encode(texts)
    small = np.min_scalar_type(framing.tokenizer.vocabulary_size - 1)
    n_bytes = np.array([len(text.encode("utf-8", errors="replace")) for text in texts], dtype=np.int64)
    return _Part(Ragged(tokens.flat.astype(small), tokens.offsets), document_ids(texts), n_bytes)


def _summary(domain: Domain, *, kept: bool) -> Summary:
    return Summary(
        domain.name,
        files=len(domain.sources),
        documents=len(domain),
        repeated=len(domain) - len(np.unique(domain.ids)),
        n_bytes=int(domain.n_bytes.sum()),
        tokens=len(domain.tokens.flat),
        kept=kept,
    )
