"""Bad input to `train_signal` and its verbs: exit code 2, a message with place and remedy, nothing left behind."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
import pytest
import torch
import uproot
from checks import assert_refused
from click.testing import CliRunner, Result

from tabstar_lit.commands.cli import main
from tabstar_lit.commands.train import train_signal
from tabstar_lit.data import hdf5
from tabstar_lit.families.hep.events import toys
from tabstar_lit.families.hep.events.file import (
    ColumnInfo,
    EventChunk,
    EventFile,
    EventSchema,
    EventWriter,
    ObjectChunk,
)
from tabstar_lit.families.hep.events.toys import toy_events

N_EVENTS = 600
ROWS = np.arange(N_EVENTS)
DATA, MODEL, ARCHITECTURE = "dataset_config", "model_config", "model_config.architecture_config"
TRAINING = "model_config.training_config"
SHORT = (
    f"{DATA}.files=toy.h5",
    f"{DATA}.dataloader_kwargs.batch_size=128",
    f"{DATA}.ple_bins=4",
    f"{TRAINING}.max_epochs=1",
    "experiment_config.accelerator=cpu",
    "experiment_config.run_name=run",
    "experiment_config.tracker=none",
    "experiment_config.plot_metrics_n_epoch=null",
)
MLP = (f"{MODEL}=signal/mlp", f"{DATA}.features=[met, ht]", f"{ARCHITECTURE}.n_hidden=8")
PARTICLES = f"{MODEL}=signal/particle_transformer"
ALL_CLASSES = f"{DATA}.classes=null"


def invoke(command: click.Command, *arguments: object) -> Result:
    """Run a command in this process, as its console script would."""
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def files(folder: Path) -> set[str]:
    """Return all files below a folder; folders without any do not count."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def assert_training_is_refused(folder: Path, arguments: tuple[str, ...], *words: str) -> None:
    """Check it of ``--check`` and of the training itself."""
    before = files(folder)
    for option in (["--check"], []):
        assert_refused(invoke(train_signal, *option, *SHORT, *arguments), *words)
        assert files(folder) == before


# -- events with a mistake in them -------------------------------------------------------------------------------------


def read_all(path: Path) -> tuple[EventSchema, EventChunk]:
    file = EventFile.open(path)
    objects = {
        name: ObjectChunk(
            np.diff(file.offsets(name)), {column: file.object_column(name, column) for column in info.columns}
        )
        for name, info in file.objects.items()
    }
    types = {name: info.columns for name, info in file.objects.items()}
    columns = file.read(list(file.columns))
    chunk = EventChunk(columns, file.labels(), file.weights(), file.event_ids(), objects)
    return EventSchema(file.classes, file.columns, types, has_weights=file.has_weights), chunk


def write(path: Path, schema: EventSchema, chunk: EventChunk) -> None:
    with EventWriter(path, schema) as writer:
        writer.append(chunk)


def without_momenta(schema: EventSchema, chunk: EventChunk) -> tuple[EventSchema, EventChunk]:
    jets = {name: info for name, info in schema.objects["jets"].items() if name in ("pt", "btag")}
    return replace(schema, objects={"jets": jets}), chunk


def labelled(*classes: str, rule: Callable[[Any], Any]) -> Callable[..., tuple[EventSchema, EventChunk]]:
    return lambda schema, chunk: (replace(schema, classes=classes), replace(chunk, labels=rule(chunk.labels)))


def weighted(rule: Callable[[EventChunk], Any]) -> Callable[..., tuple[EventSchema, EventChunk]]:
    return lambda schema, chunk: (schema, replace(chunk, weights=rule(chunk)))


def with_process(schema: EventSchema, chunk: EventChunk) -> tuple[EventSchema, EventChunk]:
    """Add a category that is missing in one row."""
    info = ColumnInfo("process", "categorical", nullable=True, categories=("a", "b"))
    columns = {**chunk.columns, "process": np.where(ROWS == 9, -1, ROWS % 2)}
    return replace(schema, columns={**schema.columns, "process": info}), replace(chunk, columns=columns)


