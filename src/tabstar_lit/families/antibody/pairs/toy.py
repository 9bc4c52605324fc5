"""A generated task whose rule is known: what an antibody has to be is written in its antigen and its affinity.

Antigens are 20 to 28 background letters with a *motif* of four hot-spot letters somewhere between them. Antibodies are
short variable domains of one of a few germlines, with mutations: every other one heavy and light, the others heavy
alone, as nanobodies are. The rule has two parts:

- CDR-H3 holds the *partner* of each letter of the motif, in order: opposite charges (D-K, E-R), aromatic rings (F-Y)
  and W-H.
- The affinity is written twice, with steps between each other's. The last letter of CDR-H1 and of CDR-L3 is G below
  pKd 5.5, S below 7, T below 8.5 and V above. The last letter of CDR-H2, and the one that follows the partners in
  CDR-H3, is A below 4.75, G below 6.25, S below 7.75, T below 9.25 and V above.

All other letters of the CDRs are noise, which nothing can predict.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tabstar_lit.arrays import Int8
from tabstar_lit.data.ragged import Ragged
from tabstar_lit.errors import DataError
from tabstar_lit.families.antibody.pairs.batch import (
    GERMLINE,
    GERMLINE_UNKNOWN,
    HEAVY_CDRS,
    LIGHT_CDRS,
    MUTATED,
    REGIONS,
)
from tabstar_lit.families.antibody.pairs.file import REMEDY, Pairs, read_pairs, write_pairs
from tabstar_lit.families.antibody.pairs.tokens import AMINO_ACIDS, BREAK, antibody_text

BACKGROUND = "AGILNPQSTV"
"""Letters of antigens around the motif."""

PARTNERS = {"D": "K", "K": "D", "E": "R", "R": "E", "F": "Y", "Y": "F", "W": "H", "H": "W"}
"""Hot-spot letters, and what answers each."""

MOTIF_LENGTH = 4
LEVELS = ((5.5, "G"), (7.0, "S"), (8.5, "T"), (np.inf, "V"))
FINER_LEVELS = ((4.75, "A"), (6.25, "G"), (7.75, "S"), (9.25, "T"), (np.inf, "V"))
"""Letters of the affinity, each with the pKd below which it is meant: of CDR-H1 and L3, and of CDR-H2 and H3."""

HEAVY_GERMLINES = (
    ("EVQC", "WVRQ", "RFTAYC", "WGQG"),
    ("QVQC", "WIRE", "RVTMYC", "WGKG"),
    ("QLTC", "WVKP", "KATLFC", "WGAG"),
)
LIGHT_GERMLINES = (("DIQC", "WYQ", "GVYC", "FGQ"), ("SYEC", "WHQ", "GIPC", "FGG"))
"""The four frameworks of each germline; the second begins with the conserved tryptophan, the third ends with C."""

HEAVY_LENGTHS, LIGHT_LENGTHS = (4, 4, 4, 3, 6, 7, 4), (4, 2, 3, 2, 4, 4, 3)
"""Letters of each region; CDR-H3 has up to two more."""

_THIRD_LOOP = 5
GENERATED = "generated"
"""What numbered the antibodies of such a task."""

MUTATION_RATE = 0.05
ALONE = 0.5
"""Share of antibodies without a light chain."""

CONSERVED = "CW"


class Domain(NamedTuple):
    """A generated variable domain.

    Attributes
    ----------
    letters : str
        The chain.
    regions, germline : list of int
        Of each letter, as in :class:`~tabstar_lit.families.antibody.pairs.batch.PairBatch`.
    """

    letters: str
    regions: list[int]
    germline: list[int]


@dataclass(frozen=True)
class AntibodyToy:
    """What a generated task is made of.

    Attributes
    ----------
    n_antigens : int
        Antigens, each a cluster of its own.
    antibodies_each : int
        Antibodies of an antigen.
    seed : int
        Of everything that is drawn.
    """

    n_antigens: int = 5000
    antibodies_each: int = 2
    seed: int = 0

    def to_plain(self) -> dict[str, Any]:
        """Return what a file of this task says it is."""
        return {"toy": "antibody", "version": 1, **asdict(self)}


def affinity_letters(pkd: float) -> tuple[str, str]:
    """Return the letters that stand for an affinity: of CDR-H1 and L3, and of CDR-H2 and H3."""
    one, two = (next(letter for end, letter in levels if pkd < end) for levels in (LEVELS, FINER_LEVELS))
    return one, two


def motif_of(antigen: str) -> str:
    """Return the motif of a generated antigen."""
    return "".join(letter for letter in antigen if letter in PARTNERS)


def rule_letters(antigen: str, pkd: float, regions: Int8) -> dict[int, str]:
    """Return what the rule asks for: the letter at each place of an antibody's text.

    Parameters
    ----------
    antigen : str
        A generated antigen.
    pkd : float
        Affinity; where it is NaN the rule asks for the motif alone.
    regions : NDArray of int8
        ``[T]`` region of each letter of the text.
    """
    ends = {number: int(np.flatnonzero(regions == number).max(initial=-1)) for number in (*HEAVY_CDRS, *LIGHT_CDRS)}
    h1, h2, h3, l3 = (ends[number] for number in (*HEAVY_CDRS, LIGHT_CDRS[2]))
    asked = {h3 - 1 - MOTIF_LENGTH + place: PARTNERS[letter] for place, letter in enumerate(motif_of(antigen))}
    if np.isnan(pkd):
        return asked
    one, two = affinity_letters(pkd)
    light = {l3: one} if l3 >= 0 else {}
    return asked | {h1: one, h2: two, h3 - 1: two} | light


def toy_regions(text: str) -> Int8:
    """Return the region of each letter of an antibody of the task; all 0 where its lengths are not those of one."""
    chains = [chain for chain in text.split(BREAK) if chain]
    lengths = (HEAVY_LENGTHS, LIGHT_LENGTHS)[: len(chains)]
    regions: list[int] = []
    for number, (chain, own) in enumerate(zip(chains, lengths, strict=False)):
        rest = len(chain) - sum(own)
        spread = [length + (rest if place == _THIRD_LOOP else 0) for place, length in enumerate(own)]
        if rest < 0 or (number and rest) or len(chains) > len((HEAVY_LENGTHS, LIGHT_LENGTHS)):
            return np.zeros(len(text), np.int8)
        first = 1 + number * len(REGIONS)
        regions += [*([0] if number else []), *np.repeat(np.arange(first, first + len(REGIONS)), spread).tolist()]
    return np.array(regions if len(regions) == len(text) else [0] * len(text), np.int8)


def toy_pairs(toy: AntibodyToy) -> Pairs:
    """Generate a task."""
    rng = np.random.default_rng([toy.seed, toy.n_antigens, toy.antibodies_each])
    antigens = tuple(_antigen(rng) for _ in range(toy.n_antigens))
    if len(set(antigens)) < len(antigens):
        raise DataError(f"{toy.n_antigens} antigens of the generated task are not all different: ask for fewer.")
    antigen = np.repeat(np.arange(toy.n_antigens), toy.antibodies_each)
    pkd = rng.uniform(4, 10, len(antigen)).astype(np.float32)
    drawn = [_antibody(rng, antigens[own], float(level)) for own, level in zip(antigen, pkd, strict=True)]
    return Pairs(
        antigens=antigens,
        antigen_names=tuple(f"toy_{number}" for number in range(toy.n_antigens)),
        clusters=np.arange(toy.n_antigens),
        antigen=antigen,
        antibodies=tuple(own.letters for own in drawn),
        pkd=pkd,
        censored=np.zeros(len(antigen), np.int8),
        regions=Ragged.of((own.regions for own in drawn), np.int8),
        germline=Ragged.of((own.germline for own in drawn), np.int8),
        about={"sources": [toy.to_plain()], "numbering": GENERATED},
    )


def ensure_toy(path: Path, toy: AntibodyToy) -> Path:
    """Return ``path`` once this task lies there; fast when it does already.

    Raises
    ------
    DataError
        It cannot be written, or something else lies there.
    """
    if not has_toy(path, toy):
        write_pairs(path, toy_pairs(toy))
    return path


def has_toy(path: Path, toy: AntibodyToy) -> bool:
    """Tell whether this task lies under ``path``; another of its kind does not count.

    Raises
    ------
    DataError
        Something else lies there, which must not be lost.
    """
    if not path.exists():
        return False
    try:
        about = read_pairs(path).about
    except DataError as error:
        remedy = "Delete it, or move it if it is yours: the generated task is made anew there."
        raise DataError(f"{str(error).removesuffix(REMEDY)}{remedy}") from error
    if not is_toy(about):
        raise DataError(
            f"{path}: holds other pairs than the generated task that belongs there while dataset_config.files is null. "
            f"Move it, or train on it with dataset_config.files={path.name}"
        )
    return bool(about["sources"] == [toy.to_plain()])


def is_toy(about: Any) -> bool:
    """Tell of what a pairs file says about itself whether it is a generated task."""
    sources = about.get("sources", [])
    return len(sources) == 1 and sources[0].get("toy") == "antibody"


def _antigen(rng: np.random.Generator) -> str:
    length = int(rng.integers(20 - MOTIF_LENGTH, 29 - MOTIF_LENGTH))
    background = "".join(rng.choice(list(BACKGROUND), length))
    place = int(rng.integers(0, length + 1))
    return background[:place] + "".join(rng.choice(list(PARTNERS), MOTIF_LENGTH)) + background[place:]


def _antibody(rng: np.random.Generator, antigen: str, pkd: float) -> Domain:
    """Draw an antibody as the rule has it: its text, with a region for each letter of it."""
    one, two = affinity_letters(pkd)
    partners = "".join(PARTNERS[letter] for letter in motif_of(antigen))
    noise = [_letters(rng, count) for count in (3, 2, int(rng.integers(1, 4)), 1, 2, 2, 3)]
    heavy_loops = (noise[0] + one, noise[1] + two, noise[2] + partners + two + noise[3])
    heavy = _domain(rng, HEAVY_GERMLINES, heavy_loops, first=1)
    if rng.random() < ALONE:
        return heavy
    light = _domain(rng, LIGHT_GERMLINES, (noise[4], noise[5], noise[6] + one), first=1 + len(REGIONS))
    return Domain(
        antibody_text(heavy.letters, light.letters),
        [*heavy.regions, 0, *light.regions],
        [*heavy.germline, GERMLINE_UNKNOWN, *light.germline],
    )


def _domain(
    rng: np.random.Generator, germlines: tuple[tuple[str, ...], ...], loops: tuple[str, ...], *, first: int
) -> Domain:
    """Put loops between the frameworks of a germline, some letters of which are mutated."""
    frameworks = germlines[int(rng.integers(len(germlines)))]
    mutated = [_mutated(rng, own) for own in frameworks]
    parts = [part for pair in zip(mutated, (*loops, ""), strict=True) for part in pair][: len(REGIONS)]
    germline = [part for pair in zip(frameworks, (*loops, ""), strict=True) for part in pair][: len(REGIONS)]
    regions = [first + number for number, part in enumerate(parts) for _ in part]
    flags = [
        GERMLINE_UNKNOWN if number % 2 else (GERMLINE if seen == known else MUTATED)
        for number, (part, own) in enumerate(zip(parts, germline, strict=True))
        for seen, known in zip(part, own, strict=True)
    ]
    return Domain("".join(parts), regions, flags)


def _mutated(rng: np.random.Generator, framework: str) -> str:
    """Exchange letters of a framework, but not the conserved ones."""
    change = rng.random(len(framework)) < MUTATION_RATE
    drawn = _letters(rng, len(framework))
    return "".join(
        new if hit and old not in CONSERVED else old for old, new, hit in zip(framework, drawn, change, strict=True)
    )


def _letters(rng: np.random.Generator, count: int) -> str:
    """Draw letters other than cysteine, which bonds, and tryptophan, which marks the second framework."""
    return "".join(rng.choice([letter for letter in AMINO_ACIDS if letter not in CONSERVED], count))
