"""What flows between the pairs and the networks, and how regions of antibodies are numbered."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

REGIONS = ("fr1", "cdr1", "fr2", "cdr2", "fr3", "cdr3", "fr4")
"""Regions of a variable domain, in order (IMGT)."""

REGION_NAMES = ("none", *(f"h_{name}" for name in REGIONS), *(f"l_{name}" for name in REGIONS))
"""What each number in :attr:`PairBatch.regions` means; ``none`` are special tokens and what is not numbered."""

HEAVY_CDRS = tuple(REGION_NAMES.index(f"h_cdr{number}") for number in (1, 2, 3))
LIGHT_CDRS = tuple(REGION_NAMES.index(f"l_cdr{number}") for number in (1, 2, 3))
CDRS = HEAVY_CDRS + LIGHT_CDRS
"""Numbers of the complementarity-determining regions."""

GERMLINE_UNKNOWN, GERMLINE, MUTATED = -1, 0, 1
"""What :attr:`PairBatch.germline` says of a token."""


class PairBatch(NamedTuple):
    """A batch of ``B`` pairs of an antigen and an antibody.

    Attributes
    ----------
    antigens : Tensor
        ``[B, A]`` int64: START, the antigen, END, then PAD. Several chains have a SEPARATOR between them.
    antibodies : Tensor
        ``[B, T]`` int64: START, heavy chain, SEPARATOR and light chain where there is one, END, then PAD.
    pkd : Tensor
        ``[B]`` float32 −log10 of the dissociation constant in mol/l, as measured; NaN where it is not known.
    regions : Tensor
        ``[B, T]`` int8 region of each token of the antibody: a place in :data:`REGION_NAMES`.
    germline : Tensor
        ``[B, T]`` int8: 1 where the residue differs from the nearest germline gene, 0 where it does not, −1 unknown.
    rows : Tensor
        ``[B]`` int64 rows of the file.
    n_targets : int
        Tokens that are to be predicted: all of the antibodies but START and PAD. Counted where the batch is made, so
        that no step waits for it.
    """

    antigens: Tensor
    antibodies: Tensor
    pkd: Tensor
    regions: Tensor
    germline: Tensor
    rows: Tensor
    n_targets: int
