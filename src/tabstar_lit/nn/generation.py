"""Writing token by token, greedily or by sampling, from any :class:`tabstar_lit.nn.decoders.Decoder`.

Shapes: ``B`` texts, ``T`` tokens of the longest prompt, ``L`` of the longest text that is written, ``V`` tokens in the
vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from tabstar_lit.errors import ConfigError, DataError, NonFiniteError
from tabstar_lit.nn.decoders import Context, Decoder, StateOf, evaluating
from tabstar_lit.nn.masking import padding_mask
from tabstar_lit.nn.sampling import GREEDY, Sampling

Process = Callable[[Tensor, Tensor], Tensor]
"""Changes logits before anything is made of them: tokens so far ``[B, n]`` with the prompt and its padding, and logits
``[B, V]``, to logits. Minus infinity forbids a token."""


class Prompts(NamedTuple):
    """What texts begin with.

    Attributes
    ----------
    tokens : Tensor
        ``[B, T]``, shorter ones padded on the left.
    mask : Tensor or None
        ``[B, T]`` bool, True where there is a token; None: all are of one length.
    """

    tokens: Tensor
    mask: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Where a text ends.

    Parameters
    ----------
    max_new_tokens : int
        Length of the longest text that is written, its end included.
    end : int or None
        The token that ends a text; None: all are of full length.
    pad : int
        The token that follows the end.

    Raises
    ------
    ConfigError
        No token may be written.
    """

    max_new_tokens: int
    end: int | None = None
    pad: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens is {self.max_new_tokens}; let at least 1 token be written.")


class Generated(NamedTuple):
    """Texts without their prompts; a beam search has several for each prompt, ``[B, K]`` for ``[B]``.

    Attributes
    ----------
    tokens : Tensor
        ``[B, L]``, padding after the end.
    log_probabilities : Tensor
        ``[B, L]`` of each token under the network's own distribution: after a :data:`Process`, without temperature and
        cuts. 0 for padding.
    lengths : Tensor
        ``[B]`` tokens, the end included.
    ended : Tensor
        ``[B]`` bool, False where the text was cut at the greatest length.
    scores : Tensor
        ``[B]`` log-probability of the whole text; in a beam search divided by its length as asked for.
    """

    tokens: Tensor
    log_probabilities: Tensor
    lengths: Tensor
    ended: Tensor
    scores: Tensor


def generate(
    decoder: Decoder[Context, StateOf],
    prompts: Prompts,
    stop: Stop,
    sampling: Sampling = GREEDY,
    *,
    context: Context,
    process: Process | None = None,
    rows: Sequence[int] | None = None,
) -> Generated:
    """Continue each prompt by one text.

    Texts do not see each other: beside rounding, each is what it would be alone. The network evaluates meanwhile.

    Parameters
    ----------
    decoder : Decoder
        The network.
    prompts : Prompts
        What the texts begin with.
    stop : Stop
        Where they end.
    sampling : Sampling
        How tokens are chosen.
    context : Context
        What the decoder starts from, a row for each prompt; None for one that reads tokens only.
    process : callable or None
        Changes the logits, see :data:`Process`.
    rows : sequence of int or None
        The number of each text among all that are sampled with one seed, such as its row in a table that is read in
        batches; None: 0, 1, ...

    Returns
    -------
    Generated
        A text for each prompt.

    Raises
    ------
    NonFiniteError
        The logits of a text are not numbers, or all tokens were forbidden.
    ValueError
        There are not as many ``rows`` as prompts.
    """
    batch, length = prompts.tokens.shape
    if rows is not None and len(rows) != batch:
        raise ValueError(f"there are {batch} prompts and the numbers of {len(rows)} rows; give one for each.")
    draws = sampling.draws(range(batch) if rows is None else rows, stop.max_new_tokens).to(prompts.tokens.device)
    written, log_probabilities = room_for(prompts, stop), []
    lengths = torch.zeros_like(prompts.tokens[:, 0])
    ended = torch.zeros_like(lengths, dtype=torch.bool)
    with torch.inference_mode(), evaluating(decoder):
        logits, state = decoder.step(prompts.tokens, decoder.start(context), prompts.mask)
        for place in range(stop.max_new_tokens):
            if place:
                logits, state = decoder.step(written[:, length + place - 1, None], state)
            logits = processed(process, written[:, : length + place], logits)
            chosen = sampling.choose(logits, draws[:, place])
            likelihood = logits.log_softmax(-1).gather(1, chosen[:, None]).squeeze(1)
            log_probabilities.append(torch.where(ended, 0.0, likelihood))
            written[:, length + place] = torch.where(ended, stop.pad, chosen)
            lengths += ~ended
            if stop.end is not None:
                ended |= chosen == stop.end
            if ended.all():
                break
    likelihoods = torch.stack(log_probabilities, dim=1)
    refuse_non_finite(likelihoods.sum(1))
    texts = written[:, length : length + likelihoods.shape[1]]
    return Generated(texts, likelihoods, lengths, ended, likelihoods.sum(1))


def pad_left(prompts: Sequence[Sequence[int]], pad: int = 0, device: torch.device | None = None) -> Prompts:
    """Put prompts of different lengths into one tensor.

    Raises
    ------
    DataError
        One is empty: there is nothing to predict its first token from.
    """
    lengths = [len(prompt) for prompt in prompts]
    if not all(lengths):
        raise DataError(f"prompt {lengths.index(0)} is empty; begin every prompt with the token that starts a text.")
    longest = max(lengths)
    tokens = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    if min(lengths) == longest:
        return Prompts(tokens)
    return Prompts(tokens, padding_mask(torch.tensor(lengths, device=device), longest, left=True))


def room_for(prompts: Prompts, stop: Stop) -> Tensor:
    """Return ``[B, T + max_new_tokens]``: the prompts, then padding to write into."""
    batch, length = prompts.tokens.shape
    room = prompts.tokens.new_full((batch, length + stop.max_new_tokens), stop.pad)
    room[:, :length] = prompts.tokens
    return room


def processed(process: Process | None, tokens: Tensor, logits: Tensor) -> Tensor:
    """Return the logits as float32, changed by ``process`` if there is one."""
    return logits.float() if process is None else process(tokens, logits.float())


def refuse_non_finite(scores: Tensor) -> None:
    """Refuse texts ``[B]`` whose log-probability is not a finite number.

    Raises
    ------
    NonFiniteError
        Naming the first.
    """
    bad = (~scores.isfinite()).nonzero().flatten().tolist()
    if bad:
        raise NonFiniteError(
            f"text {bad[0]} of this batch has log-probability {float(scores[bad[0]])}: either the network gave logits "
            "that are no numbers, or every token was forbidden at some place. Look for NaN in its weights and inputs, "
            "and at what forbids tokens."
        )
