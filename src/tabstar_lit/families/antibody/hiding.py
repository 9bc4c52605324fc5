"""What is kept from a network while it is trained, so that it reads its conditions and can do without them."""

from __future__ import annotations

import torch
from torch import Tensor

from tabstar_lit.families.antibody.architecture import AntibodyTraining
from tabstar_lit.families.antibody.networks.source import Asked
from tabstar_lit.families.antibody.pairs.batch import CDRS, PairBatch
from tabstar_lit.families.antibody.pairs.tokens import END, FIRST_LETTER, PAD, START, UNKNOWN


def told(batch: PairBatch, training: AntibodyTraining) -> tuple[Asked, Tensor]:
    """Return what a network is told of each pair, and the antibodies ``[B, T]`` whose tokens count in the loss.

    Of a pair that is shown its framework, only what was hidden counts; the rest is PAD.
    """
    antigens, pkd, targets = batch.antigens, batch.pkd, batch.antibodies
    if training.condition_dropout:
        pkd = torch.where(_chosen(pkd, training.condition_dropout), torch.nan, pkd)
    if training.antigen_dropout:
        antigens = without_antigens(antigens, _chosen(pkd, training.antigen_dropout))
    if not training.infilling:
        return Asked(antigens, pkd), targets
    templates, hidden = _templates(batch, _chosen(pkd, training.infilling))
    shown = (templates != PAD).any(1, keepdim=True)
    return Asked(antigens, pkd, templates), torch.where(shown & ~hidden, PAD, targets)


def without_antigens(antigens: Tensor, left_out: Tensor) -> Tensor:
    """Return ``[B, A]`` where the rows that are ``left_out`` ``[B]`` are START, END and nothing else."""
    nothing = torch.full_like(antigens, PAD)
    nothing[:, 0], nothing[:, 1] = START, END
    return torch.where(left_out[:, None], nothing, antigens)


def hidden_framework(batch: PairBatch, share: float) -> Tensor:
    """Return the antibodies ``[B, T]`` with a share of their framework residues UNKNOWN."""
    tokens = batch.antibodies
    if not share:
        return tokens
    framework = (batch.regions > 0) & ~in_cdrs(batch.regions)
    return torch.where(framework & (_uniform(tokens) < share), UNKNOWN, tokens)


def in_cdrs(regions: Tensor, chosen: tuple[int, ...] = CDRS) -> Tensor:
    """Return where regions ``[B, T]`` are among the chosen ones, bool."""
    return torch.isin(regions, torch.tensor(chosen, dtype=regions.dtype, device=regions.device))


def _templates(batch: PairBatch, chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Return antibodies with about half of their CDRs UNKNOWN, PAD for rows that are not chosen; and what is hidden.

    The third CDR of the first chain is always hidden: it is what is asked for most.
    """
    drawn = torch.rand(len(batch.regions), 16, device=batch.regions.device) < 0.5
    drawn[:, CDRS[2]] = True
    hidden = drawn.gather(1, batch.regions.long()) & in_cdrs(batch.regions) & (batch.antibodies >= FIRST_LETTER)
    shown = chosen[:, None] & hidden.any(1, keepdim=True)
    templates = torch.where(hidden, UNKNOWN, batch.antibodies)
    return torch.where(shown, templates, PAD), hidden & shown


def _chosen(rows: Tensor, share: float) -> Tensor:
    """Draw a share of ``B`` rows: ``[B]`` bool."""
    return torch.rand(len(rows), device=rows.device) < share


def _uniform(like: Tensor) -> Tensor:
    return torch.rand(like.shape, device=like.device)
