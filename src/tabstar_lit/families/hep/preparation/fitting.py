"""Learning a preprocessor: whatever is measured is measured on the training events alone."""

from __future__ import annotations

import numpy as np

from tabstar_lit.arrays import Bool, Float64
from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.config import EventsDataset
from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.preparation.preprocess import ObjectRecipe, Preprocessor
from tabstar_lit.families.hep.preparation.recipes import (
    SPECTATOR_REMEDY,
    BlockRecipe,
    Place,
    as_numbers,
    fit_category,
    fit_number,
    refuse_codes,
    refuse_missing,
    refuse_missing_codes,
)
from tabstar_lit.families.hep.preparation.selection import Selection, momentum


def fit_preprocessor(
    config: EventsDataset,
    file: EventFile,
    selection: Selection,
    training: Bool,
    *,
    weights: Float64 | None,
    class_weights: tuple[float, ...],
    momenta: bool | tuple[str, ...],
    bins: int | None,
) -> Preprocessor:
    """Measure scalers, categories, means and bin edges.

    Columns are read one at a time, so that memory holds one of them.

    Parameters
    ----------
    config : EventsDataset
        Scaling and treatment of missing values.
    file : EventFile
        The events.
    selection : Selection
        What of them is used.
    training : ndarray of bool [N]
        True for training events.
    weights : ndarray of float64 [N], optional
        Usable weights of all events, for scalers that take weights.
    class_weights : tuple of float
        Kept for the loss.
    momenta : bool or tuple of str
        Look up the columns of momenta: of all types of objects, or of these.
    bins : int, optional
        Measure the edges of this many bins between quantiles.

    Raises
    ------
    DataError
        A column cannot be used, or ``order_by``, ``momenta``, ``max_objects`` or ``per_feature`` name something else.
    """
    blocks = [block for block, columns in selection.features.items() if block and columns]
    _require_blocks(config, file)
    _require_scaled(config, file, selection)
    _check_spectators(file, selection.spectators)
    return Preprocessor(
        classes=selection.classes,
        signal=selection.signal,
        spectators=selection.spectators,
        events=_fit_block(config, file, "", selection.features[""], training=training, weights=weights, bins=bins),
        objects={
            block: ObjectRecipe(
                features=_fit_block(
                    config, file, block, selection.features[block], training=training, weights=weights, bins=bins
                ),
                slots=_slots(config, file, block),
                order_by=config.order_by.get(block),
                momentum=_checked_momentum(config, file, block) if _asked(momenta, block) else {},
            )
            for block in blocks
        },
        class_weights=class_weights,
        use_mc_weights=config.use_mc_weights,
        negative_weights=config.negative_weights,
    )


def _fit_block(
    config: EventsDataset,
    file: EventFile,
    block: str,
    names: tuple[str, ...],
    *,
    training: Bool,
    weights: Float64 | None,
    bins: int | None,
) -> BlockRecipe:
    infos = file.objects[block].columns if block else file.columns
    counts = np.diff(file.offsets(block)) if block else 1
    rows = np.repeat(training, counts)
    own_weights = None if weights is None else np.repeat(weights, counts)[rows]
    numbers, categories = [], []
    for name in names:
        label = f"{block}.{name}" if block else name
        place = Place(f"{file.path}: column '{label}'")
        values = file.object_column(block, name) if block else file.column(name)
        # Whole columns are checked: the rows in a message are those of the file, and no event fails later, when it is
        # read for a batch.
        refuse_codes(values, infos[name], place)
        allowed = infos[name].nullable and config.missing != "error"
        if infos[name].kind == "categorical" and config.feature_scaling.categ_scaler_type:
            refuse_missing_codes(values, place, allowed=allowed)
            categories.append(fit_category(values[rows], infos[name], config))
        else:
            refuse_missing(as_numbers(values, infos[name], place), place, allowed=allowed)
            numbers.append(
                fit_number(label, values[rows], infos[name], own_weights, config=config, bins=bins, place=place)
            )
    return BlockRecipe(tuple(numbers), tuple(categories))


def _check_spectators(file: EventFile, names: tuple[str, ...]) -> None:
    """Refuse spectators that hold anything but finite or missing numbers in any event."""
    for name in names:
        info, place = file.columns[name], Place(f"{file.path}: column '{name}'")
        values = file.column(name)
        refuse_codes(values, info, place)
        as_numbers(values, info, place, SPECTATOR_REMEDY)


def _checked_momentum(config: EventsDataset, file: EventFile, block: str) -> dict[str, str | None]:
    """Return the columns of momenta, which must be finite numbers in every object."""
    columns: dict[str, str | None] = dict(momentum(config, file, block).model_dump())
    for name in filter(None, columns.values()):
        place = Place(f"{file.path}: column '{block}.{name}'")
        numbers = as_numbers(file.object_column(block, name), file.objects[block].columns[name], place)
        refuse_missing(numbers, place, allowed=False)
    return columns


def _asked(momenta: bool | tuple[str, ...], block: str) -> bool:
    return momenta if isinstance(momenta, bool) else block in momenta


def _slots(config: EventsDataset, file: EventFile, block: str) -> int:
    longest = max(1, file.objects[block].max_length)
    asked = config.max_objects.get(block) if isinstance(config.max_objects, dict) else config.max_objects
    return longest if asked is None else min(asked, longest)


def _require_blocks(config: EventsDataset, file: EventFile) -> None:
    slots = config.max_objects if isinstance(config.max_objects, dict) else {}
    for key, named in (("order_by", config.order_by), ("momenta", config.momenta), ("max_objects", slots)):
        for block in named:
            if block not in file.objects:
                known = suggestion(block, list(file.objects))
                raise DataError(f"dataset_config.{key}: {file.path} has no objects '{block}'.{known}")
    for block, column in config.order_by.items():
        columns = file.objects[block].columns
        if column not in columns:
            known = suggestion(column, list(columns))
            raise DataError(f"dataset_config.order_by: {file.path}: '{block}' have no column '{column}'.{known}")


def _require_scaled(config: EventsDataset, file: EventFile, selection: Selection) -> None:
    infos = {
        f"{block}.{name}" if block else name: (file.objects[block].columns if block else file.columns)[name]
        for block, names in selection.features.items()
        for name in names
    }
    scaling = config.feature_scaling
    for name in scaling.per_feature:
        place = f"dataset_config.feature_scaling.per_feature: '{name}'"
        if name not in infos:
            raise DataError(f"{place} is none of the features.{suggestion(name, list(infos))}")
        if infos[name].kind == "categorical" and scaling.categ_scaler_type:
            raise DataError(
                f"{place} is categorical in {file.path}: its categories become codes, which nothing scales. Leave it "
                "out, or take categories as numbers: dataset_config.feature_scaling.categ_scaler_type: null."
            )
