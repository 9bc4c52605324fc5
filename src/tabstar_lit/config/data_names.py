"""The name of a data set follows the data: a file that takes the place of the program's own names it."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

from tabstar_lit.config.nodes import Node, find
from tabstar_lit.config.tree import Path_

NAME: Path_ = ("dataset_config", "name")
UNFIT = re.compile(r"[^\w-]+")


def named_after_data(before: Node, after: Node, key: str | None) -> Node:
    """Return a configuration whose data set is called after its file.

    It keeps its name where that was given too, or where the file takes the place of another file.

    Parameters
    ----------
    before, after : Node
        A composed configuration, and the same with values laid over it.
    key : str or None
        Of ``dataset_config``, null while a command makes its own data; None: no such key.
    """
    if key is None:
        return after
    was, now = (find(node, ("dataset_config", key)) for node in (before, after))
    named, renamed = find(before, NAME), find(after, NAME)
    if was is None or was.value is not None or now is None or named is not renamed:
        return after
    name = _name(now.plain())
    return after if name is None else after.replaced(NAME, Node(name, now.position))


def _name(files: Any) -> str | None:
    """Return a name for a file, a pattern or a list; None where it says nothing."""
    first = files[0] if isinstance(files, list) and files else files
    if not isinstance(first, str):
        return None
    path = PurePath(first)
    names = (name for name in (path.stem, path.parent.name) if not set("*?[$") & set(name))
    return next(filter(None, (UNFIT.sub("_", name).strip("_") for name in names)), None)
