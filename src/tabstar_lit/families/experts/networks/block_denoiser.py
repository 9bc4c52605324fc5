"""The continuous diffusion expert with attention within blocks: a state with noise on it sees all of its block.

What is said at a token must not follow from later ones. So a text is read in as many copies as a block has places: in
copy ``k`` the first ``k + 1`` places of each block see each other, and the whole blocks before. What is said at place
``k`` of a block is that of copy ``k``; the last copy, of whole blocks, is what all of them see of the blocks before.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from tabstar_lit.families.experts.architecture import ExpertsArchitecture
from tabstar_lit.families.experts.networks.denoiser import DiffuserExpert, Sight
from tabstar_lit.families.experts.networks.expert import places
from tabstar_lit.families.experts.networks.prefixes import SeenCache
from tabstar_lit.nn.decoders import State
from tabstar_lit.nn.masking import document_mask


class BlockDiffuser(DiffuserExpert):
    """A denoiser whose places see all of their block, and the blocks before.

    Parameters
    ----------
    config : ExpertsArchitecture
        Resolved: as of :class:`DiffuserExpert`, and ``diffuser.block``.
    """

    def __init__(self, config: ExpertsArchitecture) -> None:
        super().__init__(config)
        self.block = config.diffuser.block

    def sight(self, states: Tensor, documents: Tensor | None = None, generator: Generator | None = None) -> Sight:
        """Return what places see when noise is learned; see :meth:`DiffuserExpert.sight`.

        Of each block a number of places is drawn that see each other; one after them sees those up to itself. So blocks
        are learned as they are read: whole ones, and those whose rest is still to come.
        """
        positions = places(states, documents).expand(states.shape[:2])
        draws = torch.randint(self.block, positions.shape, device=states.device, generator=generator)
        first = torch.arange(states.shape[1], device=states.device) - positions % self.block
        return self.seen_up_to(positions, documents, draws.gather(1, first))

    def seen_up_to(self, positions: Tensor, documents: Tensor | None, shown: Tensor) -> Sight:
        """Return a sight in which the first ``shown`` + 1 places of a block see each other, the others what is before.

        Parameters
        ----------
        positions, documents, shown : Tensor
            ``[B, T]`` each; ``documents`` may be None.
        """
        same, before = self._blocks(positions, documents)
        offset = positions % self.block
        among = offset[:, None] <= torch.maximum(shown, offset)[:, :, None]
        return Sight(positions, before | same & among, causal=False)

    def forward(self, states: Tensor, documents: Tensor | None = None, cache: SeenCache | None = None) -> Tensor:
        """Noise states ``[B, T, D]`` of the transformer and denoise them; see :meth:`Expert.forward`.

        A cache remembers the states, and the whole text is denoised again: a place that follows changes its block.
        """
        if cache is None:
            return self._in_copies(states, documents)
        seen = cache.extend(states, documents)
        if states.shape[1] > 1:
            return self._in_copies(seen.vectors, seen.documents)[:, -states.shape[1] :]
        sight = self.seen_up_to(seen.positions, seen.documents, torch.full_like(seen.positions, self.block - 1))
        noise = self._noise_at(seen.vectors, seen.documents, None)
        return self.denoised(seen.vectors, noise, [(sight, None)] * len(self.steps))[:, -1:]

    def start(self) -> State:
        """Return a cache of a text of which nothing is read."""
        return SeenCache()

    def _in_copies(self, states: Tensor, documents: Tensor | None) -> Tensor:
        """Return what is said at each place, by the copy that shows its block up to there."""
        rows, length, width = states.shape
        positions = places(states, documents).expand(rows, length)
        sight = Sight(positions.repeat(1, self.block), self._mask_of_copies(positions, documents), causal=False)
        noise = self._noise_at(states, documents, None).expand_as(states)
        states, noise = (part.repeat(1, self.block, 1) for part in (states, noise))
        said = self.denoised(states, noise, [(sight, None)] * len(self.steps)).view(rows, self.block, length, width)
        copy = (positions % self.block)[:, None, :, None].expand(-1, 1, -1, width)
        return said.gather(1, copy)[:, 0]

    def _mask_of_copies(self, positions: Tensor, documents: Tensor | None) -> Tensor:
        """Return which places of the copies see which: ``[B, block T, block T]``."""
        same, before = self._blocks(positions, documents)
        rows, length = positions.shape
        mask = same.new_zeros(rows, self.block, length, self.block, length)
        mask[:, :, :, -1] = before[:, None]
        for copy in range(self.block):
            mask[:, copy, :, copy] |= same & (positions % self.block <= copy)[:, None]
        return mask.flatten(3, 4).flatten(1, 2)

    def _blocks(self, positions: Tensor, documents: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return which places are of one block, and which are of a block before: ``[B, T, T]`` each."""
        number = positions // self.block
        same, before = number[:, :, None] == number[:, None], number[:, None] < number[:, :, None]
        if documents is None:
            return same, before
        own = document_mask(documents)
        return same & own, before & own