WRITTEN: dict[str, Callable[..., tuple[EventSchema, EventChunk]]] = {
    "weightless": weighted(lambda chunk: 0 * chunk.weights),
    "weightless_signal": weighted(lambda chunk: np.where(chunk.labels == 1, 0, chunk.weights)),
    "negative": weighted(lambda chunk: np.where(ROWS % 100 == 3, -chunk.weights, chunk.weights)),
    "cancelling": weighted(lambda chunk: np.where(chunk.labels == 1, -chunk.weights, chunk.weights)),
    "process": with_process,
    "unweighted": lambda schema, chunk: (replace(schema, has_weights=False), replace(chunk, weights=np.ones(N_EVENTS))),
    "one_class": labelled("zz", rule=lambda labels: 0 * labels),
    "rare": labelled("background", "signal", "rare", rule=lambda labels: np.where(ROWS == 5, 2, labels)),
    "three": labelled("background", "signal", "other", rule=lambda labels: ROWS % 3),
    "unlabelled": labelled(rule=lambda labels: labels * 0 - 1),
    "without_momenta": without_momenta,
    "unknown": lambda schema, chunk: (
        schema,
        replace(chunk, columns={**chunk.columns, "m_jj": np.full(N_EVENTS, np.nan)}),
    ),
}
"""Event files by name, and how they differ from the toy."""
CHANGED = {
    "nan": ("events/met", [7, 500], np.nan),
    "inf": ("events/met", [7, 300, 500], np.inf),
    "object_nan": ("objects/jets/pt", [7, 900], np.nan),
    "object_inf": ("objects/jets/energy", [7, 900], -np.inf),
    "spectator_inf": ("events/mass", [500], np.inf),
    "weight_nan": ("weight", [7, 500], np.nan),
    "offsets": ("objects/jets/offsets", [5], 100_000),
    "label": ("label", [5], 9),
    "category": ("objects/jets/btag", [5], 9),
}
"""Event files by name, and what was overwritten in them."""


