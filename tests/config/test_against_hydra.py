"""Our composition gives what ``hydra.compose`` gives, case by case."""

from __future__ import annotations

import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest

from tabstar_lit.config.compose import Composer
from tabstar_lit.config.interpolation import Interpolation
from tabstar_lit.config.overrides import parse_override

FILES = {
    "g/a.yaml": "k: a\nz: 1\n",
    "g/b.yaml": "k: b\n",
    "g/l.yaml": "l: [1, 2]\n",
    "g/deep.yaml": "m: {n: {o: 1, p: 2}}\n",
    "g/empty.yaml": "x: null\n",
    "g/sub/s.yaml": "q: 1\n",
    "g/sub/t.yaml": "t: 1\n",
    "h/a.yaml": "hk: 1\n",
    "h/b.yaml": "hk: 2\n",
    "other.yaml": "o: 1\nx: 2\n",
}
# name -> (main file, further files, arguments)
CASES: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "group": ("defaults: [{g: a}]\nx: 1\n", {}, []),
    "absent _self_ comes last": ("defaults: [{g: a}]\ng: {k: main}\n", {}, []),
    "_self_ first": ("defaults: [_self_, {g: a}]\ng: {k: main}\n", {}, []),
    "_self_ between": ("defaults: [{g: a}, _self_, {h: a}]\ng: {k: main}\nh: {hk: main}\n", {}, []),
    "nested": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [a]\nk: n\n"}, []),
    "nested, _self_ first": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [_self_, a]\nk: n\n"}, []),
    "nested group": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [{sub: s}]\nk: n\n"}, []),
    "three levels": (
        "defaults: [{g: n}]\n",
        {"g/n.yaml": "defaults: [{sub: m}]\n", "g/sub/m.yaml": "defaults: [s, t]\nu: 1\n"},
        [],
    ),
    "group in a package": ("defaults: [{g@foo: a}]\nx: 1\n", {}, []),
    "group in a deep package": ("defaults: [{g@foo.bar: a}]\nfoo: {x: 1}\n", {}, []),
    "nested in a package": ("defaults: [{g@foo: n}]\n", {"g/n.yaml": "defaults: [{sub: s}]\nk: n\n"}, []),
    "package in a package": ("defaults: [{g@foo: n}]\n", {"g/n.yaml": "defaults: [{sub@pk: s}]\n"}, []),
    "two models in one": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [a@num, b@den]\nk: n\n"}, []),
    "absolute group": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [{/h: a}]\nk: n\n"}, []),
    "absolute group in a package": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [{/h@pk: a}]\n"}, []),
    "global package": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [{/h@_global_: a}]\nk: n\n"}, []),
    "below the global package": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [{/h@_global_.y: a}]\n"}, []),
    "package here": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [{sub@_here_: s}]\nk: n\n"}, []),
    "absolute option": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [/h/a]\nk: n\n"}, []),
    "absolute option in a package": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [/h/a@pk]\n"}, []),
    "option of a folder": ("defaults: [g/a]\nx: 1\n", {}, []),
    "option beside": ("defaults: [other]\nx: 1\n", {}, []),
    "option beside, _self_ first": ("defaults: [_self_, other]\nx: 1\n", {}, []),
    "option below a folder": ("defaults: [{g: sub/s}]\n", {}, []),
    "nested below a folder": (
        "defaults: [{g: sub/n}]\n",
        {"g/sub/n.yaml": "defaults: [a]\nw: 1\n"},
        [],
    ),
    "beside a file below a folder": (
        "defaults: [{g: sub/n}]\n",
        {"g/sub/n.yaml": "defaults: [sub/s@_here_]\nw: 1\n"},
        [],
    ),
    "deep group": ("defaults: [{g/sub: s}]\n", {}, []),
    "list of options": ("defaults: [{g: [a, b]}]\n", {}, []),
    "option with its ending": ("defaults: [{g: a.yaml}]\n", {}, []),
    "override": ("defaults: [{g: a}, {h: a}, {override g: b}]\n", {}, []),
    "override from a nested file": (
        "defaults: [{g: n}]\n",
        {"g/n.yaml": "defaults: [m, {override sub: t}]\n", "g/m.yaml": "defaults: [{sub: s}]\n"},
        [],
    ),
    "optional and missing": ("defaults: [{optional g: zz}]\nx: 1\n", {}, []),
    "optional and there": ("defaults: [{optional g: a}]\nx: 1\n", {}, []),
    "null": ("defaults: [{g: null}]\nx: 1\n", {}, []),
    "two packages of one group": ("defaults: [{g: a}, {g@foo: b}]\n", {}, []),
    "one option twice": ("defaults: [g/a, g/a]\n", {}, []),
    "hydra is ignored": (
        "defaults: [{g: a}, {override hydra/job_logging: disabled}]\nhydra: {output_subdir: null}\n",
        {},
        [],
    ),
    "null over a mapping": ("defaults: [{g: a}, _self_]\ng: null\n", {}, []),
    "mapping over null": ("defaults: [_self_, {g: a}]\ng: null\n", {}, []),
    "mapping over a scalar": ("defaults: [_self_, {g: a}]\ng: 3\n", {}, []),
    "scalar over a mapping": ("defaults: [{g: a}, _self_]\ng: 3\n", {}, []),
    "lists are replaced": ("defaults: [{g: l}, _self_]\ng: {l: [3]}\n", {}, []),
    "mappings are merged deeply": ("defaults: [{g: deep}, _self_]\ng: {m: {n: {p: 3, r: 4}}}\n", {}, []),
    "choose a group": ("defaults: [{g: a}]\nx: 1\n", {}, ["g=b"]),
    "choose a group and a value": ("defaults: [{g: a}]\nx: 1\n", {}, ["g=b", "g.k=5"]),
    "choose where there was null": ("defaults: [{g: null}]\nx: 1\n", {}, ["g=a"]),
    "choose in a package": ("defaults: [{g@foo: a}]\nx: 1\n", {}, ["g@foo=b"]),
    "choose a nested group": ("defaults: [{g: n}]\n", {"g/n.yaml": "defaults: [{sub: s}]\n"}, ["g/sub=t"]),
    "choose a list": ("defaults: [{g: a}]\n", {}, ["g=[b,a]"]),
    "add a group": ("x: 1\n", {}, ["+g=b"]),
    "add a group under own keys": ("g: {k: main}\n", {}, ["+g=a"]),
    "remove a group": ("defaults: [{g: a}]\nx: 1\n", {}, ["~g"]),
    "set": ("x: 1\ny: {z: 2}\n", {}, ["x=2", "y.z=[3,4]"]),
    "set twice": ("x: 1\n", {}, ["x=2", "x=3"]),
    "add": ("x: 1\n", {}, ["+y=2", "+z.w=3"]),
    "set or add": ("x: 1\n", {}, ["++x=2", "++y.z=3"]),
    "remove": ("x: 1\ny: {a: 1, b: 2}\n", {}, ["~x", "~y.a=1"]),
    "merge a mapping": ("x: {a: 1, b: 2}\n", {}, ["x={a: 3}"]),
    "element of a list": ("x: [1, 2]\n", {}, ["x.0=5"]),
    "null and truth": ("x: 1\ny: 2\n", {}, ["x=null", "y=true"]),
    "quotes": ("x: 1\n", {}, ["x='a b'", '+y="q,r"', "+z=a b", "+w='1'", "+t="]),
    "numbers": ("x: 1\n", {}, ["x=1e-3", "+y=3e-4", "+z=-2", "+w=.5"]),
    "flow style": ("x: 1\n", {}, ["x=[1,{a: b},[c]]"]),
    "a sum of everything": (
        "defaults: [{g: a}, {h: b}, {g@foo: deep}, _self_]\nfoo: {m: {n: {o: 9}}}\n",
        {},
        ["g=b", "h.hk=7", "+foo.extra=[1,2]", "~foo.m.n.p"],
    ),
    "reference": ("a: ${f.g}\nf: {g: [1, 2]}\nb: x-${f.g.0}\nc: ${a}\n", {}, []),
    "reference to a mapping": ("a: {b: 1, c: '${a.b}'}\nd: ${a}\ne: ${d.c}\n", {}, []),
    "reference across files": ("defaults: [{g: n}]\nx: 3\n", {"g/n.yaml": "k: ${x}\nj: n${g.k}\n"}, []),
    "environment": ("a: ${oc.env:HYDRA_CASE}\nb: '<${oc.env:HYDRA_CASE}>'\n", {}, []),
    "environment with default": (
        "a: ${oc.env:NOT_SET_HERE,text}\nb: ${oc.env:NOT_SET_HERE,null}\nc: '${oc.env:NOT_SET_HERE,''q r''}'\n",
        {},
        [],
    ),
}


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")


