"""What a family says of a model, for its card."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class CardText(NamedTuple):
    """What a family says of a model.

    Attributes
    ----------
    what : str
        What the model reads and gives, in a sentence or two; may hold links.
    tags : sequence of str
        For hubs.
    details : sequence of str
        Facts of the network, a line each.
    trained_on : sequence of str
        Lines of Markdown on the data.
    use : sequence of str
        Lines of Python that predict with ``model``; none where the command says it all.
    limits : sequence of str
        What it cannot do, and what nobody knows.
    """

    what: str
    tags: Sequence[str] = ()
    details: Sequence[str] = ()
    trained_on: Sequence[str] = ()
    use: Sequence[str] = ()
    limits: Sequence[str] = ()