def truncated(good: Path, target: Path) -> None:
    target.write_bytes(good.read_bytes()[: good.stat().st_size // 2])


def altered(good: Path, target: Path, change: Callable[[h5py.File], object]) -> None:
    shutil.copyfile(good, target)
    with h5py.File(target, "r+") as file:
        change(file)


BROKEN: dict[str, Callable[[Path, Path], object]] = {
    "missing": lambda good, target: None,
    "truncated": truncated,
    "empty": lambda good, target: target.touch(),
    "text": lambda good, target: target.write_text("not HDF5 at all"),
    "folder": lambda good, target: target.mkdir(),
    "another kind": lambda good, target: altered(good, target, lambda file: hdf5.write_text(file, "kind", "tables")),
    "a newer version": lambda good, target: altered(
        good, target, lambda file: file.attrs.__setitem__("schema_version", 2)
    ),
    "a lost column": lambda good, target: altered(good, target, lambda file: file.__delitem__("events/ht")),
    "no metadata": lambda good, target: altered(good, target, lambda file: file.__delitem__("metadata")),
}
KINDS_TOLD = {
    "missing": "no such file",
    "truncated": "truncated",
    "empty": "empty file",
    "text": "not an HDF5 file",
    "folder": "is a directory",
    "another kind": "not a tabstar_lit.events file",
    "a newer version": "layout version 2, this release reads 1",
    "a lost column": "'/events/ht' is missing",
    "no metadata": "metadata",
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the toy and all that was made wrong of it."""
    folder = tmp_path_factory.mktemp("events")
    good = toy_events(folder / "toy.h5", N_EVENTS).path
    schema, chunk = read_all(good)
    for name, change in WRITTEN.items():
        write(folder / f"{name}.h5", *change(schema, chunk))
    for name, (path, rows, value) in CHANGED.items():
        shutil.copyfile(good, folder / f"{name}.h5")
        with h5py.File(folder / f"{name}.h5", "r+") as file:
            values = file[path][()]
            values[rows] = value
            file[path][...] = values
    return folder


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in a folder from which the events are seen as data."""
    (tmp_path / "data").symlink_to(prepared)
    monkeypatch.chdir(tmp_path)
    return tmp_path


# -- names and numbers that fit neither events nor network -------------------------------------------------------------

SAMPLER = f"{DATA}.dataset_kwargs={{imbalanced_sampler: RandomResampleToTarget, imbalanced_sampler_kwargs: "
UNWEIGHTED = tuple(f"{DATA}.{key}=false" for key in ("use_mc_weights", "use_class_weights", "norm_class_weights"))
STREAMED = f"{DATA}.cache=stream"
UNBALANCED = (f"{DATA}.use_class_weights=false", f"{DATA}.norm_class_weights=false")
SETTINGS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # what is wrong: the settings, the words of the answer
    "unknown feature": ((f"{DATA}.features=[mett]",), ("dataset_config.features", "Did you mean 'met'")),
    "unknown object feature": ((f"{DATA}.features=[jets.ptt]",), ("'jets' have no column 'ptt'", "mean 'pt'")),
    "unknown objects": ((f"{DATA}.features=[jest.pt]",), ("'jest.pt'", "Did you mean 'jets.pt'")),
    "unknown spectator": ((f"{DATA}.spectators=[masss]",), ("dataset_config.spectators", "Did you mean 'mass'")),
    "unknown class": ((f"{DATA}.classes=[background, signl]",), ("dataset_config.classes", "Did you mean 'signal'")),
    "unknown signal": ((f"{DATA}.signal=signl",), ("dataset_config.signal", "Did you mean 'signal'")),
    "one class": ((f"{DATA}.classes=[{{all: [background, signal]}}]",), ("needs two classes", "['all']")),
    "label in two classes": ((f"{DATA}.classes=[background, {{signal: [signal, background]}}]",), ("twice",)),
    "unknown objects to count": ((f"{DATA}.max_objects={{jet: 3}}",), ("max_objects", "Did you mean 'jets'")),
    "unknown objects to order": ((f"{DATA}.order_by={{jet: pt}}",), ("order_by", "Did you mean 'jets'")),
    "unknown column to order": ((f"{DATA}.order_by={{jets: ptt}}",), ("order_by", "Did you mean 'pt'")),
    "unknown momentum": (
        (PARTICLES, f"{DATA}.momenta={{jets: [pt, eta, phi, energi]}}"),
        ("dataset_config.momenta.jets", "Did you mean 'energy'"),
    ),
    "unknown feature to scale": (
        (f"{DATA}.feature_scaling.per_feature={{mett: standard}}",),
        ("per_feature", "Did you mean 'met'"),
    ),
    "unknown scaler": ((f"{DATA}.feature_scaling.numer_scaler_type=standart",), ("Did you mean 'standard'",)),
    "unknown scaler argument": (
        (f"{DATA}.feature_scaling.scaler_params={{n_quantile: 3}}",),
        ("scaler_params", "'n_quantile'", "with_mean"),
    ),
    "missing numbers refused": ((f"{DATA}.missing=error",), ("column 'm_jj'", "rows ", "dataset_config.missing")),
    "nothing to validate on": ((f"{DATA}.split.val=0",), (f"{DATA}.split.val=0", "such as 0.1")),
    "nothing to train on": ((f"{DATA}.split.val=0.9",), ("nothing is trained on",)),
    "a fold too many": ((f"{DATA}.folds={{n: 3, fold: 3}}",), ("numbered 0 to 2",)),
    "balanced twice": (
        (f"{DATA}.dataset_kwargs.imbalanced_sampler=RandomOverSampler",),
        ("class weights and an imbalanced_sampler",),
    ),
    "unknown class to resample": (
        (*UNBALANCED, f"{SAMPLER}{{sampling_strategy: {{signl: 9}}}}}}"),
        ("sampling_strategy", "Did you mean 'signal'"),
    ),
    "no whole batch": (
        (f"{DATA}.dataloader_kwargs.batch_size=5000", f"{DATA}.dataset_kwargs.drop_last=true"),
        ("batch_size", "drop_last: false"),
    ),
    "unknown disco variable": (
        (f"{TRAINING}.disco={{variables: [masss], lambda: 1}}",),
        ("disco", "'masss'", "Did you mean 'mass'"),
    ),
    "disco without strength": ((f"{TRAINING}.disco={{variables: [mass]}}",), ("'lambda' is missing",)),
    "unknown loss": ((f"{TRAINING}.loss=bcee",), (f"{TRAINING}.loss=bcee", "Did you mean 'bce'")),
    "loss for two classes": (
        (f"{DATA}.files=three.h5", ALL_CLASSES, f"{TRAINING}.loss=bce"),
        ("bce is for two classes and there are 3", "Use ce"),
    ),
    "unknown loss parameter": (
        (f"{TRAINING}.loss={{loss_name: sigmoid_focal, loss_params: {{gama: 2}}}}",),
        ("'gama'", "Did you mean 'gamma'"),
    ),
    "weights for a loss of batches": ((f"{TRAINING}.loss=diceloss",), ("cannot weigh events", "focalloss")),
    "unknown monitor": ((f"{TRAINING}.monitor=val_auc",), ("monitor=val_auc", "Did you mean 'val_auroc'")),
    "unknown class in a figure": (
        ("plotting_config={groups: {rest: [signl]}}",),
        ("plotting_config.groups.rest", "Did you mean 'signal'"),
    ),
    "unknown variable in a figure": (
        ("plotting_config={sculpting: [masss]}",),
        ("plotting_config.sculpting", "Did you mean 'mass'"),
    ),
    "unknown figure": (("plotting_config={figures: [rocc]}",), ("Did you mean 'roc'",)),
    "unknown network": ((f"{ARCHITECTURE}.model=SetTransfomer",), ("Did you mean 'SetTransformer'",)),
    "unknown activation": ((*MLP, f"{ARCHITECTURE}.act=ReLUU"), ("act", "ReLUU", "Did you mean 'ReLU'")),
    "too many outputs": ((*MLP, f"{ARCHITECTURE}.output_dim=3"), ("output_dim is 3", "needs 1", "leave it out")),
    "bins not given": (
        (f"{ARCHITECTURE}.embeddings={{ple: true}}", f"{DATA}.ple_bins=null"),
        ("ple_bins", "such as 32"),
    ),
    "flat network, jagged features": ((f"{MODEL}=signal/mlp",), ("reads event features only", "SetTransformer")),
    "jagged network, flat features": (
        (PARTICLES, f"{DATA}.features=[met]"),
        ("ParticleTransformer needs objects", "DeepSets"),
    ),
    "an unknown strategy": (("experiment_config.strategy=os.system",), ("strategy", "no strategy 'os.system'", "ddp")),
    "particles without momenta": (
        (PARTICLES, f"{DATA}.files=without_momenta.h5"),
        ("without_momenta.h5", "they have pt, btag", "dataset_config.momenta"),
    ),
    "unknown particles": (
        (PARTICLES, f"{ARCHITECTURE}.particle_attention.objects=[jet]"),
        ("particle_attention.objects", "Did you mean 'jets'"),
    ),
    "an ensemble to fuse": (
        (f"{ARCHITECTURE}.flat_model={{model: MLP, ensemble: {{members: 3}}}}",),
        ("flat_model.ensemble", "leave it out"),
    ),
    "unknown module to freeze": ((f"{MODEL}.freeze=[objcts.*]",), ("freeze", "'objcts.*'", "objects")),
    "all weights zero": ((f"{DATA}.files=weightless.h5",), ("weightless.h5", "all events are zero", "use_mc_weights")),
    "signal weights zero": ((f"{DATA}.files=weightless_signal.h5",), ("all 'signal' events are zero",)),
    "metrics without weights": (
        (*UNWEIGHTED, f"{DATA}.files=weightless.h5"),
        ("weightless.h5: val split", "class 'background' sum to 0", "another weight, or without one"),
    ),
    "metrics of a negative sum": (
        (*UNWEIGHTED, f"{DATA}.files=cancelling.h5"),
        ("cancelling.h5: val split", "class 'signal' sum to -", "data show", "dataset_config.split"),
    ),
    "metrics of a weight that is none": (
        (*UNWEIGHTED, f"{DATA}.files=weight_nan.h5"),
        ("weight_nan.h5: 2 event weights", "rows 7, 500"),
    ),
    "a policy without use": (
        (*UNWEIGHTED, f"{DATA}.negative_weights=absolute"),
        (f"{DATA}.negative_weights=absolute", "use_mc_weights is false"),
    ),
    "arguments without a sampler": (
        (f"{DATA}.dataset_kwargs.imbalanced_sampler_kwargs={{sampling_strategy: minority}}",),
        ("imbalanced_sampler_kwargs", "imbalanced_sampler, which is null"),
    ),
    "a scaler for a category": (
        (f"{DATA}.feature_scaling.per_feature={{jets.btag: standard}}",),
        ("per_feature: 'jets.btag' is categorical", "Leave it out", "categ_scaler_type: null"),
    ),
    "arguments of another scaler": (
        (f"{DATA}=signal/higgsml", *MLP, f"{DATA}.feature_scaling.numer_scaler_type=standard"),
        ("no argument 'output_distribution'", "dropped with dataset_config.feature_scaling.scaler_params=null"),
    ),
    "a category to carry along": (
        (*MLP, f"{DATA}.files=process.h5", f"{DATA}.spectators=[process]"),
        ("column 'process'", "A spectator, and a variable of disco, must be numerical"),
    ),
    "a category to decorrelate": (
        (*MLP, f"{DATA}.files=process.h5", f"{TRAINING}.disco={{variables: [process], lambda: 1}}"),
        ("column 'process'", "A spectator, and a variable of disco, must be numerical"),
    ),
    "a pattern to decorrelate": (
        (*MLP, f"{TRAINING}.disco={{variables: ['m_*'], lambda: 1}}"),
        ("disco.variables: 'm_*'", "list the names"),
    ),
    "a streamed category that is missing": (
        (*MLP, f"{DATA}.files=process.h5", f"{DATA}.features=[process]", f"{DATA}.missing=error", STREAMED),
        ("column 'process': 1 values are missing", "dataset_config.missing", "rows 9"),
    ),
    "Inf in a streamed spectator": ((f"{DATA}.files=spectator_inf.h5", STREAMED), ("column 'mass': 1", "rows 500")),
    "Inf in a streamed momentum": (
        (PARTICLES, f"{DATA}.files=object_inf.h5", f"{DATA}.features=[jets.pt]", STREAMED),
        ("column 'jets.energy': 2", "rows 7, 900"),
    ),
    "one class in the file": (
        (f"{DATA}.files=one_class.h5", ALL_CLASSES),
        ("all events are of one class, 'zz'", "needs two"),
    ),
    "a pattern of nothing": ((f"{DATA}.features=[met, mt*]",), ("dataset_config.features", "no column 'mt*'")),
    "no weights": ((f"{DATA}.files=unweighted.h5",), ("the events have no weights", "use_mc_weights: false")),
    "negative weights": (
        (f"{DATA}.files=negative.h5",),
        ("negative.h5: 6 of 600", "rows 3, 103, 203", "negative_weights: absolute, zero or drop"),
    ),
    "weight not a number": ((f"{DATA}.files=weight_nan.h5",), ("weight_nan.h5: 2 event weights", "rows 7, 500")),
    "class absent from a split": (
        (f"{DATA}.files=rare.h5", ALL_CLASSES),
        ("split has no events of class 'rare'", "dataset_config.split"),
    ),
    "events without labels": ((f"{DATA}.files=unlabelled.h5",), ("unlabelled.h5: the events have no labels",)),
    "feature nowhere known": ((f"{DATA}.files=unknown.h5",), ("unknown.h5: column 'm_jj'", "leave it out")),
    "NaN in a feature": ((f"{DATA}.files=nan.h5",), ("nan.h5: column 'met': 2", "rows 7, 500")),
    "NaN in a streamed feature": (
        (f"{DATA}.files=nan.h5", f"{DATA}.cache=stream"),
        ("nan.h5: column 'met': 2", "rows 7, 500"),
    ),
    "Inf in a feature": ((f"{DATA}.files=inf.h5",), ("inf.h5: column 'met': 3", "rows 7, 300, 500")),
    "NaN in an object": ((f"{DATA}.files=object_nan.h5",), ("column 'jets.pt': 2", "rows 7, 900")),
    "Inf in a momentum": (
        (PARTICLES, f"{DATA}.files=object_inf.h5", f"{DATA}.features=[jets.pt]"),
        ("column 'jets.energy': 2", "rows 7, 900"),
    ),
    "Inf in a spectator": ((f"{DATA}.files=spectator_inf.h5",), ("column 'mass': 1", "rows 500")),
    "damaged offsets": ((f"{DATA}.files=offsets.h5",), ("offsets of 'jets'", "convert events")),
    "damaged labels": ((f"{DATA}.files=label.h5",), ("label.h5: labels are none of the 2", "convert events")),
    "damaged categories": ((f"{DATA}.files=category.h5",), ("column 'jets.btag': 1", "rows 5")),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_what_does_not_fit_is_named(case: str, workplace: Path) -> None:
    settings, words = SETTINGS[case]
    assert_training_is_refused(workplace, settings, *words)


@pytest.mark.parametrize("kind", BROKEN)
def test_an_event_file_that_is_none_is_named(kind: str, prepared: Path, workplace: Path) -> None:
    BROKEN[kind](prepared / "toy.h5", workplace / "wrong.h5")
    assert_training_is_refused(workplace, (f"{DATA}.files=wrong.h5",), "wrong.h5", KINDS_TOLD[kind])


@pytest.mark.parametrize("release", ["older", "this"])
def test_checking_with_toys_writes_nothing_where_they_belong(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    monkeypatch.setenv("ANALYSIS_ML_DATA_DIR", str(root))
    with monkeypatch.context() as older:
        older.setattr(toys, "TOY_VERSION", toys.TOY_VERSION - (release == "older"))
        toy = toy_events(root / "signal_toy.h5", N_EVENTS).path
    content = toy.read_bytes()
    done = invoke(train_signal, "--check", *MLP)
    assert done.exit_code == 0, done.output
    assert (files(root), toy.read_bytes()) == ({"signal_toy.h5"}, content)


def test_other_events_in_the_place_of_the_toys_are_left_alone(
    prepared: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = workplace / "root"
    root.mkdir()
    content = shutil.copyfile(prepared / "negative.h5", root / "signal_toy.h5").read_bytes()
    monkeypatch.setenv("ANALYSIS_ML_DATA_DIR", str(root))
    for option in (["--check"], []):
        done = invoke(train_signal, *option, *SHORT[1:], *MLP)
        assert_refused(done, "signal_toy.h5: holds other events", "Move it", "dataset_config.files=signal_toy.h5")
    assert (root / "signal_toy.h5").read_bytes() == content


def test_a_scaler_is_changed_by_one_key_more_where_a_file_gives_arguments() -> None:
    scaling = f"{DATA}.feature_scaling"
    changed = (f"{DATA}=signal/higgsml", f"{scaling}.numer_scaler_type=standard")
    for dropped in (f"{scaling}.scaler_params=null", f"~{scaling}.scaler_params"):
        done = invoke(train_signal, "--check", *SHORT, *MLP, *changed, dropped)
        assert done.exit_code == 0, done.output


@pytest.mark.parametrize("policy", ["absolute", "zero", "drop"])
def test_negative_weights_train_under_a_policy(policy: str) -> None:
    done = invoke(
        train_signal, "--check", *SHORT, *MLP, f"{DATA}.files=negative.h5", f"{DATA}.negative_weights={policy}"
    )
    assert done.exit_code == 0, done.output


# -- mistakes in the files a user edits --------------------------------------------------------------------------------

MLP_FILE, TOY_FILE = "model_config/signal/mlp.yaml", "dataset_config/signal/toy.yaml"
EDITED = {
    # what was typed wrong: the file, its text, what stands there instead, the answer
    "misspelt in architecture": (MLP_FILE, "  n_hidden:", "  n_hiden:", "Did you mean 'n_hidden'"),
    "misspelt in embeddings": (MLP_FILE, "    reduction:", "    reductoin:", "Did you mean 'reduction'"),
    "unknown reduction": (MLP_FILE, "    reduction: ", "    reduction: meen # ", "Did you mean 'mean'"),
    "key of another network": (MLP_FILE, "  dropout:", "  encoder_depth: 2\n  dropout:", "unknown key 'encoder_depth'"),
    "misspelt in disco": (MLP_FILE, "  disco: ", "  disco: {variables: [mass], lamda: 1} # ", "Did you mean 'lambda'"),
    "unknown loss": (MLP_FILE, "  loss: ", "  loss: {loss_name: bces} # ", "Did you mean 'bce'"),
    "misspelt in dataset": (TOY_FILE, "spectators:", "spectator:", "Did you mean 'spectators'"),
    "misspelt in split": (TOY_FILE, "  calib:", "  calibration:", "Did you mean 'calib'"),
    "unknown missing": (TOY_FILE, "missing: ", "missing: median # ", "mean"),
    "text for a share": (TOY_FILE, "  val: ", "  val: some # ", "expected a number"),
}


@pytest.mark.parametrize("case", EDITED)
def test_a_mistake_in_an_edited_file_is_located(case: str, repository: Path, workplace: Path) -> None:
    name, old, new, words = EDITED[case]
    for file in (MLP_FILE, TOY_FILE):
        (workplace / file).parent.mkdir(parents=True)
        shutil.copyfile(repository / file, workplace / file)
    text = (workplace / name).read_text()
    assert f"\n{old}" in text, f"{old!r} is no longer in the shipped file"
    (workplace / name).write_text(text.replace(f"\n{old}", f"\n{new}", 1))
    line = text[: text.index(f"\n{old}") + 1].count("\n") + 1
    before = files(workplace)
    assert_refused(invoke(train_signal, *SHORT, f"{MODEL}=signal/mlp"), f"{name}:{line}:", words)
    assert files(workplace) == before


# -- conversion --------------------------------------------------------------------------------------------------------

TABLE = "x,w,kind,id\n" + "".join(f"{i}.5,1.0,{'ab'[i % 2]},{i}\n" for i in range(20))
CONVERSION = """\
sources:
- file: events.csv
  label: {background: kind == 'a', signal: kind == 'b'}
weight: w
event_id: id
columns:
  x: {unit: GeV}
"""
ROOT = "sources:\n- {file: events.root, tree: tree, label: a}\ncolumns: {x: x}\n"
CONVERSIONS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "unknown weight": (CONVERSION.replace("weight: w", "weight: ww"), TABLE, ("c.yaml:4:1", "Did you mean 'w'")),
    "unknown column": (CONVERSION.replace("  x:", "  xx:"), TABLE, ("c.yaml:7", "'xx'", "Did you mean 'x'")),
    "misspelt key": (CONVERSION.replace("columns:", "colums:"), TABLE, ("c.yaml:6:1", "Did you mean 'columns'")),
    "no code is run": (
        CONVERSION.replace("kind == 'a'", "__import__('os').system('touch EXECUTED')"),
        TABLE,
        ("c.yaml:3:11", "no function"),
    ),
    "a NaN": (CONVERSION, TABLE.replace("\n7.5", "\nnan"), ("events.csv: column 'x': 1", "rows 7", "nullable")),
    "an infinity": (CONVERSION, TABLE.replace("\n7.5", "\ninf"), ("events.csv: column 'x': 1", "rows 7")),
    "an unlabelled event": (CONVERSION, TABLE.replace("1.0,b,7", "1.0,c,7"), ("no rule holds", "7")),
    "no tree": (ROOT, TABLE, ("events.root: no tree 'tree'", "other")),
    "no branch": (ROOT.replace("tree: tree", "tree: other").replace("x: x", "x: xx"), TABLE, ("c.yaml", "'xx'")),
    "no ROOT file": (ROOT.replace("events.root", "events.csv, format: root"), TABLE, ("events.csv", "not a ROOT file")),
    "nothing": ("", TABLE, ("c.yaml",)),
}


@pytest.mark.parametrize("case", CONVERSIONS)
def test_a_conversion_that_cannot_be_done_says_why(case: str, workplace: Path) -> None:
    config, table, words = CONVERSIONS[case]
    (workplace / "c.yaml").write_text(config)
    (workplace / "events.csv").write_text(table)
    with uproot.recreate(workplace / "events.root") as file:
        file["other"] = {"x": np.arange(5.0)}
    before = files(workplace)
    assert_refused(invoke(main, "convert", "events", "c.yaml", "-o", "out.h5"), *words)
    assert files(workplace) == before


# -- after training ----------------------------------------------------------------------------------------------------


TRAINED_ON = (
    *MLP,
    ALL_CLASSES,
    f"{DATA}.files=three.h5",
    f"{DATA}.split.calib=0",
    f"{DATA}.feature_scaling.per_feature={{ht: quantile}}",
    f"{TRAINING}.loss=ce",
)


@pytest.fixture(scope="module")
def checkpoint(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of an MLP of two features and three classes, trained without a calibration split."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = invoke(train_signal, *SHORT, *TRAINED_ON, f"{DATA}.files={prepared / 'three.h5'}")
    assert done.exit_code == 0, done.output
    return next(folder.rglob("run_last.ckpt"))


VERBS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    # what is wrong: the command after the checkpoint, the words of the answer
    "predict: no file": (("predict", "CKPT", "no.h5", "-o", "out"), ("no.h5: no such file",)),
    "predict: a lost feature": (("predict", "CKPT", "lost.h5", "-o", "out"), ("lost.h5", "'met'", "mean 'mett'")),
    "predict: NaN": (("predict", "CKPT", "data/nan.h5", "-o", "out"), ("column 'met': 2", "rows 7, 500")),
    "predict: unknown split": (("predict", "CKPT", "data/toy.h5", "-o", "out", "--split", "tst"), ("mean 'test'",)),
    "predict: empty split": (
        ("predict", "CKPT", "data/toy.h5", "-o", "out", "--split", "calib"),
        ("calib split has no events",),
    ),
    "predict: no device": (("predict", "CKPT", "data/toy.h5", "-o", "out", "--device", "gpuu"), ("--device gpuu",)),
    "predict: shouted": (("predict", "CKPT", "data/toy.h5", "-o", "out", "--device", "AUTO"), ("--device AUTO",)),
    "predict: no folder": (("predict", "CKPT", "data/toy.h5", "-o", "text/out"), ("text/out", "give another output")),
    "predict: no checkpoint": (("predict", "nowhere.ckpt", "data/toy.h5", "-o", "out"), ("'nowhere.ckpt'",)),
    "predict: text": (("predict", "text", "data/toy.h5", "-o", "out"), ("text is not a usable checkpoint",)),
    "calibrate: no events": (("calibrate", "CKPT", "-o", "out"), ("split.calib=0.1", "--data FILE --split all")),
    "calibrate: a class without": (
        ("calibrate", "CKPT", "-o", "out", "--data", "data/toy.h5", "--split", "all"),
        ("class 'other' has no events",),
    ),
    "calibrate: unknown method": (("calibrate", "CKPT", "-o", "out", "-m", "platt"), ("'temperature'", "'matrix'")),
    "calibrate: no file": (("calibrate", "CKPT", "-o", "out", "--split", "all"), ("name it with --data",)),
    "calibrate: itself": (
        ("calibrate", "CKPT", "-o", "CKPT", "--data", "data/three.h5", "--split", "all"),
        ("is the checkpoint itself", "another output"),
    ),
    "calibrate: text": (("calibrate", "text", "-o", "out"), ("text is not a usable checkpoint",)),
    "export: a scaler no graph has": (
        ("export", "CKPT", "--onnx", "--raw", "-o", "out"),
        ("feature 'ht' is scaled by 'quantile'", "Export without --raw", "standard"),
    ),
    "export: weights take no scaling": (("export", "CKPT", "--safetensors", "--raw", "-o", "out"), ("--onnx",)),
    "export: no folder": (("export", "CKPT", "-o", "text/out"), ("text/out", "give another output")),
    "export: another family": (
        ("export", "another.ckpt", "-o", "out"),
        ("another.ckpt keeps no architecture_config",),
    ),
    "export: text": (("export", "text", "-o", "out"), ("text is not a usable checkpoint",)),
}


@pytest.mark.parametrize("case", VERBS)
def test_a_checkpoint_is_not_used_where_it_cannot_be(case: str, checkpoint: Path, workplace: Path) -> None:
    arguments, words = VERBS[case]
    (workplace / "text").write_text("not a checkpoint")
    torch.save({"tabstar_lit": {"payload": {"family": "tabstar"}}}, workplace / "another.ckpt")
    schema, chunk = read_all(workplace / "data/toy.h5")
    renamed = {"mett" if name == "met" else name: replace(info, name="mett" if name == "met" else name)
               for name, info in schema.columns.items()}  # fmt: skip
    write(
        workplace / "lost.h5",
        replace(schema, columns=renamed),
        replace(chunk, columns={**chunk.columns, "mett": chunk.columns["met"]}),
    )
    before = files(workplace)
    assert_refused(invoke(main, *(checkpoint if word == "CKPT" else word for word in arguments)), *words)
    assert files(workplace) == before


EVALUATED: dict[str, tuple[tuple[str, ...], str]] = {
    "more features": ((f"{DATA}.features=[met, ht, n_jets]",), "do not fit the network"),
    "another order": ((f"{DATA}.features=[ht, met]",), "in another order"),
    "another order of classes": ((f"{DATA}.classes=[signal, background, other]",), "other classes"),
    "another split": ((f"{DATA}.split.seed=1",), "other training events"),
    "other events": ((f"{DATA}.files=three_more.h5",), "other training events"),
}


@pytest.mark.parametrize("case", EVALUATED)
def test_a_checkpoint_is_not_evaluated_on_what_it_was_not_trained_for(
    case: str, checkpoint: Path, workplace: Path
) -> None:
    settings, words = EVALUATED[case]
    schema, chunk = read_all(workplace / "data/three.h5")
    write(workplace / "three_more.h5", schema, replace(chunk, columns={**chunk.columns, "met": chunk.columns["ht"]}))
    before = files(workplace)
    done = invoke(train_signal, *SHORT, *TRAINED_ON, f"{MODEL}.load_checkpoint={checkpoint}", *settings)
    assert_refused(done, words)
    assert files(workplace) == before
