"""Which pairs of a file an experiment uses, and on which side of the split each stands."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tabstar_lit.arrays import Array, Bool, Int64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.data.splits import Split, document_ids, salt
from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.pairs.config import AntibodyDataset, PairSplit
from tabstar_lit.families.antibody.pairs.file import Pairs
from tabstar_lit.families.antibody.pairs.tokens import BREAK, chains_of

SIDES = ("train", "val", "test")
FRAME_TOKENS = 2
"""START and END, which stand around every sequence."""

log = logging.getLogger(__name__)


def select_pairs(pairs: Pairs, config: AntibodyDataset) -> tuple[Pairs, Int64]:
    """Return what is used of a file: pairs as the configuration wants them, and the rows of the file they are.

    Raises
    ------
    DataError
        Nothing is left; the message counts what each key of the configuration left out.
    """
    kept = np.ones(len(pairs), dtype=bool)
    left_out: dict[str, int] = {}
    for key, wanted in _wishes(pairs, config).items():
        left_out[key] = int((kept & ~wanted).sum())
        kept &= wanted
    told = ", ".join(f"{count} by {key}" for key, count in left_out.items() if count)
    if not kept.any():
        raise DataError(f"none of the {len(pairs)} pairs is left: left out are {told}. Change these keys.")
    if told:
        log.info("%d of %d pairs are used; left out: %s", int(kept.sum()), len(pairs), told)
    _warn_of_limits(pairs, config, kept)
    rows = np.flatnonzero(kept)
    return _taken(pairs, rows, config), rows


def split_pairs(pairs: Pairs, split: PairSplit) -> Mapping[str, Int64]:
    """Return the rows of each side of a split, by a hash of what must stay together.

    Raises
    ------
    DataError
        A side has no pair.
    """
    if split.by == "row":
        log.warning(
            "split.by: row puts pairs of one antigen, and near copies of one antibody, on both sides: validation then "
            "measures memory. split.by: cluster asks about unseen antigens."
        )
    ids = document_ids(_kept_together(pairs, split.by))
    sides = Split(split.seed, {"val": split.val}, split.test).sides(ids, np.zeros(len(pairs), dtype=np.int64))
    rows = {name: np.flatnonzero(sides == number) for number, name in enumerate(SIDES)}
    for name in ("train", "val"):
        if not len(rows[name]):
            raise DataError(
                f"the {name} side of the split has no pair: split.by: {split.by} keeps together what has one "
                f"{split.by}, and there are {len(set(ids.tolist()))} of them. Use more pairs, or split.by: antibody, "
                "which holds out antibodies of antigens that are trained on."
            )
    return rows


def sample_rows(pairs: Pairs, rows: Int64, count: int | None) -> Int64:
    """Return ``count`` of the rows, always the same ones of the same pairs, in their order; all where it is None."""
    if count is None or count >= len(rows):
        return rows
    texts = (f"{pairs.antigens[pairs.antigen[row]]}\n{pairs.antibodies[row]}" for row in rows)
    hashes = document_ids(texts) ^ salt("max_samples")
    return np.sort(rows[np.argsort(hashes, kind="stable")[:count]])


def _wishes(pairs: Pairs, config: AntibodyDataset) -> dict[str, Bool]:
    """Return which pairs each key keeps."""
    broken = np.array([BREAK in text for text in pairs.antibodies])
    lone = np.array([not text.startswith(BREAK) for text in pairs.antibodies])
    wishes: dict[str, Bool] = {}
    if config.antigen is not None:
        wishes["antigen"] = _of_antigen(pairs, config.antigen)
    if config.chains != "all":
        chains = {"paired": broken & lone, "single": ~broken, "heavy": lone}
        wishes["chains"] = chains[config.chains]
    if config.censored == "drop":
        wishes["censored"] = pairs.censored == 0
    if config.pkd == "known":
        unknown = np.isnan(pairs.pkd) | ((pairs.censored != 0) & (config.censored == "missing"))
        wishes["pkd"] = ~unknown
    lengths = np.array([len(_chain_text(text, config)) for text in pairs.antibodies])
    wishes["max_antibody_tokens"] = lengths + FRAME_TOKENS <= config.max_antibody_tokens
    return wishes


def _of_antigen(pairs: Pairs, wanted: str) -> Bool:
    names = dict(zip(pairs.antigen_names, range(len(pairs.antigens)), strict=True))
    found = [number for number, text in enumerate(pairs.antigens) if text == wanted] or [
        number for number, name in enumerate(pairs.antigen_names) if name and name == wanted
    ]
    if not found:
        known = [name for name in names if name]
        raise DataError(
            f"dataset_config.antigen: no antigen of the {len(pairs.antigens)} is called, or is, '{wanted[:40]}'."
            f"{suggestion(wanted, known)}"
        )
    return np.isin(pairs.antigen, found)


def _chain_text(text: str, config: AntibodyDataset) -> str:
    return chains_of(text)[0] if config.chains == "heavy" else text


def _taken(pairs: Pairs, rows: Int64, config: AntibodyDataset) -> Pairs:
    """Return some of the pairs, cut to their heavy chains where only these are wanted."""
    texts = tuple(_chain_text(pairs.antibodies[row], config) for row in rows)
    lengths = [len(text) for text in texts]
    pkd, censored = pairs.pkd[rows].copy(), pairs.censored[rows].copy()
    if config.censored == "missing":
        pkd[censored != 0], censored[censored != 0] = np.nan, 0
    return replace(
        pairs,
        antigen=pairs.antigen[rows],
        antibodies=texts,
        pkd=pkd,
        censored=censored,
        regions=_shortened(pairs.regions.take(rows), lengths),
        germline=_shortened(pairs.germline.take(rows), lengths),
    )


def _shortened(rows: Ragged, lengths: list[int]) -> Ragged:
    parts: list[Array] = [rows[number][:length] for number, length in enumerate(lengths)]
    return Ragged.of(parts, np.int8)


def _kept_together(pairs: Pairs, by: str) -> list[str]:
    """Return, for each pair, a text that is equal for pairs which must not be separated."""
    if by == "antibody":
        return list(pairs.antibodies)
    numbers = pairs.clusters[pairs.antigen] if by == "cluster" else pairs.antigen
    texts = [pairs.antigens[number] for number in numbers]
    if by == "row":
        return [f"{antigen}\n{antibody}" for antigen, antibody in zip(texts, pairs.antibodies, strict=True)]
    return texts


def _warn_of_limits(pairs: Pairs, config: AntibodyDataset, kept: Bool) -> None:
    """Say how many antibodies a limit leaves out, and how many antigens it cuts."""
    long = np.array([len(_chain_text(text, config)) + FRAME_TOKENS for text in pairs.antibodies])
    out = int((long > config.max_antibody_tokens).sum())
    if out:
        log.warning(
            "%d of %d antibodies (%.1f %%) have more than max_antibody_tokens = %d tokens and are left out: cut, they "
            "would have no END and teach never to end. The longest has %d.",
            out,
            len(pairs),
            100 * out / len(pairs),
            config.max_antibody_tokens,
            long.max(),
        )
    used = np.unique(pairs.antigen[kept])
    tokens = np.array([len(pairs.antigens[number]) for number in used]) + FRAME_TOKENS
    cut = int((tokens > config.max_antigen_tokens).sum())
    if cut:
        log.warning(
            "%d of %d antigens (%.1f %%) have more than max_antigen_tokens = %d tokens: their ends are not read.",
            cut,
            len(used),
            100 * cut / len(used),
            config.max_antigen_tokens,
        )
