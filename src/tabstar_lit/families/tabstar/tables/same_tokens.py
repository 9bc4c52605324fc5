"""Texts that differ for people and not for the text encoder: classes, columns, and values behind too long a name.

A tokenizer lowers case, knows no emoji and cuts what is too long. Two classes that become the same tokens get the same
logit for ever, so such a table cannot be learnt, and nothing but the tokens shows it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from tabstar_lit.data import verbalize
from tabstar_lit.data.tokenizers import Tokenizer
from tabstar_lit.families.tabstar.tables.corpus import Table

SHOWN = 3
LONGEST_SHOWN = 60


def same_texts(table: Table, features: Iterable[str], tokenizer: Tokenizer) -> list[str]:
    """Return a line for each group of classes, and of features, that have equal tokens.

    Parameters
    ----------
    table : Table
        As in the corpus.
    features : iterable of str
        Its columns in use.
    tokenizer : Tokenizer
        Of the text encoder.
    """
    names = tuple(features)
    classes = _equal(tokenizer, [table.vocabulary[code] for code in table.target_codes], table.classes)
    columns = _equal(tokenizer, [verbalize.name_text(name) for name in names], names)
    return [
        f"table '{table.name}': {what} {_listed(group)} are the same tokens to the text encoder. Give them other names "
        f"under '{key}' in the manifest"
        for what, key, groups in (("classes", "class_names", classes), ("columns", "rename", columns))
        for group in groups
    ]


def cut_texts(table: Table, features: Iterable[str], tokenizer: Tokenizer) -> list[str]:
    """Return a line for each feature with so long a name that no value behind it is read."""
    names = tuple(features)
    first = tokenizer.encode([verbalize.feature_text(name, "a") for name in names])
    other = tokenizer.encode([verbalize.feature_text(name, "b") for name in names])
    return [
        f"table '{table.name}': the name of column {_listed([name])} is so long that its values are cut off. Give it a "
        "shorter one under 'rename' in the manifest, or raise the encoder's max_tokens"
        for position, name in enumerate(names)
        if first[position].tobytes() == other[position].tobytes()
    ]


def _equal(tokenizer: Tokenizer, texts: Sequence[str], names: Sequence[str]) -> list[list[str]]:
    encoded = tokenizer.encode(texts)
    groups: dict[bytes, list[str]] = defaultdict(list)
    for position, name in enumerate(names):
        groups[encoded[position].tobytes()].append(name)
    return [group for group in groups.values() if len(group) > 1]


def _listed(names: Sequence[str]) -> str:
    shown = [f"'{name if len(name) <= LONGEST_SHOWN else name[: LONGEST_SHOWN - 1] + '…'}'" for name in names[:SHOWN]]
    return " and ".join(shown) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
