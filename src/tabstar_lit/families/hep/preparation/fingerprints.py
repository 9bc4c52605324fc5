"""What tells the events of a training from others: what the file holds, and by which settings it is used.

Nothing that is computed takes part. Scales of features, and the ratios of earlier models, are sums of many numbers, and
differ in their last digits from one processor to the next: the same data would seem to be another elsewhere.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.preparation.agreement import json_text
from tabstar_lit.families.hep.preparation.preprocess import Preprocessor
from tabstar_lit.families.hep.preparation.selection import Selection

LEARNED_BY = (
    "missing",
    "feature_scaling",
    "max_objects",
    "order_by",
    "use_mc_weights",
    "use_class_weights",
    "norm_class_weights",
    "negative_weights",
)
"""Settings that decide what is learned of the training events."""


def fingerprint_of(file: EventFile, config: EventsDataset, selection: Selection, preprocessor: Preprocessor) -> str:
    """Return the hash of events and of what of them is used, the same on every processor."""
    recipes = [preprocessor.events, *(recipe.features for recipe in preprocessor.objects.values())]
    has_bins = any(number.edges for recipe in recipes for number in recipe.numbers)
    prepared = {
        "settings": config.model_dump(mode="json", include=set(LEARNED_BY)),
        "bins": config.ple_bins if has_bins else None,
        "momenta": {name: recipe.momentum for name, recipe in preprocessor.objects.items()},
    }
    return digest([*_used(file, config, selection), prepared])


def earlier_fingerprint_of(
    file: EventFile, config: EventsDataset, selection: Selection, preprocessor: Preprocessor
) -> str:
    """Return the hash that runs of earlier releases recorded: all that was learned took part in it."""
    text = json_text([*_used(file, config, selection), preprocessor.to_payload()])
    return hashlib.sha256(text.encode()).hexdigest()


def digest(plain: Sequence[Any]) -> str:
    """Return the hash of plain values; the order of settings does not matter."""
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def _used(file: EventFile, config: EventsDataset, selection: Selection) -> list[str]:
    """Return what a file holds, and which of its events, columns and weights are used."""
    used = [file.fingerprint, repr(selection), config.split.model_dump_json(), repr(config.folds)]
    return [*used, file.weight] if file.weight else used
