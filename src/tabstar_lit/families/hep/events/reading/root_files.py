"""Events of ROOT files: branches of a TTree, also in other branches and in objects, and fields of an RNTuple."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from tabstar_lit.arrays import Array
from tabstar_lit.config.tree import suggestion
from tabstar_lit.errors import DataError
from tabstar_lit.families.hep.events.arithmetic import with_gaps
from tabstar_lit.families.hep.events.jagged import Jagged
from tabstar_lit.families.hep.events.reading.reader import Chunk, Reader, Value, reported

TREES = {"TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple"}


def root_reader(path: Path, tree: str | None) -> Reader:
    """Open a tree of a ROOT file; it may be left out where there is only one."""
    uproot = _uproot(path)
    with uproot.open(path) as file:
        name = _tree_name(path, file.classnames(cycle=False), tree)
        is_ntuple = file.classnames(cycle=False)[name] == "ROOT::RNTuple"
        names = tuple(_fields(file[name])) if is_ntuple else tuple(dict.fromkeys(file[name].keys()))
        n_events = int(file[name].num_entries)

    @cache
    def members(column: str) -> tuple[str, ...]:
        """Look into the first entry: what a branch holds may not be said by its type."""
        with reported(path), uproot.open(path) as file:
            found = file[name][column].array(entry_stop=1, library="ak").type.content
        return tuple(_record_members(column, found))

    def read(names_: Sequence[str], texts: Sequence[str], rows: int) -> Iterator[Chunk]:
        owners = {column: _owner(column, known) for column in names_}
        with reported(path), uproot.open(path) as file:
            parts = (_of_ntuple if is_ntuple else _of_tree)(file[name], sorted(set(owners.values())), rows)
            for start, n, arrays in parts:
                columns = {
                    column: _value(_member(arrays[owner], column[len(owner) :]), column, column in texts)
                    for column, owner in owners.items()
                }
                yield Chunk(start, n, columns)

    known = frozenset(names)
    aliases = {} if is_ntuple else _aliases(names)
    return Reader(names, n_events, read, aliases=aliases, members=(lambda _: ()) if is_ntuple else members)


def _uproot(path: Path) -> Any:
    try:
        import awkward  # noqa: F401  uproot asks for it only once it meets a jagged branch
        import uproot
    except ImportError as error:
        raise DataError(
            f"{path}: reading ROOT files needs uproot and awkward: pip install 'tabstar_lit[root]'"
        ) from error
    return uproot


def _tree_name(path: Path, kinds: dict[str, str], tree: str | None) -> str:
    """Find the tree that is meant among those of the file."""
    trees = [name for name, kind in kinds.items() if kind in TREES]
    if not trees:
        raise DataError(f"{path}: holds no tree, but {', '.join(kinds) or 'nothing'}")
    if tree is None and len(trees) > 1:
        raise DataError(f"{path}: holds several trees; give 'tree', one of: {', '.join(trees)}")
    if tree is not None and tree not in trees:
        raise DataError(f"{path}: no tree '{tree}'.{suggestion(tree, trees)}")
    return tree or trees[0]


def _fields(ntuple: Any) -> dict[str, Any]:
    """Return the fields of an RNTuple that hold values, by full name; ``keys()`` takes seconds where there are many."""
    children: dict[int, list[Any]] = defaultdict(list)
    for field in ntuple.all_fields:
        if field.record.parent_field_id != field.field_id:
            children[field.record.parent_field_id].append(field)

    def is_record(field: Any) -> bool:
        return any(is_record(own) if own.is_anonymous else True for own in children[field.field_id])

    return {field.path: field for field in ntuple.all_fields if field.path is not None and not is_record(field)}


def _aliases(names: Sequence[str]) -> dict[str, str]:
    """Return other names of branches in branches: ``a.b`` for ``a/b``, and ``b`` where no other is called so."""
    nested = [name for name in names if "/" in name]
    short = Counter(name.rpartition("/")[2] for name in names)
    found = {name.rpartition("/")[2]: name for name in nested if short[name.rpartition("/")[2]] == 1}
    return found | {name.replace("/", "."): name for name in nested}


def _owner(column: str, known: frozenset[str]) -> str:
    """Return the branch that a column is, or is a member of."""
    fronts = [column, *(column[:end] for end in range(len(column) - 1, 0, -1) if column[end] == ".")]
    return next(front for front in fronts if front in known)


def _of_tree(tree: Any, names: Sequence[str], rows: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield chunks of branches; those that share a short name, by which uproot returns them, in different rounds."""
    rounds: list[dict[str, str]] = []
    for name in names:
        short = tree[name].name
        free = next((own for own in rounds if short not in own), None)
        if free is None:
            rounds.append(free := {})
        free[short] = name
    if not rounds:
        return
    iterators = []
    for own in rounds:
        wanted = {id(tree[name]) for name in own.values()}
        chosen = wanted.__contains__
        iterators.append(
            tree.iterate(filter_branch=lambda branch, chosen=chosen: chosen(id(branch)), step_size=rows, library="ak")
        )
    start = 0
    for parts in zip(*iterators, strict=True):
        arrays = {name: part[short] for part, own in zip(parts, rounds, strict=True) for short, name in own.items()}
        yield start, len(parts[0]), arrays
        start += len(parts[0])


