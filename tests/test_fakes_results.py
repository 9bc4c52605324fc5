"""Quality of fake factors: scores are those of the finished ratio, on the events they claim, and the page says so."""

from __future__ import annotations

import gzip
import itertools
import json
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from benchmarks import coverage, fakes_estimate, fakes_results, results, signal_results
from benchmarks.counted import counted_pulls
from benchmarks.coverage_page import calibration, scores
from benchmarks.fakes_estimate import BINS, Estimate, binned_error, estimate
from benchmarks.prompt_rich import agreement, write_prompt_rich
from click.testing import CliRunner, Result

from tabstar_lit.families.hep.events.file import EventFile
from tabstar_lit.families.hep.fakes.ensemble import Ensemble, over_heads
from tabstar_lit.families.hep.fakes.factor.factors import RegionEvents
from tabstar_lit.families.hep.fakes.toy.closed_form import form_of
from tabstar_lit.families.hep.fakes.toy.config import TOYS, FakesToy, Variables
from tabstar_lit.families.hep.fakes.toy.events import toy_fakes
from tabstar_lit.families.hep.fakes.tracking.reweighted import Reweighted
from tabstar_lit.families.hep.preparation.preprocess import EventReader

N_EVENTS = 3000
SHORT = (
    "model_config.training_config.max_epochs=1",
    "model_config.architecture_config.layers_dim=[8]",
    "model_config.architecture_config.ensemble={heads: 2, hidden_dims: [4]}",
    "dataset_config.dataloader_kwargs.batch_size=512",
    "experiment_config.tqdm_refresh_rate=0",
    "experiment_config.tracker=none",
)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let experiments train for a moment on few events, in a fresh folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "PAGE", tmp_path / "docs" / "results.md")
    monkeypatch.setattr(coverage, "SAMPLES", {"toy2d": 2, "toy": 2, "prompt": 1, "negative": 1})
    train, made = fakes_estimate.train, fakes_estimate.ensure_toy_fakes
    for module in (coverage, fakes_estimate, fakes_results):
        monkeypatch.setattr(module, "train", lambda family, overrides: train(family, (*overrides, *SHORT)))
    monkeypatch.setattr(
        fakes_estimate, "ensure_toy_fakes", lambda path, toy: made(path, replace(toy, n_events=N_EVENTS))
    )


@pytest.fixture
def estimates(monkeypatch: pytest.MonkeyPatch) -> list[Estimate]:
    """Remember the estimates that an experiment makes."""
    made: list[Estimate] = []

    def remembered(toy: FakesToy, *overrides: str, figures: bool = False) -> Estimate:
        made.append(estimate(toy, *overrides, figures=figures))
        return made[-1]

    for module in (coverage, fakes_results):
        monkeypatch.setattr(module, "estimate", remembered)
    return made


