"""What the card of a model says of a language model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabstar_lit.engine.reports.card_text import CardText

LIMITS = (
    "It writes what texts like those of its training are likely to go on with, true or not.",
    "It repeats what stands in its texts, their biases and perhaps whole passages.",
    "It has not been taught to follow instructions or to refuse any.",
)


def card_text(config: Mapping[str, Any]) -> CardText:
    """Return what is said of the model whose checkpoint keeps ``config``."""
    return CardText(
        f"A language model ({config['role'].replace('_', ' ')}): it says how likely texts are, and goes on with them.",
        tags=("text-generation",),
        details=(
            f"Tokens: {config['vocabulary']} ({config['tokenizer']['kind']})",
            f"Context: {config['context_length']} tokens",
        ),
        trained_on=(f"Texts of {', '.join(config['domains'])}.",),
        use=('model.predict("texts.jsonl")',),
        limits=LIMITS,
    )
