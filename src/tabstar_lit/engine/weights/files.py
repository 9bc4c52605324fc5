"""Checkpoint files: written so that a crash leaves the previous one whole, read so that no file can run code.

Lightning stages a checkpoint in ``$TMPDIR`` and moves it; between two file systems that move is a copy over
the old file, and a process killed meanwhile leaves a stump of it. Here the new file is complete, flushed and
read back, in the folder it is meant for, before it takes the old one's name.
"""

from __future__ import annotations

import io
import os
import pickle
import re
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO

from tabstar_lit.config.tree import did_you_mean
from tabstar_lit.engine.weights.named import SUFFIX as SAFETENSORS
from tabstar_lit.engine.weights.named import read_named
from tabstar_lit.engine.weights.sums import CheckedFile
from tabstar_lit.errors import CheckpointError, SaveError
from tabstar_lit.files import replacement

CHECKPOINT_KEY = "tabstar_lit"
"""Entry of a checkpoint that holds what prediction needs beside the weights."""

NETWORK = "network."
"""What the names of a network's weights begin with in a checkpoint, where other modules have theirs."""

CHECKPOINT_SCHEMA_VERSION = 1
"""Version of the layout under :data:`CHECKPOINT_KEY`; files of a newer one are refused."""

SPACE_MARGIN_BYTES = 2**20  # the zip directory and everything that is not a tensor

# A damaged pickle stream can make the unpickler fail in any of these ways; all mean the same to the user.
_DAMAGED = (
    zipfile.BadZipFile,
    OverflowError,
    RuntimeError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    AssertionError,
)

TreePath = tuple[object, ...]


class AtomicCheckpointIO(CheckpointIO):
    """Write checkpoints beside their target, verify them and rename them into place; read plain data only.

    At any moment the target is either the previous file or the new one, each complete, also after ``kill
    -9``, a full disk or a power cut.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any | None = None
    ) -> None:
        """Write ``checkpoint`` to ``path``, replacing a file of that name only when the new one is good.

        Parameters
        ----------
        checkpoint : dict
            Plain values and tensors.
        path : path
            Where it goes; missing folders are made.
        storage_options : None
            Part of Lightning's interface; local files have no options.

        Raises
        ------
        SaveError
            There is not enough space, or the disk fails. The previous file of that name is untouched.
        CheckpointError
            The content could not be loaded with ``weights_only=True``.
        """
        if storage_options is not None:
            raise CheckpointError(f"storage_options are not used for local checkpoints: {storage_options!r}.")
        target = Path(path)
        try:
            with replacement(target) as part:
                _require_space(checkpoint, target)
                _write(checkpoint, part)
                _verify(checkpoint, part)
        except OSError as error:
            raise unwritable(target, error) from error

    def load_checkpoint(
        self, path: str | os.PathLike[str], map_location: Any | None = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """Read ``path`` as plain data, onto the CPU and with ``weights_only`` whatever the caller asks for.

        Raises
        ------
        CheckpointError
            See :func:`read_checkpoint`.
        """
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: str | os.PathLike[str]) -> None:
        """Delete the file at ``path`` when there is one."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path, *, mmap: bool = False) -> dict[str, Any]:
    """Return the content of a checkpoint file on the CPU, without ever running code from it.

    Parameters
    ----------
    path : Path
        The file; one in safetensors, too, that ``tabstar_lit export`` wrote.
    mmap : bool
        Map tensors instead of reading them: cheap when only the metadata is wanted.

    Raises
    ------
    CheckpointError
        The file is missing, a folder, empty, truncated, damaged (mapped tensors are not looked at), not a
        checkpoint, holds Python objects, or was written by a newer version of this package.
    """
    if path.suffix == SAFETENSORS and path.is_file():
        return _of_safetensors(path, tensors=not mmap)
    _require_archive(path)
    try:
        with CheckedFile(path) as file:
            _require_sums(file, path, tensors=False)
            content = torch.load(path if mmap else file, map_location="cpu", weights_only=True, mmap=mmap)
            _require_sums(file, path, tensors=not mmap)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds {_first_object(error)}, which only running code could rebuild. Nothing was run. "
            "Checkpoints of this package hold plain values and tensors; get the file again from a source you "
            "trust."
        ) from error
    except OSError as error:
        raise CheckpointError(f"Cannot read the checkpoint {path}: {error.strerror or error}.") from error
    except _DAMAGED as error:
        raise CheckpointError(
            f"{path} is damaged or was not written by torch.save ({_first_line(error)}). Use an earlier checkpoint."
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__} where a checkpoint holds a dict.")
    _require_known_schema(content, path)
    return content


def _of_safetensors(path: Path, *, tensors: bool) -> dict[str, Any]:
    weights, own = read_named(path, tensors=tensors)
    content = {"state_dict": {NETWORK + name: weight for name, weight in weights.items()}, CHECKPOINT_KEY: own}
    _require_known_schema(content, path)
    return content


def unwritable(target: Path, error: OSError) -> SaveError:
    """Return the error that a checkpoint cannot be written under the name ``target``."""
    return SaveError(
        f"Cannot write the checkpoint {target}: {error.strerror or error}. A file of that name from before is "
        "unchanged. Make space or set training_config.model_save_path to another disk."
    )


def _write(checkpoint: dict[str, Any], file: Path) -> None:
    with file.open("wb") as stream:
        try:
            torch.save(checkpoint, stream)
        except OSError:
            raise
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch names the unfinished archive, not the disk
                raise error.__context__ from error
            raise CheckpointError(_not_plain(checkpoint, error)) from error
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise CheckpointError(_not_plain(checkpoint, error)) from error