def measure(name: str) -> Result:
    done = CliRunner().invoke(results.main, [name], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


def printed(done: Result) -> dict[str, str]:
    return dict(line[7:].split("=") for line in done.stdout.splitlines() if line.startswith("RESULT "))


@pytest.mark.usefixtures("small")
def test_toys_are_averaged(estimates: list[Estimate]) -> None:
    told = {name.removeprefix("fakes."): float(value) for name, value in printed(measure("fakes_toys")).items()}
    first, second = estimates
    assert [one.trained.files.record["seed"] for one in estimates] == [0, 1]
    assert first.scores["logerror"] != second.scores["logerror"]
    means = {
        "coverage_1sigma": [one.scores["coverage1"] for one in estimates],
        "coverage_2sigma": [one.scores["coverage2"] for one in estimates],
        "toy_bce_logerror": [one.scores["logerror"] for one in estimates],
        "closure_chi2ndf": [one.chi2["pt"] for one in estimates],
    }
    # Of up to a thousand of the loose data, of which there are hardly more here.
    for name, (one, other) in means.items():
        assert told[name] == pytest.approx((one + other) / 2, abs=2e-2 if name != "closure_chi2ndf" else 1e-4)
    by_bins = [(first.binned_errors[n] + second.binned_errors[n]) / 2 for n in BINS]
    assert told["toy_binned_logerror"] == pytest.approx(min(by_bins), abs=1e-4)


@pytest.mark.usefixtures("small")
def test_scores_are_those_of_the_best_checkpoint_on_loose_data() -> None:
    one = estimate(FakesToy())
    stage = one.trained.files.record["stages"]["ratio"]
    assert one.model.path.name == Path(stage["best_checkpoint"]).name
    file = EventFile.open(Path("data/fakes_pt_0.h5"))
    loose = np.flatnonzero(file.labels() == file.classes.index("loose_data"))
    pt = file.read(["pt"])["pt"][loose].astype(np.float64)
    low, high = np.quantile(pt, [0.01, 0.99])
    events = EventReader(one.model.preprocessor, file).block(0, file.n_events).select(torch.from_numpy(loose))
    logs = one.model.log_ratios(events).double().numpy()
    truth = np.log(form_of(FakesToy(n_events=N_EVENTS)).factor(pt[:, None]))
    distance = np.abs(np.log(np.exp(logs).mean(axis=1)) - truth)  # ratios are averaged as shipped
    inside = (pt >= low) & (pt <= high)
    assert one.scores["logerror"] == pytest.approx(distance[inside].mean())
    assert one.scores["coverage2"] == pytest.approx((distance < 2 * logs.std(axis=1, ddof=1))[inside].mean())


def test_binned_error_of_a_factor_known_by_hand() -> None:
    """Two bins that hold 8 tight over 10 loose and 2 over 10 of them: F is 0.8 and 0.2."""
    loose = np.concatenate([np.linspace(10, 19, 10), np.linspace(30, 39, 10)])
    tight = np.concatenate([np.linspace(10, 19, 8), np.linspace(30, 39, 2)])
    pt = np.concatenate([loose, tight])
    is_tight = np.arange(30) >= 20
    training = RegionEvents(MagicMock(), np.arange(30), is_tight, np.zeros(30, dtype=bool), np.ones(30), 0)
    at = torch.tensor([[12.0], [15.0], [35.0]], dtype=torch.float64)
    rows = {"log_ratios": torch.zeros(3, 1), "targets": torch.zeros(3), "variables": at}
    applied = Reweighted.of(rows, names=["pt"], role="ratio")
    truth = np.log([0.8, 0.4, 0.2])
    # The outermost of the three lie beyond the central 98 % of their pt.
    assert binned_error({"pt": pt}, training, applied, truth, 2) == pytest.approx(math.log(2))


@pytest.mark.usefixtures("small")
def test_every_other_loss_is_trained(estimates: list[Estimate], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fakes_results, "RATIO_LOSSES", dict.fromkeys(("bce", "exp", "kliep")))
    told = printed(measure("fakes_losses"))
    assert list(told) == ["fakes.toy_exp_logerror", "fakes.toy_kliep_logerror"]
    assert [one.model.config["loss"] for one in estimates] == ["exp", "kliep"]
    assert float(told["fakes.toy_kliep_logerror"]) == pytest.approx(estimates[1].scores["logerror"], abs=1e-4)


@pytest.mark.usefixtures("small")
def test_two_variables_with_their_figure(estimates: list[Estimate], tmp_path: Path) -> None:
    told = printed(measure("fakes_toy2d"))
    (one,) = estimates
    assert set(one.model.variables) == {"pt", "abs_eta"}
    assert float(told["fakes.toy2d_binned_logerror"]) == pytest.approx(min(one.binned_errors.values()), abs=1e-4)
    assert (tmp_path / "docs/images/results/fakes_toy2d_factor.png").stat().st_size > 1000


@pytest.mark.usefixtures("small")
def test_coverage_is_averaged_over_toys_with_negative_weights(estimates: list[Estimate]) -> None:
    told = printed(measure("fakes_coverage"))
    assert [one.trained.files.record["seed"] for one in estimates] == [0, 1]
    mean = sum(one.scores["coverage2"] for one in estimates) / 2
    assert float(told["fakes.coverage2d_2sigma"]) == pytest.approx(mean, abs=2e-2)
    assert 0 < float(told["fakes.coverage2d_sigma"]) < 1


def heads_of(logs: np.ndarray, ensemble: Ensemble) -> dict[str, np.ndarray]:
    """What is kept of heads ``[n, C]`` and of how they are taken together."""
    known = over_heads(torch.from_numpy(logs), ensemble)
    told = np.array(json.dumps(ensemble._asdict()))
    return {"logs": logs, "mean": known.mean.numpy(), "std": known.std.numpy(), "ensemble": told}


def test_sigma_is_taken_apart_where_its_parts_are_known() -> None:
    """Heads scatter by 0.3, of which training makes 0.1; samples by as much as the rest; and all are off by 0.3."""
    rng = np.random.default_rng(0)

    def sample() -> dict[str, np.ndarray]:
        points = rng.uniform(0, 1, (200, 1))
        ours = rng.normal(0, math.sqrt(0.08), 20)
        heads = np.concatenate([ours, ours[:10]]) + rng.normal(0, 0.1, 30)
        off = rng.normal(0, math.sqrt(0.08)) + 0.3
        logs = np.tile(heads - heads.mean() + off, (200, 1))
        heads_told = heads_of(logs, Ensemble(spread="student", twins=10))
        return {**heads_told, "truth": np.zeros(200), "points": points, "weights": np.ones(200)}

    rows = [sample() for _ in range(400)]
    told = calibration(rows)
    sigma = 0.3 * math.sqrt(19 / 17 * (1 + 50 / 30**2))  # 20 samples are few, and their mean scatters
    assert told["sigma"] == pytest.approx(sigma, rel=0.05)
    assert told["sampling"] == pytest.approx(math.sqrt(sigma**2 - 0.1**2), rel=0.05)
    assert told["training"] == pytest.approx(0.1, rel=0.05)
    assert told["spread"] == pytest.approx(math.sqrt(0.08), rel=0.1)
    assert told["bias"] == pytest.approx(0.3, rel=0.2)
    assert told["bias_by_chance"] == pytest.approx(told["spread"] / 20)
    assert told["edges"] == pytest.approx(0.3 / sigma, rel=0.25)
    covered = [scores(row)["coverage2"] for row in rows]
    assert 0.8 < np.mean(covered) < 0.94


@pytest.mark.parametrize("variables", TOYS)
def test_errors_of_the_counted_factor_are_right(tmp_path: Path, variables: Variables) -> None:
    """Over 20 toys the squares of the pulls are 1 in the mean, known to 0.1 or better."""
    squares = []
    for seed in range(20):
        toy = FakesToy(variables=variables, n_events=40_000, seed=seed, mc_weights="normal", poisson=True)
        file, form = toy_fakes(tmp_path / f"{seed}.h5", toy), form_of(toy)
        names = np.array(file.classes)[file.labels()]
        signed = np.where(np.char.endswith(names, "mc"), -1, 1) * file.weights()
        columns = {name: file.column(name).astype(np.float64) for name in form.columns}
        at = {name: values[:20_000] for name, values in columns.items()}
        pulls = counted_pulls(columns, signed, np.char.startswith(names, "tight"), form, at)
        squares.append(np.nanmean(np.square(pulls)))
    assert np.mean(squares) == pytest.approx(1, abs=0.25)


@pytest.mark.usefixtures("small")
def test_prompt_rich_samples_with_and_without_negative_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    written = partial(write_prompt_rich, share=0.02)
    monkeypatch.setattr(coverage, "write_prompt_rich", written)
    monkeypatch.setattr(coverage, "agreement", partial(agreement, share=0.02))
    told = printed(measure("fakes_prompt_rich"))
    for name in ("prompt_rich", "negative_weights"):
        ratio, worst = (float(told[f"fakes.{name}_{which}"]) for which in ("fakes_ratio", "worst_head"))
        assert math.isfinite(float(told[f"fakes.{name}_logerror"]))
        assert ratio == float(told[f"fakes.{name}_worst_fakes_ratio"])  # of one sample
        assert worst >= 0


@pytest.mark.usefixtures("small")
def test_probes_of_both_electrons_stay_together(
    tmp_path: Path, shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "hep/fakes_zee_probes.csv.gz"
    (tmp_path / "events/hep").mkdir(parents=True)
    with gzip.open(shared_data / name, "rt") as source, gzip.open(tmp_path / "events" / name, "wt") as target:
        target.writelines(itertools.islice(source, 2001))
    monkeypatch.setenv(signal_results.DATA_VARIABLE, str(tmp_path / "events"))
    told = {key: float(value) for key, value in printed(measure("fakes_zee")).items()}
    worst = told.pop("fakes.zee_chi2ndf")
    assert set(told) == {f"fakes.zee_chi2ndf_{name}" for name in ("pt", "eta", "mee")}
    assert worst == max(told.values())
    text = results.PAGE.read_text(encoding="utf-8")
    assert "2000 electrons" in text
    assert str(tmp_path) not in text


def test_without_the_probes_nothing_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(signal_results.DATA_VARIABLE, str(tmp_path / "nowhere"))
    done = CliRunner().invoke(results.main, ["fakes_zee"])
    assert done.exit_code == 2
    assert signal_results.DATA_VARIABLE in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_what_a_folder_holds_is_told_and_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "PAGE", tmp_path / "results.md")
    monkeypatch.setattr(coverage, "measured", None)
    truth = np.linspace(-1, 1, 50)
    record = json.dumps({"seed": 3, "versions": {"python": "3"}})
    for seed, off in enumerate((0.05, 0.15)):
        row = {
            **heads_of(np.stack([truth + off - 0.1, truth + off + 0.1], axis=1), Ensemble(spread="student", twins=1)),
            "truth": truth,
            "points": np.stack([np.linspace(20, 200, 50), np.ones(50)], axis=1),
            "weights": np.ones(50),
            "counted_pulls": np.full(50, 0.5),
            **{
                "seed": seed,
                "wall_s": 20.0,
                "cpu_s": 10.0,
                "made": ["train_fakes one", record],
            },
        }
        np.savez(tmp_path / f"toy2d_{seed:02d}.npz", **row)
    asked = [str(tmp_path), "--kind", "toy2d", "--samples", "2", "--jobs", "1", "--page"]
    done = CliRunner().invoke(coverage.main, asked, catch_exceptions=False)
    # One standard deviation of the two heads is 0.14: it covers an error of 0.05, and not one of 0.15.
    assert printed(done)["fakes.coverage2d_1sigma"] == "0.5000"
    assert printed(done)["fakes.coverage2d_2sigma"] == "1.0000"
    assert printed(done)["fakes.coverage2d_counted_1sigma"] == "1.0000"
    page = results.PAGE.read_text(encoding="utf-8")
    assert "benchmarks.coverage" in page
    assert "40 s" in page
