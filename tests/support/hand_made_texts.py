"""Small texts in domains, as files and as corpora."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tabstar_lit.families.experts.text.converter import convert_text
from tabstar_lit.families.experts.text.corpus import TextCorpus

WORDS = ("ash", "birch", "cedar", "elm", "fir", "hazel", "oak", "pine", "rowan", "willow")


def trees(count: int, longest: int = 12, first: int = 0) -> list[str]:
    """Return sentences about trees, no two alike."""
    return [
        f"{number}: " + " ".join(WORDS[(number * 7 + i * 3) % 10] for i in range(1 + number % longest)) + "."
        for number in range(first, first + count)
    ]


def write_texts(root: Path, domains: Mapping[str, Sequence[str]]) -> Path:
    """Write each domain as one file below ``root``."""
    for name, texts in domains.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        lines = (json.dumps({"text": text, "source": "made by hand"}) + "\n" for text in texts)
        (root / name / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return root


def make_text_corpus(folder: Path, domains: Mapping[str, Sequence[str]], **options: object) -> TextCorpus:
    """Write texts and convert them."""
    convert_text(write_texts(folder / "texts", domains), folder / "texts.h5", **options)
    return TextCorpus.open(folder / "texts.h5")
