"""Small tables, trees and metadata of microbial communities, as files of every kind that is read."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import h5py
import numpy as np
from scipy import sparse

from tabstar_lit.arrays import Array

SEQUENCES = ("ACGTACGTACGTACGTACGTAC", "ACGTACGTACGTACGTACGTAA", "TTTTACGTACGTACGTACGTAC", "GGGGACGTACGTACGTNCGTAC")
SAMPLES = ("s1", "s2", "s3", "s4", "s5")
COUNTS = np.array([[5, 3, 0, 2], [1, 0, 7, 0], [0, 4, 4, 4], [9, 0, 0, 1], [2, 2, 2, 2]])
TREE = "(({}:0.1,{}:0.2):0.3,({}:0.4,{}:0.5):0.6);".format(*SEQUENCES)
METADATA = "\n".join(
    [
        "sample-id\tstate\tage\tsubject",
        "#q2:types\tcategorical\tnumeric\tcategorical",
        "s1\tsick\t30\ta",
        "s2\twell\t41.5\ta",
        "s3\tsick\tMissing: Not provided\tb",
        "s4\twell\t22\tc",
        "s5\tNot applicable\t67\tc",
    ]
)


def write_biom(
    path: Path, counts: Array = COUNTS, ids: Sequence[str] = SEQUENCES, samples: Sequence[str] = SAMPLES
) -> Path:
    """Write samples ``[N, F]`` as a BIOM file of version 2.1, which stores features in rows."""
    path.write_bytes(biom_bytes(counts, ids, samples))
    return path


def biom_bytes(counts: Array = COUNTS, ids: Sequence[str] = SEQUENCES, samples: Sequence[str] = SAMPLES) -> bytes:
    """Return the content of a BIOM file."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        for axis, names, matrix in (
            ("observation", ids, sparse.csr_matrix(counts.T)),
            ("sample", samples, sparse.csc_matrix(counts.T)),
        ):
            file.create_dataset(f"{axis}/ids", data=np.array([name.encode() for name in names], dtype=object),
                                dtype=h5py.string_dtype())  # fmt: skip
            for part in ("data", "indices", "indptr"):
                values = getattr(matrix, part)
                file.create_dataset(f"{axis}/matrix/{part}", data=values.astype(float) if part == "data" else values)
    return stream.getvalue()


def write_tsv(path: Path, counts: Array = COUNTS, ids: Sequence[str] = SEQUENCES) -> Path:
    """Write a table as ``biom convert --to-tsv`` does, with a column of taxa."""
    lines = ["# Constructed from biom file", "\t".join(["#OTU ID", *SAMPLES[: len(counts)], "taxonomy"])]
    lines += ["\t".join([name, *map(str, own), "k__Bacteria"]) for name, own in zip(ids, counts.T, strict=True)]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_artifact(path: Path, files: Mapping[str, bytes], kind: str = "FeatureTable[Frequency]") -> Path:
    """Write a QIIME 2 artifact with files below ``data/``."""
    root = "7a3a5a52-0000-4000-8000-000000000000"
    content = {f"data/{name}": own for name, own in files.items()}
    sums = "".join(f"{hashlib.md5(own, usedforsecurity=False).hexdigest()}  {name}\n" for name, own in content.items())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/VERSION", "QIIME 2\narchive: 5\nframework: 2026.4.0\n")
        archive.writestr(f"{root}/metadata.yaml", f"uuid: {root[:36]}\ntype: {kind}\nformat: BIOMV210DirFmt\n")
        archive.writestr(f"{root}/checksums.md5", sums)
        for name, own in content.items():
            archive.writestr(f"{root}/{name}", own)
    return path


def write_study_files(folder: Path, extra: str = "") -> Path:
    """Write table, tree, metadata and the CONFIG of a conversion into a folder; ``extra`` is added to the CONFIG."""
    write_biom(folder / "table.biom")
    (folder / "tree.nwk").write_text(TREE)
    (folder / "metadata.tsv").write_text(METADATA)
    config = folder / "study.yaml"
    config.write_text(
        "name: small\ntable: table.biom\ntree: tree.nwk\nmetadata: metadata.tsv\ngroup: subject\n" + extra
    )
    return config
