"""Alignment of many sequences to a profile at once: Viterbi with matches, insertions and deletions (Eddy 1998).

One step reads one letter of every sequence, for all positions of the profile. Deletions within a step, which depend on
each other, are a running maximum, since the cost of skipping positions adds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tabstar_lit.arrays import Array, Float32, Int64
from tabstar_lit.families.antibody.numbering.germlines import POSITIONS
from tabstar_lit.families.antibody.numbering.profile import END_COST, IMPOSSIBLE, Profile

FROM_MATCH, FROM_INSERT, FROM_DELETE, FROM_START = range(4)


class Aligned(NamedTuple):
    """Where each of ``N`` sequences of up to ``L`` letters fits a profile best.

    Attributes
    ----------
    scores : NDArray of float32
        ``[N]`` in nats.
    positions : NDArray of int64
        ``[N, L]`` position 1 to 128 of each letter; 0 outside the domain, −p for letters inserted after position p.
    """

    scores: Float32
    positions: Int64


@dataclass
class Trace:
    """How the best path came to each letter and position: arrays ``[L, N, P]``."""

    match: Array
    insert: Array
    origin: Array


def align(letters: Array, profile: Profile) -> Aligned:
    """Align sequences.

    Parameters
    ----------
    letters : NDArray of int
        ``[N, L]`` columns of :attr:`Profile.emission`; ``OUTSIDE`` after the end of a sequence.
    profile : Profile
        What they are aligned to.
    """
    count, length = letters.shape
    trace = Trace(*(np.zeros((length, count, POSITIONS), dtype=np.uint8) for _ in range(3)))
    emission = np.ascontiguousarray(profile.emission.T)
    skipped = np.cumsum(profile.deletion)
    start = -END_COST * np.arange(POSITIONS, dtype=np.float32)
    finish = -END_COST * np.arange(POSITIONS - 1, -1, -1, dtype=np.float32)
    shape = (count, POSITIONS)
    match, insert, delete = (np.full(shape, IMPOSSIBLE, dtype=np.float32) for _ in range(3))
    best, at = np.full(count, IMPOSSIBLE, dtype=np.float32), np.zeros((count, 2), dtype=np.int64)
    everyone = np.arange(count)
    for step in range(length):
        entered, trace.match[step] = _entered(match, insert, delete, start)
        new = entered + emission[letters[:, step]]
        opened, extended = match - profile.opening, insert - profile.extension
        trace.insert[step] = extended > opened
        insert = np.where(letters[:, step, None] == emission.shape[0] - 1, IMPOSSIBLE, np.maximum(opened, extended))
        match = new
        delete, trace.origin[step] = _deleted(match, profile.deletion, skipped)
        ended = match + finish
        place = ended.argmax(1)
        better = ended[everyone, place] > best
        best = np.where(better, ended[everyone, place], best)
        at[better] = np.stack([np.full(count, step), place], axis=1)[better]
    return Aligned(best, _traced(trace, at, length))


def _entered(match: Float32, insert: Float32, delete: Float32, start: Float32) -> tuple[Float32, Array]:
    """Return the best score before each position is matched, and where it comes from."""
    best = np.broadcast_to(start, match.shape).copy()
    source = np.full(match.shape, FROM_START, dtype=np.uint8)
    for code, scores in ((FROM_DELETE, delete), (FROM_INSERT, insert), (FROM_MATCH, match)):
        better = scores[:, :-1] >= best[:, 1:]
        source[:, 1:][better] = code
        np.maximum(best[:, 1:], scores[:, :-1], out=best[:, 1:])
    return best, source


def _deleted(match: Float32, cost: Float32, skipped: Float32) -> tuple[Float32, Array]:
    """Return the best score of having skipped up to each position, and the matched position before the gap."""
    reach = match + skipped
    longest = np.maximum.accumulate(reach, axis=1)
    places = np.arange(POSITIONS)
    origin = np.maximum.accumulate(np.where(reach == longest, places, 0), axis=1)
    delete = np.full_like(match, IMPOSSIBLE)
    delete[:, 1:] = longest[:, :-1] - skipped[1:]
    before = np.zeros_like(origin)
    before[:, 1:] = origin[:, :-1]
    return delete, before.astype(np.uint8)


def _traced(trace: Trace, at: Int64, length: int) -> Int64:
    """Walk back from the end of each path: ``[N, L]`` positions."""
    count = len(at)
    positions = np.zeros((count, length), dtype=np.int64)
    rows = np.arange(count)
    step, place, inserted = at[:, 0].copy(), at[:, 1].copy(), np.zeros(count, dtype=bool)
    going = np.ones(count, dtype=bool)
    while going.any():
        own = rows[going]
        now, here, within = step[own], place[own], inserted[own]
        positions[own, now] = np.where(within, -(here + 1), here + 1)
        choice = trace.match[now, own, here]
        # From a match the path leaves for the position before it; from an insertion it stays where it is.
        previous = np.maximum(here - 1, 0)
        origin = trace.origin[np.maximum(now - 1, 0), own, previous]
        going[own] = within | (choice != FROM_START)
        step[own] = now - 1
        place[own] = np.where(within, here, np.where(choice == FROM_DELETE, origin, previous))
        inserted[own] = np.where(within, trace.insert[now, own, here] == 1, choice == FROM_INSERT)
    return positions
