"""What the card of a model says of an encoder or predictor of microbiomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabstar_lit.engine.reports.card_text import CardText

LIMITS = (
    "It reads amplicon sequences like those of its study: another primer, region or length of reads is new to it.",
    "Samples of one subject, site or sequencing run are alike. A score is of other subjects only where the split kept "
    "their samples together.",
    "It says what goes together in its study, not what causes what; it is no diagnosis.",
)


def card_text(config: Mapping[str, Any]) -> CardText:
    """Return what is said of the model whose checkpoint keeps ``config``."""
    facts, study, role = config["facts"], config["study"], config["role"]
    given = f"a vector for each sample, whose distances are those of {config['architecture_config']['encoder_type']}"
    if role == "predictor":
        given = f"{', '.join(facts['targets'])} of each sample ({facts['kind']})"
    counts = ", ".join(f"{len(names)} for {side}" for side, names in study["samples"].items() if names)
    return CardText(
        f"A {role} of microbiomes: it reads counts and bases of the sequences in a sample, and gives {given}.",
        tags=("biology", "microbiome"),
        details=(f"Classes: {', '.join(facts['classes'])}",) if facts["classes"] else (),
        trained_on=(f"Samples of {study['name']}: {counts}.",),
        limits=LIMITS,
    )