def _of_ntuple(ntuple: Any, names: Sequence[str], rows: int) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield chunks of fields, each read by itself: the RNTuple's own ``iterate`` goes through all names every time."""
    fields = _fields(ntuple)
    n_events = int(ntuple.num_entries)
    for start in range(0, n_events, rows):
        stop = min(start + rows, n_events)
        extent = {"entry_start": start, "entry_stop": stop}
        yield start, stop - start, {name: _field_array(ntuple, fields[name], extent) for name in names}


def _field_array(ntuple: Any, field: Any, extent: dict[str, int]) -> Any:
    if "." not in field.name:
        return field.array(**extent)
    return ntuple.arrays(filter_field=lambda own: own.field_id == field.field_id, **extent)[field.name]


def _member(array: Any, path: str) -> Any:
    for name in path.split(".")[1:]:
        array = array[name]
    return array


def _record_members(front: str, kind: Any) -> Iterator[str]:
    """Yield the members of a record, or of a list of records, by full name."""
    import awkward as ak

    while isinstance(kind, ak.types.OptionType | ak.types.ListType | ak.types.RegularType):
        kind = kind.content
    for name in kind.fields if isinstance(kind, ak.types.RecordType) else ():
        inner = list(_record_members(f"{front}.{name}", kind.content(name)))
        yield from inner or [f"{front}.{name}"]


def _value(array: Any, name: str, as_text: bool) -> Value:
    """Return a column as arrays of NumPy."""
    import awkward as ak

    kind = array.type.content
    if _is_list(kind):
        if isinstance(kind, ak.types.OptionType):
            array = ak.fill_none(array, [], axis=0)
        return Jagged(_flat(ak.flatten(array, axis=1), name, as_text), ak.to_numpy(ak.num(array)))
    return _flat(array, name, as_text)


def _is_list(kind: Any) -> bool:
    import awkward as ak

    if isinstance(kind, ak.types.OptionType):
        kind = kind.content
    is_text = kind.parameters.get("__array__") in {"string", "bytestring"}
    return isinstance(kind, ak.types.ListType | ak.types.RegularType) and not is_text


def _flat(array: Any, name: str, as_text: bool) -> Array:
    import awkward as ak

    kind = array.type.content
    plain = kind.content if isinstance(kind, ak.types.OptionType) else kind
    if plain.parameters.get("__array__") == "string":
        return np.array([*ak.to_list(array), None], dtype=object)[:-1]
    if isinstance(plain, ak.types.RecordType):
        members = ", ".join(_record_members(name, plain))
        raise DataError(f"branch '{name}' is a record; name one of its members: {members}")
    if not isinstance(plain, ak.types.NumpyType):
        held = f"{kind}; only numbers, texts and one list of numbers or texts an event can be used"
        raise DataError(f"branch '{name}' holds {held}")
    absent = ak.to_numpy(ak.is_none(array))
    values = with_gaps(ak.to_numpy(ak.fill_none(array, 0)), absent, name)
    return values.astype(str).astype(object) if as_text else values
