"""A text corpus: the tokens of all documents by domain, in one HDF5 file, made once and read whole.

Layout (version 1)::

    /            attributes kind, schema_version, fingerprint
    /index       JSON: names of the domains in order
    /tokenizer   JSON: payload of the tokenizer
    /domains/<n> attributes fingerprint (of the sources), checksum (of the arrays)
      tokens/{flat,offsets}  token ids of the documents, framed; smallest unsigned type
      ids        [N] uint64  hash of each document's text
      n_bytes    [N] int64   length of each document's text in UTF-8
      sources    JSON: names and SHA-256 of the files, and how many documents each gave
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py

from tabstar_lit.arrays import Array, Int64, UInt64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data import hdf5
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.tokenizers import Tokenizer, tokenizer_from_payload
from tabstar_lit.errors import DataError

KIND = "tabstar_lit.text"
SCHEMA_VERSION = 1
REMEDY = "Make it again with: tabstar_lit convert text ROOT -o CORPUS.h5"


@dataclass(frozen=True, eq=False)
class Domain:
    """The documents of one domain.

    Attributes
    ----------
    name : str
        Name of its folder.
    tokens : Ragged
        Token ids of each of the N documents, with the tokens that begin and end it.
    ids : NDArray of uint64
        ``[N]`` hash of each text: equal texts have equal ids.
    n_bytes : NDArray of int64
        ``[N]`` bytes of each text.
    sources : list of dict
        The files: ``file``, ``sha256`` and the number of ``documents`` in each.
    fingerprint : str
        Of sources, tokenizer and converter.
    """

    name: str
    tokens: Ragged
    ids: UInt64
    n_bytes: Int64
    sources: list[dict[str, Any]]
    fingerprint: str

    def __len__(self) -> int:
        """Return the number of documents."""
        return len(self.ids)

    def arrays(self) -> dict[str, Array]:
        """Return what the checksum is taken of."""
        return {"flat": self.tokens.flat, "offsets": self.tokens.offsets, "ids": self.ids, "n_bytes": self.n_bytes}


@dataclass(frozen=True)
class TextCorpus:
    """A corpus file whose layout has been verified. Holds no open handle.

    Attributes
    ----------
    path : Path
        The file.
    domains : tuple of str
        Names of its domains, in alphabetical order.
    fingerprint : str
        SHA-256 over the tokenizer and the checksums of all domains.
    payload : dict
        What the tokenizer is made of.
    """

    path: Path
    domains: tuple[str, ...]
    fingerprint: str
    payload: dict[str, Any] = field(repr=False)

    @classmethod
    def open(cls, path: Path) -> TextCorpus:
        """Open a corpus and verify its layout; its arrays are verified by :meth:`load`.

        Raises
        ------
        DataError
            The file is missing, damaged, of another kind or version.
        """
        with _open(path) as file:
            names = tuple(hdf5.read_json(file, "index", remedy=REMEDY))
            payload = hdf5.read_json(file, "tokenizer", remedy=REMEDY)
            checksums = {name: hdf5.read_text(_group(file, name), "checksum") for name in names}
            fingerprint = _fingerprint(payload, checksums)
            if fingerprint != hdf5.read_text(file, "fingerprint"):
                raise DataError(f"{path}: fingerprint and domains disagree: the file was changed. {REMEDY}")
        return cls(path, names, fingerprint, payload)

    @property
    def tokenizer(self) -> Tokenizer:
        """What made its tokens."""
        return tokenizer_from_payload(self.payload)

    def load(self, name: str) -> Domain:
        """Read a domain and check it against its checksum.

        Raises
        ------
        DataError
            There is none of that name, or it is damaged.
        """
        with _open(self.path) as file:
            group = _group(file, name)
            domain = Domain(
                name,
                Ragged.read(group, "tokens", remedy=REMEDY),
                ids=hdf5.read_array(group, "ids", remedy=REMEDY),
                n_bytes=hdf5.read_array(group, "n_bytes", remedy=REMEDY),
                sources=hdf5.read_json(group, "sources", remedy=REMEDY),
                fingerprint=hdf5.read_text(group, "fingerprint"),
            )
            if hdf5.checksum(domain.arrays()) != hdf5.read_text(group, "checksum"):
                raise DataError(f"{self.path}: domain '{name}' differs from its checksum: damaged. {REMEDY}")
        return domain

    def source_fingerprint(self, name: str) -> str:
        """Return the fingerprint of what a domain was made from."""
        with _open(self.path) as file:
            return hdf5.read_text(_group(file, name), "fingerprint")


def write_corpus(
    path: Path, domains: Iterable[Domain], *, order: Sequence[str], tokenizer: Tokenizer, keep: TextCorpus | None = None
) -> None:
    """Write a corpus in one step.

    Parameters
    ----------
    path : Path
        Target; replaced only when all domains are written.
    domains : iterable of Domain
        New domains, taken one at a time.
    order : sequence of str
        All domains of the result. Those that ``domains`` does not give are copied from ``keep``.
    tokenizer : Tokenizer
        What made the tokens of all of them.
    keep : TextCorpus, optional
        May be the very file at ``path``.

    Raises
    ------
    DataError
        The file cannot be written.
    """
    payload = tokenizer.to_payload()
    with hdf5.atomic_file(path) as file:
        folder = file.create_group("domains")
        for domain in domains:
            _write_domain(folder.create_group(domain.name), domain)
        missing = [name for name in order if name not in folder]
        if keep is not None and missing:
            with _open(keep.path) as old:
                for name in missing:
                    old.copy(_group(old, name), folder, name)
        hdf5.write_json(file, "index", list(order))
        hdf5.write_json(file, "tokenizer", payload)
        hdf5.write_text(file, "kind", KIND)
        file.attrs["schema_version"] = SCHEMA_VERSION
        checksums = {name: hdf5.read_text(folder[name], "checksum") for name in order}
        hdf5.write_text(file, "fingerprint", _fingerprint(payload, checksums))


def _open(path: Path) -> Any:
    return hdf5.open_file(path, kind=KIND, schema_version=SCHEMA_VERSION, remedy=REMEDY)


def _group(file: h5py.File, name: str) -> h5py.Group:
    folder = file.get("domains")
    names = list(folder) if isinstance(folder, h5py.Group) else []
    group = folder.get(name) if name in names else None
    if isinstance(group, h5py.Group):
        return group
    hint = suggestion(name, names, listed="It has") or " It has none."
    raise DataError(f"{file.filename}: no domain '{name}'.{hint}")


def _write_domain(group: h5py.Group, domain: Domain) -> None:
    domain.tokens.write(group, "tokens")
    hdf5.write_array(group, "ids", domain.ids)
    hdf5.write_array(group, "n_bytes", domain.n_bytes)
    hdf5.write_json(group, "sources", domain.sources)
    hdf5.write_text(group, "fingerprint", domain.fingerprint)
    hdf5.write_text(group, "checksum", hdf5.checksum(domain.arrays()))


def _fingerprint(payload: Mapping[str, Any], checksums: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps([payload, dict(checksums)], sort_keys=True).encode()).hexdigest()
