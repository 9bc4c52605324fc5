"""Weights out of checkpoints: found by name, compared with the network, loaded strictly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from tabstar_lit.config.tree import nearest_names
from tabstar_lit.engine.weights.files import (
    CHECKPOINT_KEY,
    CHECKPOINT_SCHEMA_VERSION,
    NETWORK,
    read_checkpoint,
    require_intact,
)
from tabstar_lit.engine.weights.folders import folder_weights, is_model_folder, model_of_hub
from tabstar_lit.errors import CheckpointError

__all__ = [
    "CHECKPOINT_KEY",
    "CHECKPOINT_SCHEMA_VERSION",
    "NETWORK",
    "Latest",
    "LoadReport",
    "difference_table",
    "find_checkpoint",
    "latest_checkpoint",
    "load_strict",
    "load_weights",
    "network_part",
    "network_weights",
    "progress_in",
    "require_finite",
]

SUFFIX = ".ckpt"
MAX_ROWS = 24


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What was loaded into a network.

    Attributes
    ----------
    loaded : int
        Number of tensors taken.
    differences : str or None
        Table of everything that was skipped; None when the file fitted one to one.
    """

    loaded: int
    differences: str | None


class Latest(NamedTuple):
    """The newest usable checkpoint of a folder, and the files that could not be used with the reason."""

    path: Path
    skipped: list[tuple[Path, str]]


def load_weights(path: Path) -> dict[str, Tensor]:
    """Return the state dict of the network in a checkpoint of this package, or in a folder of weights, on the CPU.

    Raises
    ------
    CheckpointError
        The file cannot be read, see :func:`tabstar_lit.engine.weights.files.read_checkpoint`, or has no
        network.
    """
    return folder_weights(path) if path.is_dir() else network_weights(read_checkpoint(path), path)


