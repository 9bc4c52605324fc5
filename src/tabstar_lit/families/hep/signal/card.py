"""What the card of a model says of a classifier of events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabstar_lit.engine.reports.card_text import CardText

LIMITS = (
    "Probabilities are those of the weights that it was trained with: class weights and resampling move them. "
    "`tabstar_lit calibrate` fits them to other shares of the classes.",
    "It knows simulated or selected events like those of the training. Nothing is known of other selections, detectors "
    "or energies; data may differ from simulation.",
    "A score may depend on variables that it should not depend on; look at the figures named sculpting.",
)


def card_text(config: Mapping[str, Any]) -> CardText:
    """Return what is said of the model whose checkpoint keeps ``config``."""
    inputs, data = config["preprocessing"]["inputs"], config["dataset_config"]
    kinds = {"events": inputs["events"], **inputs["objects"]}
    features = [
        f"Features of {kind}: {', '.join(own['numerical'] + own['categorical'])}" for kind, own in kinds.items()
    ]
    signal = inputs["signal"]
    others = [name for name in inputs["classes"] if name not in signal]
    split = f", split by {data['split']['by']}" if data.get("split") else ""
    return CardText(
        f"{config['architecture_config']['model']}, a network that tells {', '.join(signal)} from {', '.join(others)} "
        "in collision events, and gives the probability of each class.",
        tags=("physics", "classification"),
        details=features,
        trained_on=(f"The events `{data['name']}`{split}.",),
        use=('model.predict("events.h5")',),
        limits=LIMITS,
    )
