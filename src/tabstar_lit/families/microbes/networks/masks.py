"""Which bases are hidden from the encoder."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from tabstar_lit.families.microbes.study.batch import A, T
from tabstar_lit.families.microbes.training_config import Masking
from tabstar_lit.nn.masking import choose_spans, choose_tokens

FIXED_SEED = 20_261_126
"""Of the masks in validation, which are the same in all epochs."""


def hide_bases(sequences: Tensor, config: Masking, *, fixed: bool = False) -> Tensor:
    """Choose bases, never START or padding.

    Parameters
    ----------
    sequences : Tensor of int64
        ``[U, L]`` letters.
    config : Masking
        Rate and kind.
    fixed : bool
        Whether the draws are the same whenever this is called, and none is taken from torch's own generator.

    Returns
    -------
    Tensor
        ``[U, L]`` bool.
    """
    generator = Generator(sequences.device).manual_seed(FIXED_SEED) if fixed else None
    bases = (sequences >= A) & (sequences <= T)
    if config.kind == "independent":
        return choose_tokens(bases, config.rate, generator)
    if config.kind == "spans":
        return choose_spans(bases, config.rate, generator)
    single, spans = choose_tokens(bases, config.rate, generator), choose_spans(bases, config.rate, generator)
    odd = torch.arange(len(sequences), device=sequences.device) % 2 == 1
    return torch.where(odd[:, None], spans, single)
