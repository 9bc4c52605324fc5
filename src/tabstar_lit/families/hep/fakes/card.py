"""What the card of a model says of a fake factor."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabstar_lit.engine.reports.card_text import CardText

LIMITS = (
    "It is as good as the assumption that loose and tight objects of the sidebands behave as those it is applied to; "
    "`tabstar_lit fakes closure` tests it on held-out events.",
    "Where the training had few events, and beyond their range, the ratio is a guess: the spread of the heads says how "
    "far they are apart, not how far all are off.",
)


def card_text(config: Mapping[str, Any]) -> CardText:
    """Return what is said of the model whose checkpoint keeps ``config``."""
    inputs, role = config["preprocessing"]["inputs"]["events"], config["role"]
    made = "the fake factor, tight over loose" if role == "ratio" else f"the ratio of data and simulation, {role}"
    return CardText(
        f"An ensemble of density-ratio networks that learned {made}, for each event.",
        tags=("physics", "density-ratio"),
        details=(f"Features: {', '.join(inputs['numerical'] + inputs['categorical'])}", f"Loss: {config['loss']}"),
        trained_on=(f"Events of {config['dataset_config']['name']}.",),
        use=('model.predict("events.h5")',) if role == "ratio" else (),
        limits=LIMITS,
    )
