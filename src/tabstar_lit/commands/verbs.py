"""Verbs that begin with a checkpoint: it names its family, and the family does the work.

A family that offers such verbs has a module ``commands`` with a function for each in ``VERBS``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from tabstar_lit.config.paths import roots
from tabstar_lit.errors import CheckpointError
from tabstar_lit.families import FAMILIES


def checkpoint_verb(name: str, verb: str) -> tuple[Path, Callable[..., None]]:
    """Return the checkpoint that ``name`` means and what its family does for ``verb``.

    Parameters
    ----------
    name : str
        A path, or the name of a file somewhere below the folder of the models.
    verb : str
        Such as ``predict``.

    Raises
    ------
    CheckpointError
        There is no such file, it is no checkpoint of this package, or its family does not offer the verb.
    """
    from tabstar_lit.engine.weights.files import CHECKPOINT_KEY, read_checkpoint
    from tabstar_lit.engine.weights.loading import find_checkpoint

    path = find_checkpoint(name, [roots().models])
    own = read_checkpoint(path, mmap=True).get(CHECKPOINT_KEY)
    payload = own.get("payload") if isinstance(own, dict) else None
    family = payload.get("family") if isinstance(payload, dict) else None
    verbs = _verbs(str(family))
    if verb not in verbs:
        able = ", ".join(known for known in FAMILIES if verb in _verbs(known))
        raise CheckpointError(
            f"{path} is a checkpoint of the family {family or 'unknown'}, for which there is no '{verb}'. "
            f"Families with it: {able}."
        )
    return path, verbs[verb]


def _verbs(family: str) -> dict[str, Callable[..., None]]:
    module = f"{FAMILIES[family].rpartition('.')[0]}.commands" if family in FAMILIES else None
    if module is None or find_spec(module) is None:
        return {}
    return dict(getattr(import_module(module), "VERBS", {}))