def network_weights(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the state dict of the network out of the ``content`` of the checkpoint ``path``.

    Raises
    ------
    CheckpointError
        It has no network.
    """
    state = content.get("state_dict")
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} has no 'state_dict'; it was not written by a training run of this package.")
    weights, _ = network_part(state)
    if not weights:
        first = ", ".join(list(state)[:3]) or "nothing"
        raise CheckpointError(f"{path} holds no weights named '{NETWORK}...'; it holds {first}.")
    return weights


def network_part(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the weights of the network under their names in it, and what else a training module has, as it is."""
    weights = {name.removeprefix(NETWORK): value for name, value in state.items() if name.startswith(NETWORK)}
    return weights, {name: value for name, value in state.items() if not name.startswith(NETWORK)}


def difference_table(model_state: Mapping[str, Any], file_state: Mapping[str, Any]) -> str | None:
    """Return an aligned table of the tensors that do not correspond, or None when all do.

    Parameters
    ----------
    model_state, file_state : mapping of str to Tensor
        State dicts of the network that is built and of the file.
    """
    missing = [name for name in model_state if name not in file_state]
    unexpected = [name for name in file_state if name not in model_state]
    reshaped = [
        name for name in model_state if name in file_state and _shape(model_state[name]) != _shape(file_state[name])
    ]
    rows = [(name, _shape(model_state[name]), "missing") for name in missing]
    rows += [(name, "not in the network", _shape(file_state[name])) for name in unexpected]
    rows += [(name, _shape(model_state[name]), _shape(file_state[name])) for name in reshaped]
    if not rows:
        return None
    summary = f"{len(missing)} missing, {len(unexpected)} unexpected, {len(reshaped)} of another shape"
    shown = [("tensor", "network", "file"), *_capped([missing, unexpected, reshaped], rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(2)]
    lines = [f"  {name:<{widths[0]}}  {ours:<{widths[1]}}  {theirs}" for name, ours, theirs in shown]
    hidden = len(rows) - len(shown) + 1
    return "\n".join([f"{summary}:", *lines, *([f"  ... and {hidden} more"] if hidden else [])])


def load_strict(
    network: nn.Module, state: Mapping[str, Tensor], *, strict: bool, source: str, into: str = "the network"
) -> LoadReport:
    """Load ``state`` into ``network``, one to one unless ``strict`` is off.

    Parameters
    ----------
    network : nn.Module
        What receives the weights.
    state : mapping of str to Tensor
        The weights.
    strict : bool
        Refuse any difference. Without it, tensors that correspond are loaded and the rest is reported.
    source : str
        Where ``state`` comes from, for the message.
    into : str
        What ``network`` is, for the message.

    Raises
    ------
    CheckpointError
        ``strict`` and there are differences, or nothing at all corresponds.
    """
    own = network.state_dict()
    differences = difference_table(own, state)
    fitting = {name: t for name, t in state.items() if name in own and _shape(own[name]) == _shape(t)}
    if differences and (strict or not fitting):
        hint = "Use the model_config it was trained with" + (
            ", or set strict: false to load what fits." if fitting else "."
        )
        raise CheckpointError(f"The weights of {source} do not fit {into}; {differences}\n{hint}")
    network.load_state_dict(fitting, strict=False)
    return LoadReport(len(fitting), differences)


def require_finite(network: nn.Module, *, source: str) -> None:
    """Refuse a trained network that can predict nothing.

    Parameters
    ----------
    network : nn.Module
        After its weights were loaded.
    source : str
        Where they come from, for the message.

    Raises
    ------
    CheckpointError
        A weight is NaN or infinite, or a running statistic NaN.
    """
    broken = [name for name, weight in network.named_parameters() if not weight.isfinite().all()]
    broken += [name for name, buffer in network.named_buffers() if buffer.isnan().any()]
    if broken:
        raise CheckpointError(
            f"{source} is of a training that broke down: {len(broken)} of its tensors hold NaN or infinite values "
            f"({', '.join(broken[:3])}{', ...' if broken[3:] else ''}). Use an earlier checkpoint."
        )


def find_checkpoint(name: str, roots: Sequence[Path]) -> Path:
    """Return the checkpoint that ``name`` means: a path, a file name somewhere below ``roots``, or a name of the hub.

    Parameters
    ----------
    name : str
        A path (absolute, or relative to the working directory or a root), a file name with or without ``.ckpt``, or
        the ``owner/model`` of the hub. A path may be that of a folder with a model in it.
    roots : sequence of Path
        Folders that are searched with everything below them.

    Raises
    ------
    CheckpointError
        Nothing is found (the nearest names are given), or several files are (all are given).
    """
    if "\0" in name:
        raise CheckpointError(f"{name!r} is not a file name.")
    for candidate in (Path(name), Path(name + SUFFIX)):
        if candidate.is_file() or is_model_folder(candidate):
            return candidate
    files = sorted({file for root in roots if root.is_dir() for file in root.rglob(f"*{SUFFIX}")})
    found = [file for file in files if name in _names(file, roots)]
    if len(found) == 1:
        return found[0]
    if found:
        raise CheckpointError(f"{name!r} means {len(found)} checkpoints; give the path of one:\n{_listed(found)}")
    folder = model_of_hub(name)
    if folder is not None:
        return folder
    raise CheckpointError(_not_found(name, files, roots))


def latest_checkpoint(directory: Path) -> Latest:
    """Return the checkpoint below ``directory`` that holds the most training.

    Files are ordered by the global step and epoch inside them, not by name or date. A file written on
    interruption wins only when no other is as far; files that cannot be read or continued from are skipped
    and reported.

    Raises
    ------
    CheckpointError
        There is no usable file; says which were there and why they cannot be used.
    """
    usable: list[tuple[tuple[int, int, bool, float], Path]] = []
    skipped: list[tuple[Path, str]] = []
    for file in sorted(directory.rglob(f"*{SUFFIX}")):
        try:
            usable.append((progress_in(file), file))
        except CheckpointError as error:
            skipped.append((file, str(error)))
    for _, file in sorted(usable, key=lambda entry: entry[0], reverse=True):
        try:
            require_intact(file)
        except CheckpointError as error:
            skipped.append((file, str(error)))
        else:
            return Latest(file, skipped)
    reasons = "".join(f"\n  {reason}" for _, reason in skipped)
    raise CheckpointError(f"There is no checkpoint to resume from in {directory}.{reasons}")


def progress_in(file: Path) -> tuple[int, int, bool, float]:
    """Return what files are ordered by: step, epoch, whether its moment was planned, and its date.

    Tensors are mapped, not read.

    Raises
    ------
    CheckpointError
        Training cannot go on from the file: it is damaged, or holds weights only, as a calibrated one does.
    """
    content = read_checkpoint(file, mmap=True)
    if "optimizer_states" not in content:
        raise CheckpointError(
            f"{file} holds weights only, as a calibrated checkpoint does, so training cannot go on from it."
        )
    step, epoch = content.get("global_step"), content.get("epoch")
    if not isinstance(step, int) or not isinstance(epoch, int):
        raise CheckpointError(f"{file} does not say at which step and epoch it was written.")
    return step, epoch, not file.stem.endswith("interrupted"), file.stat().st_mtime


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, Tensor) else type(value).__name__


def _capped(kinds: Iterable[Sequence[str]], rows: Sequence[tuple[str, str, str]]) -> Iterable[tuple[str, str, str]]:
    """Yield at most :data:`MAX_ROWS` rows, with a share for each kind of difference."""
    start, share = 0, MAX_ROWS // 3
    for kind in kinds:
        yield from rows[start : start + min(len(kind), share)]
        start += len(kind)


def _names(file: Path, roots: Sequence[Path]) -> set[str]:
    """Return everything ``file`` may be called: its name and its path from each root, with and without suffix."""
    below = [str(file.relative_to(root)) for root in roots if file.is_relative_to(root)]
    return {spelling for full in (file.name, *below) for spelling in (full, full.removesuffix(SUFFIX))}


def _not_found(name: str, files: Sequence[Path], roots: Sequence[Path]) -> str:
    places = ", ".join(str(root) for root in roots) or "nowhere"
    by_name = {spelling: file for file in files for spelling in sorted(_names(file, roots))}
    near = dict.fromkeys(by_name[close] for close in nearest_names(name, by_name, n=6))
    hint = f" Nearest:\n{_listed(list(near)[:3])}" if near else " There is no .ckpt file at all." if not files else ""
    return f"There is no checkpoint {name!r}: no such file, and none of that name below {places}.{hint}"


def _listed(files: Sequence[Path]) -> str:
    return "\n".join(f"  {file}" for file in files)
