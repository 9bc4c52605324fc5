"""Beam search: keep the ``K`` likeliest beginnings of each text until none of them can end better than what has ended.

Shapes: ``B`` prompts, ``K`` beams, ``C`` candidates, ``L`` tokens of the longest text, ``V`` tokens in the vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tabstar_lit.errors import ConfigError
from tabstar_lit.nn.decoders import Context, Decoder, StateOf, evaluating
from tabstar_lit.nn.generation import Generated, Process, Prompts, Stop, processed, refuse_non_finite

NEVER = float("-inf")
"""The score of what is not there."""


@dataclass(frozen=True, slots=True)
class Beams:
    """How many beginnings are kept, and how texts of different lengths compare.

    Parameters
    ----------
    beams : int
        Number of beams ``K``.
    length_penalty : float
        Texts are compared by their log-probability over ``length ** length_penalty``, the end counted: 0 compares
        log-probabilities, and the greater it is, the longer the texts.

    Raises
    ------
    ConfigError
        There is no beam.
    """

    beams: int = 4
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        if self.beams < 1:
            raise ConfigError(f"beams is {self.beams}; keep at least 1.")

    def score(self, log_probability: Tensor, length: Tensor | int) -> Tensor:
        """Return what texts of this length are compared by."""
        return log_probability / length**self.length_penalty

    def best_possible(self, log_probability: Tensor, length: int, stop: Stop) -> Tensor:
        """Return what no continuation can surpass, as a log-probability only falls."""
        return self.score(log_probability, stop.max_new_tokens if self.length_penalty > 0 else length)


def beam_search(
    decoder: Decoder[Context, StateOf],
    prompts: Prompts,
    stop: Stop,
    beams: Beams,
    *,
    context: Context,
    process: Process | None = None,
) -> Generated:
    """Look for the ``K`` likeliest texts after each prompt.

    A text ends where its end is among the ``K`` likeliest next steps, or at the greatest length. The search stops when
    no beginning can become better than the ``K`` texts found, so that texts beside it do not matter.

    Parameters
    ----------
    decoder, prompts, stop, context, process
        As of :func:`tabstar_lit.nn.generation.generate`.
    beams : Beams
        How wide, and how lengths compare.

    Returns
    -------
    Generated
        ``K`` texts for each prompt, the best first; one that there is not has length 0 and score minus infinity.

    Raises
    ------
    NonFiniteError
        The logits are not numbers, or all tokens were forbidden.
    """
    rows = torch.arange(len(prompts.tokens), device=prompts.tokens.device).repeat_interleave(beams.beams)
    begun = prompts.tokens[rows]
    running, finished = _beginnings(prompts.tokens, stop, beams), _nothing(prompts.tokens, stop, beams)
    with torch.inference_mode(), evaluating(decoder):
        logits, state = decoder.step(prompts.tokens, decoder.start(context), prompts.mask)
        logits, state = logits[rows], state.select(rows)
        for place in range(stop.max_new_tokens):
            if place:
                logits, state = decoder.step(running.tokens[:, :, place - 1].reshape(-1, 1), state.select(rows))
            so_far = torch.cat([begun, running.tokens[:, :, :place].flatten(0, 1)], dim=1)
            likelihoods = processed(process, so_far, logits).log_softmax(-1)
            steps, parents = _steps(running, likelihoods.view(len(prompts.tokens), beams.beams, -1), place)
            ends = torch.zeros_like(steps.ended) if stop.end is None else steps.tokens[:, :, place] == stop.end
            finished = _likelier(finished, _ended(steps, ends, beams))
            running, kept = _going_on(steps, ends, beams)
            if (finished.scores[:, -1] >= beams.best_possible(running.scores[:, 0], place + 1, stop)).all():
                break
            first_beam = torch.arange(0, len(rows), beams.beams, device=rows.device)
            rows = (first_beam[:, None] + parents.gather(1, kept)).flatten()
        else:  # what has not ended is cut
            cut = running._replace(scores=beams.score(running.scores, stop.max_new_tokens))
            finished = _likelier(finished, cut)
    refuse_non_finite(finished.scores[:, 0])
    return _trimmed(finished, stop)


def _nothing(prompts: Tensor, stop: Stop, beams: Beams) -> Generated:
    """Return ``[B, K]`` texts that are not there."""
    shape = (len(prompts), beams.beams)
    return Generated(
        prompts.new_full((*shape, stop.max_new_tokens), stop.pad),
        prompts.new_zeros((*shape, stop.max_new_tokens), dtype=torch.float32),
        prompts.new_zeros(shape),
        prompts.new_zeros(shape, dtype=torch.bool),
        prompts.new_full(shape, NEVER, dtype=torch.float32),
    )


def _beginnings(prompts: Tensor, stop: Stop, beams: Beams) -> Generated:
    """Return empty texts, of which only the first of each prompt counts: they would all go on alike."""
    empty = _nothing(prompts, stop, beams)
    empty.scores[:, 0] = 0.0
    return empty


def _steps(running: Generated, likelihoods: Tensor, place: int) -> tuple[Generated, Tensor]:
    """Return the likeliest next steps ``[B, C]`` and the beams they come from, ``[B, C]``.

    Each beam can end once, so that of twice as many steps as there are beams, one for each beam does not end.
    """
    beams, vocabulary = likelihoods.shape[1:]
    totals = (running.scores[:, :, None] + likelihoods).flatten(1)
    scores, index = totals.topk(min(2 * beams, totals.shape[1]))
    parents = index // vocabulary
    steps = _taken(running, parents)
    steps.tokens[:, :, place] = index % vocabulary
    steps.log_probabilities[:, :, place] = likelihoods.flatten(1).gather(1, index)
    return steps._replace(scores=scores, lengths=steps.lengths + 1), parents


def _ended(steps: Generated, ends: Tensor, beams: Beams) -> Generated:
    """Return the steps with the scores of texts, of those that end and are among the ``K`` likeliest."""
    among = torch.arange(ends.shape[1], device=ends.device) < beams.beams
    scores = beams.score(steps.scores, steps.lengths)
    return steps._replace(scores=torch.where(ends & among, scores, NEVER), ended=ends)


def _going_on(steps: Generated, ends: Tensor, beams: Beams) -> tuple[Generated, Tensor]:
    """Return the ``K`` likeliest steps that do not end, and which they are, ``[B, K]``."""
    scores, kept = steps.scores.masked_fill(ends, NEVER).topk(beams.beams)
    return _taken(steps, kept)._replace(scores=scores), kept


def _likelier(texts: Generated, others: Generated) -> Generated:
    """Return the best of both, as many as there are in ``texts``, in falling order."""
    both = Generated(*(torch.cat(parts, dim=1) for parts in zip(texts, others, strict=True)))
    return _taken(both, both.scores.topk(texts.scores.shape[1]).indices)


def _taken(texts: Generated, index: Tensor) -> Generated:
    """Return the texts ``[B, C]`` that stand at ``index`` ``[B, C]`` among those of their row."""
    rows = torch.arange(len(index), device=index.device)[:, None]
    return Generated(*(part[rows, index] for part in texts))


def _trimmed(texts: Generated, stop: Stop) -> Generated:
    """Empty the texts that are not there and cut the padding that all share."""
    there = texts.scores > NEVER
    lengths = torch.where(there, texts.lengths, 0)
    longest = int(lengths.max())
    return Generated(
        torch.where(there[..., None], texts.tokens, stop.pad)[..., :longest],
        torch.where(there[..., None], texts.log_probabilities, 0.0)[..., :longest],
        lengths,
        there & texts.ended,
        texts.scores.clone(),
    )