def by_hydra(directory: Path, name: str, arguments: list[str]) -> Any:
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with initialize_config_dir(str(directory), version_base="1.3"):
            return OmegaConf.to_container(compose(name, arguments), resolve=True)


def by_us(directory: Path, name: str, arguments: list[str]) -> Any:
    composer = Composer([directory], lambda node, _: node)
    root = composer.compose(directory / f"{name}.yaml", "none", [parse_override(text) for text in arguments])
    return Interpolation(root).resolve().plain()


@pytest.mark.parametrize("case", CASES)
def test_composition_equals_hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.setenv("HYDRA_CASE", "from outside")
    main, files, arguments = CASES[case]
    write(tmp_path, {**FILES, **files, "main.yaml": main})
    assert by_us(tmp_path, "main", arguments) == by_hydra(tmp_path, "main", arguments)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 30


def shipped(repository: Path, folder: str) -> list[str]:
    return sorted(path.relative_to(repository).as_posix() for path in (repository / folder).rglob("*.yaml"))


def test_shipped_files_compose_as_hydra_does(repository: Path, tmp_path: Path) -> None:
    """The primary file with a command's part written out by hand, as Hydra would want it."""
    import yaml

    for folder in ("model_config", "dataset_config"):
        for name in shipped(repository, folder):
            write(tmp_path, {name: (repository / name).read_text(encoding="utf-8")})
    for model in shipped(tmp_path, "model_config"):
        family = model.split("/")[1]
        main = yaml.safe_load((repository / "training_config.yaml").read_text(encoding="utf-8"))
        overlay = main.pop("commands")[f"train_{family}"]
        main["defaults"] = [*overlay.pop("defaults"), "_self_"]
        main["defaults"][0] = {"model_config": model.removeprefix("model_config/").removesuffix(".yaml")}
        write(tmp_path, {"training_config.yaml": yaml.safe_dump(main)})
        arguments = ["experiment_config.seed=7", "++model_config.training_config.max_epochs=2"]
        assert by_us(tmp_path, "training_config", arguments) == by_hydra(tmp_path, "training_config", arguments)
