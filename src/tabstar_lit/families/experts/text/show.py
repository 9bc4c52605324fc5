"""What is in a corpus of text, in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tabstar_lit.families.experts.text.corpus import TextCorpus
from tabstar_lit.families.experts.text.tokenizing import Framing

MAX_SHOWN = 200


def describe(path: Path) -> str:
    """Return a table of the domains, with the beginning of the first document of each.

    Raises
    ------
    DataError
        It is no corpus of text, or damaged.
    """
    corpus = TextCorpus.open(path)
    tokenizer = corpus.tokenizer
    framing = Framing(tokenizer)
    lines = [
        f"{path}: text, {len(corpus.domains)} domains, tokenizer {corpus.payload['kind']} of "
        f"{tokenizer.vocabulary_size} tokens",
        f"{'domain':20}  {'documents':>9}  {'bytes':>11}  {'tokens':>11}  {'bytes/token':>11}  {'median tokens':>13}",
    ]
    beginnings = []
    for name in corpus.domains:
        domain = corpus.load(name)
        n_bytes, tokens = int(domain.n_bytes.sum()), len(domain.tokens.flat)
        median = np.median(domain.tokens.lengths)
        lines.append(f"{name:20}  {len(domain):9}  {n_bytes:11}  {tokens:11}  {n_bytes / tokens:11.2f}  {median:13.0f}")
        text = framing.decode([int(token) for token in domain.tokens[0][:MAX_SHOWN]])
        beginnings.append(f"{name}: {text!r}{'' if len(domain.tokens[0]) <= MAX_SHOWN else ' …'}")
    return "\n".join([*lines, "", *beginnings])
