"""How antibodies are written: token by token, by sampling or a beam search, guided, and within what is allowed.

Shapes: ``B`` antibodies, ``K`` beams of each, ``T`` tokens, ``V`` the vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from tabstar_lit.errors import ConfigError
from tabstar_lit.families.antibody.hiding import without_antigens
from tabstar_lit.families.antibody.networks.source import Asked, Writer
from tabstar_lit.families.antibody.pairs.tokens import END, PAD, SEPARATOR, START, UNKNOWN
from tabstar_lit.nn.beam_search import Beams, beam_search
from tabstar_lit.nn.decoders import Guided
from tabstar_lit.nn.generation import Generated, Process, Prompts, Stop, generate
from tabstar_lit.nn.sampling import Sampling

Chains = Literal["any", "single", "paired"]
NEVER_WRITTEN = (PAD, START, UNKNOWN)
"""Tokens that no antibody is made of."""


@dataclass(frozen=True, slots=True)
class Decoding:
    """How antibodies are written.

    Parameters
    ----------
    sampling : Sampling
        Temperature, cuts and seed.
    beams : Beams or None
        Search for the likeliest antibodies instead.
    guidance : float or None
        Go beyond what the conditions change: 1 is as without, 0 without the conditions; None writes once, not twice.
    chains : str
        ``single``: a heavy chain alone; ``paired``: heavy and light; ``any``: as the network likes.
    max_tokens : int
        Longest antibody, START and END counted.
    """

    sampling: Sampling = Sampling()  # noqa: RUF009  # frozen
    beams: Beams | None = None
    guidance: float | None = None
    chains: Chains = "any"
    max_tokens: int = 300

    def __post_init__(self) -> None:
        if self.guidance is not None and not self.guidance >= 0:
            raise ConfigError(f"guidance is {self.guidance}; give 0 or more, or leave it out.")


@dataclass(frozen=True, slots=True)
class Guidance:
    """Which conditions guidance may leave out: those that were left out in training.

    Attributes
    ----------
    pkd, antigen : bool
        Whether.
    """

    pkd: bool
    antigen: bool

    def untold(self, asked: Asked) -> Asked:
        """Return the question without them.

        Raises
        ------
        ConfigError
            There are none.
        """
        if not (self.pkd or self.antigen):
            raise ConfigError(
                "this network was never trained without its conditions, so it cannot be guided by them. Leave out "
                "--guidance, or train with training_config.condition_dropout or antigen_dropout above 0."
            )
        antigens, pkd = asked.antigens, asked.pkd
        if self.antigen:
            antigens = without_antigens(antigens, torch.ones_like(pkd, dtype=torch.bool))
        return asked._replace(antigens=antigens, pkd=torch.full_like(pkd, torch.nan) if self.pkd else pkd)


def write(network: Writer, asked: Asked, decoding: Decoding, guidance: Guidance, rows: Sequence[int]) -> Generated:
    """Write an antibody for each row of ``asked``, or ``K`` in a beam search.

    Parameters
    ----------
    network : Writer
        The network.
    asked : Asked
        What is asked for.
    decoding : Decoding
        How to write.
    guidance : Guidance
        What guidance leaves out.
    rows : sequence of int
        The number of each antibody among all of the seed: its draws depend on it, and not on those beside it.

    Returns
    -------
    Generated
        Tokens after START; ``[B, K]`` in a beam search.

    Raises
    ------
    ConfigError
        There is guidance, and nothing to be guided by.
    """
    prompts = Prompts(torch.full_like(asked.antigens[:, :1], START))
    stop = Stop(decoding.max_tokens - 1, END, PAD)
    process = allowed(decoding.chains, asked.templates)
    decoder: Any = network
    context: Any = asked
    if decoding.guidance is not None:
        decoder, context = Guided(network, decoding.guidance), (asked, guidance.untold(asked))
    if decoding.beams is not None:
        return beam_search(decoder, prompts, stop, decoding.beams, context=context, process=process)
    return generate(decoder, prompts, stop, decoding.sampling, context=context, process=process, rows=rows)


def allowed(chains: Chains, templates: Tensor | None = None) -> Process:
    """Return what forbids tokens: those never written, a third chain, chains not wanted, and what a template says.

    Parameters
    ----------
    chains : str
        As of :class:`Decoding`.
    templates : Tensor or None
        ``[B, T]``: each token but UNKNOWN must come as it is, and where UNKNOWN stands a letter must.
    """

    def process(tokens: Tensor, logits: Tensor) -> Tensor:
        numbers = torch.arange(logits.shape[1], device=logits.device)
        forbidden = torch.isin(numbers, numbers.new_tensor(NEVER_WRITTEN)).expand_as(logits)
        separated = (tokens == SEPARATOR).any(1, keepdim=True)
        forbidden = forbidden | ((numbers == SEPARATOR) & (separated | (chains == "single")))
        if chains == "paired":
            forbidden = forbidden | ((numbers == END) & ~separated)
        if templates is not None:
            forbidden = forbidden | ~_fitting(templates, tokens, numbers)
        return logits.masked_fill(forbidden, float("-inf"))

    return process


def _fitting(templates: Tensor, tokens: Tensor, numbers: Tensor) -> Tensor:
    """Return which tokens ``[B, V]`` a template allows after ``tokens``; those of ended texts and rows of PAD all."""
    place, beams = tokens.shape[1], len(tokens) // len(templates)
    if place >= templates.shape[1]:
        return torch.ones(len(tokens), len(numbers), dtype=torch.bool, device=tokens.device)
    wanted = templates[:, place].repeat_interleave(beams)[:, None]
    letters = numbers > SEPARATOR
    return torch.where(wanted == UNKNOWN, letters, numbers == wanted) | (wanted == PAD)
