"""What the card of a model says of a generator of antibodies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabstar_lit.engine.reports.card_text import CardText

LIMITS = (
    "Nothing that it writes is known to bind, to fold or to be safe: that is for the laboratory to say.",
    "An affinity that is asked for is a wish; how far it is heeded stands in the report as the effect of pKd.",
    "Antigens unlike those of the training are guesses, and so are affinities beyond their range.",
)


def card_text(config: Mapping[str, Any]) -> CardText:
    """Return what is said of the model whose checkpoint keeps ``config``."""
    own, pkd = config["architecture_config"], config["pkd"]
    return CardText(
        "A generator of antibodies: it reads the sequence of an antigen and the affinity that is asked for, and writes "
        "heavy and light chains; it also says how likely given antibodies are.",
        tags=("biology", "protein-design"),
        details=(f"Network: {own['model']}, {own['size']}, conditioned by {own['conditioning']}",),
        trained_on=(
            f"{config['training']['total']} pairs, pKd {pkd['mean']:.2f} ± {pkd['std']:.2f}; antigens of up to "
            f"{config['max_antigen']} and antibodies of up to {config['max_antibody']} residues.",
        ),
        use=('model.predict("pairs.csv")',),
        limits=LIMITS,
    )