def _verify(checkpoint: dict[str, Any], file: Path) -> None:
    """Read the written file the way it will be read later; its tensors are compared with what was in memory."""
    try:
        torch.load(file, weights_only=True, mmap=True)
        with CheckedFile(file) as written:
            broken = written.first_broken()
    except pickle.UnpicklingError as error:
        raise CheckpointError(_not_plain(checkpoint, error)) from error
    except _DAMAGED as error:
        raise OSError(f"the written file could not be read back ({_first_line(error)})") from error
    if broken is not None:
        raise OSError(f"the written file could not be read back ({broken} has another check sum)")


def _require_space(checkpoint: dict[str, Any], target: Path) -> None:
    storages = {
        leaf.untyped_storage().data_ptr(): leaf.untyped_storage().nbytes()
        for _, leaf in _leaves(checkpoint)
        if isinstance(leaf, torch.Tensor) and leaf.layout == torch.strided
    }
    needed = sum(storages.values()) + SPACE_MARGIN_BYTES
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise SaveError(
            f"Not enough space for the checkpoint {target}: {needed:,} bytes are needed, {free:,} are free. "
            "A file of that name from before is unchanged. Make space or set training_config.model_save_path "
            "to another disk."
        )


def _leaves(tree: object, path: TreePath = ()) -> Iterator[tuple[TreePath, object]]:
    """Yield every key and every value that is not a plain container, with its place."""
    if isinstance(tree, dict) and type(tree) in (dict, OrderedDict):
        for key, value in tree.items():
            yield (*path, key), key
            yield from _leaves(value, (*path, key))
    elif isinstance(tree, list | tuple) and type(tree) in (list, tuple):
        for index, value in enumerate(tree):
            yield from _leaves(value, (*path, index))
    else:
        yield path, tree


def _not_plain(checkpoint: dict[str, Any], error: Exception) -> str:
    """Say which entry of ``checkpoint`` could not be loaded again without running code."""
    for path, leaf in _leaves(checkpoint):
        if not _survives(leaf):
            place = "".join(f"[{key!r}]" for key in path)
            return (
                f"The checkpoint entry {place} is a {type(leaf).__module__}.{type(leaf).__qualname__}. "
                "Checkpoints hold plain values and tensors only, so that they load without running code. "
                "Convert it in state_dict() or on_save_checkpoint()."
            )
    return f"The checkpoint could not be written as plain values and tensors: {_first_line(error)}."


def _survives(leaf: object) -> bool:
    buffer = io.BytesIO()
    try:
        torch.save(leaf, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
    except (pickle.PickleError, *_DAMAGED):
        return False
    return True


def require_intact(path: Path) -> None:
    """Read a checkpoint and compare all of it with its check sums.

    Raises
    ------
    CheckpointError
        A bit of it is not what was written.
    """
    try:
        with CheckedFile(path) as file:
            _require_sums(file, path)
    except OSError as error:
        raise CheckpointError(f"Cannot read the checkpoint {path}: {error.strerror or error}.") from error
    except _DAMAGED as error:
        raise CheckpointError(f"{path} is damaged ({_first_line(error)}). Use an earlier checkpoint.") from error


def _require_sums(file: CheckedFile, path: Path, *, tensors: bool = True) -> None:
    broken = file.first_broken(tensors=tensors)
    if broken is not None:
        raise CheckpointError(f"{path} is damaged: its part {broken} has another check sum. Use an earlier checkpoint.")


def _require_archive(path: Path) -> None:
    """Refuse anything that is not a complete zip archive, before a byte of it is unpickled."""
    if path.is_dir():
        inside = sorted(file.name for file in path.glob("*.ckpt"))
        hint = f"Give one of its files: {', '.join(inside)}." if inside else "It holds no .ckpt file."
        raise CheckpointError(f"{path} is a directory, not a checkpoint. {hint}")
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint at {path}.{_nearest_files(path)}")
    try:
        with path.open("rb") as stream:
            start = stream.read(2)
            complete = zipfile.is_zipfile(stream)
    except OSError as error:
        raise CheckpointError(f"Cannot read the checkpoint {path}: {error.strerror or error}.") from error
    except zipfile.BadZipFile:  # a damaged end can look like that of an archive on several disks
        complete = False
    if not complete:
        raise CheckpointError(f"{path} is not a usable checkpoint: {_what_instead(start)}")


def _what_instead(start: bytes) -> str:
    if not start:
        return "it is empty. Use an earlier checkpoint."
    if start == b"PK":
        return "it is truncated (a copy that did not finish). Copy it again or use an earlier one."
    if start[:1] == b"\x80":
        return "it is a bare pickle, which is never opened because loading one can run code."
    return "it is not a PyTorch archive but some other kind of file."


def _nearest_files(path: Path) -> str:
    names = [file.name for file in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
    return did_you_mean(path.name, names, n=3)


def _require_known_schema(content: dict[str, Any], path: Path) -> None:
    own = content.get(CHECKPOINT_KEY)
    version = own.get("schema_version", 0) if isinstance(own, dict) else 0
    if not isinstance(version, int) or version > CHECKPOINT_SCHEMA_VERSION:
        raise CheckpointError(
            f"{path} has checkpoint schema version {version}; this installation reads up to "
            f"{CHECKPOINT_SCHEMA_VERSION}. Update tabstar_lit."
        )


def _first_object(error: Exception) -> str:
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f"the Python object {found[1]}" if found else "Python objects"


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:160] if lines else type(error).__name__
