"""Scores by region, effects with intervals, and measures of written antibodies, against counts made by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from labels import unlabelled
from matplotlib.figure import Figure
from scipy.stats import entropy

from tabstar_lit.families.antibody.numbering.texts import Numbered
from tabstar_lit.families.antibody.pairs.batch import REGION_NAMES
from tabstar_lit.families.antibody.pairs.config import AntibodyDataset
from tabstar_lit.families.antibody.pairs.data import AntibodyData
from tabstar_lit.families.antibody.pairs.tokens import AMINO_ACIDS, TOKENIZER
from tabstar_lit.families.antibody.pairs.toy import GENERATED, AntibodyToy, toy_pairs
from tabstar_lit.families.antibody.tracking import figures as draw
from tabstar_lit.families.antibody.tracking.doubts import doubts
from tabstar_lit.families.antibody.tracking.measures import diversity, effective_vocabulary, measure
from tabstar_lit.families.antibody.tracking.rule import rule_accuracy, written_rule_accuracy
from tabstar_lit.families.antibody.tracking.samples import Samples, asked_rows
from tabstar_lit.families.antibody.tracking.scores import effect, effect_scores, likelihood_scores, metric_names
from tabstar_lit.families.antibody.tracking_config import AntibodyTracking
from tabstar_lit.plots.logos import letter_heights

H3 = REGION_NAMES.index("h_cdr3")
TRACKING = AntibodyTracking()


@pytest.fixture(scope="module")
def data() -> AntibodyData:
    dataset = AntibodyDataset.model_validate({"name": "toy", "split": {"val": 0.3, "test": 0.2}})
    return AntibodyData(dataset, toy_pairs(AntibodyToy(n_antigens=40)), seed=0)


def columns() -> dict[str, torch.Tensor]:
    """Three pairs: 10, 20 and 10 tokens with 2, 1 and 3 nats each, a tenth of them in CDR-H3, half of these right."""
    tokens, nats = torch.tensor([10.0, 20.0, 10.0]), torch.tensor([2.0, 1.0, 3.0])
    share = torch.zeros(len(REGION_NAMES))
    share[0], share[H3] = 0.9, 0.1
    regions = {"nll": tokens * nats, "count": tokens, "correct": tokens / 2}
    rows = {f"{name}_regions": own[:, None] * share for name, own in regions.items()}
    rows |= {f"{name}_germline": own[:, None] * torch.tensor([0.0, 1.0, 0.0]) for name, own in regions.items()}
    rows |= {"nll": tokens * nats, "tokens": tokens}
    for what, rise in (("antigen", [5.0, 5.0, math.nan]), ("pkd", [math.nan] * 3)):
        rows[f"nll_shuffled_{what}"] = tokens * nats + torch.tensor(rise)
        rows[f"nll_shuffled_{what}_regions"] = rows["nll_regions"] + torch.tensor(rise)[:, None] * share
    return rows


def test_likelihoods_are_means_over_tokens() -> None:
    scores = likelihood_scores(columns())
    mean = (20 + 20 + 30) / 40
    assert scores["perplexity"] == pytest.approx(math.exp(mean))
    for name in ("h_cdr3", "cdr", "germline"):
        assert scores[f"nll_{name}"] == pytest.approx(mean)
        assert scores[f"recovery_{name}"] == pytest.approx(0.5)
    assert "nll_l_cdr1" not in scores
    assert "nll_mutated" not in scores


def test_an_effect_counts_pairs_that_have_another_condition_beside_them() -> None:
    scores = effect_scores(columns(), np.array([0, 1, 2]), 200)
    assert scores["antigen_effect"] == pytest.approx(10 / 30)
    assert scores["antigen_effect_h_cdr3"] == pytest.approx((0.5 + 0.5) / 3)
    assert scores["antigen_effect_low"] <= scores["antigen_effect"] <= scores["antigen_effect_high"]
    assert "pkd_effect" not in scores
    assert set(scores) | set(likelihood_scores(columns())) <= set(metric_names(rule=False))


def test_an_interval_is_that_of_the_mean_over_clusters() -> None:
    """With clusters of equal size it is mean ± 1.96 standard errors, nearly."""
    rng = np.random.default_rng(1)
    rises = np.repeat(rng.normal(1.0, 0.5, 400), 3)
    own = torch.zeros(1200)
    found = effect(torch.from_numpy(rises * 10), own, torch.full((1200,), 10.0), np.repeat(np.arange(400), 3), 2000)
    assert found is not None
    error = rises[::3].std() / math.sqrt(400)
    assert found.mean == pytest.approx(rises.mean())
    assert found.low == pytest.approx(found.mean - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(found.mean + 1.96 * error, abs=0.1 * error)
    single = effect(torch.from_numpy(rises * 10), own, torch.full((1200,), 10.0), np.arange(1200), 2000)
    assert single is not None
    assert single.high - single.low < found.high - found.low


def test_no_partner_is_no_effect() -> None:
    nothing = torch.full((3,), math.nan)
    assert effect(nothing, torch.zeros(3), torch.ones(3), np.arange(3), 10) is None


def test_the_effective_vocabulary_is_the_exponential_of_the_entropy() -> None:
    letters = "AAAACCDE"
    assert effective_vocabulary(letters) == pytest.approx(math.exp(entropy([4, 2, 1, 1])))
    assert effective_vocabulary(AMINO_ACIDS) == pytest.approx(20)
    assert effective_vocabulary("GGGG") == pytest.approx(1)


def numbered(text: str, *flaws: str) -> Numbered:
    regions = np.zeros(len(text), np.int8)
    regions[1:4] = H3
    return Numbered(text, regions, flaws)


def test_measures_count_what_was_written() -> None:
    written = [numbered("ACDEF"), numbered("ACDEF"), numbered("AWWWF", "no cysteine"), numbered("MKLVT")]
    scores = measure(written, ["ACDEF", "AAAAA"], [["CDE"], ["CDF"], [], ["KLV", "WWW"]])
    assert scores["validity"] == 0.75
    assert scores["flaw_no_cysteine"] == 0.25
    assert scores["uniqueness"] == 0.75
    assert scores["novelty"] == 0.5
    assert scores["mean_length"] == 5
    assert scores["h_cdr3_similarity"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert scores["vocabulary_h_cdr3"] == pytest.approx(effective_vocabulary("CDECDEWWWKLV"))
    assert scores["nearest_identity"] == pytest.approx((1 + 1 + 0.4 + 0) / 4)


def test_diversity_is_the_mean_distance_of_pairs() -> None:
    assert diversity(["AAAA", "AAAC", "CCCC"]) == pytest.approx((0.25 + 1.0 + 0.75) / 3)
    assert diversity(["AAAA"] * 3) == 0


def test_the_rule_is_counted_where_it_asks_something(data: AntibodyData) -> None:
    rows = torch.from_numpy(data.split["val"])
    letters = [TOKENIZER.encode([data.pairs.antibodies[row]])[0][1:] for row in rows.tolist()]
    predicted = torch.zeros(len(rows), 80, dtype=torch.int8)
    for place, own in enumerate(letters):
        predicted[place, : len(own)] = torch.from_numpy(own)
    assert rule_accuracy(data.pairs, {"rows": rows, "predicted": predicted}) == 1
    assert rule_accuracy(data.pairs, {"rows": rows, "predicted": torch.zeros_like(predicted)}) == 0


def test_written_antibodies_are_judged_by_the_rule(data: AntibodyData) -> None:
    rows = data.split["val"][:5]
    own = [Numbered(data.pairs.antibodies[row], data.pairs.regions[row], ()) for row in rows]
    assert written_rule_accuracy(data.pairs, Samples(own, rows)) == 1
    broken = [Numbered(text.text, np.zeros_like(text.regions), ("no domain",)) for text in own]
    assert written_rule_accuracy(data.pairs, Samples(broken, rows)) == 0


def test_antibodies_are_asked_for_different_clusters(data: AntibodyData) -> None:
    rows = asked_rows(data, AntibodyTracking(samples=12, antigens=5), "val")
    clusters = data.pairs.clusters[data.pairs.antigen[rows]]
    assert len(rows) == 12
    assert len(set(clusters.tolist())) == 5
    assert set(rows.tolist()) <= set(data.split["val"].tolist())
    assert data.germlines == GENERATED


HEALTHY = {"val_loss": 1.0, "val_nll": 1.0, "train_nll": 0.9, "val_written_uniqueness": 1.0}
EFFECT = {"val_antigen_effect": 0.1, "val_antigen_effect_low": 0.05, "val_antigen_effect_high": 0.2}


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (HEALTHY, []),
        ({**HEALTHY, **EFFECT}, ["the antigen is read"]),
        ({**HEALTHY, **EFFECT, "val_antigen_effect_low": -0.01}, ["the antigen is not shown to be read"]),
        ({**HEALTHY, "val_nll": 2.0}, ["overfitting"]),
        ({**HEALTHY, "val_written_uniqueness": 0.4}, ["mode collapse"]),
        ({**HEALTHY, "val_written_flaw_homopolymer": 0.2}, ["repetitive"]),
    ],
)
def test_signs_of_trouble_are_said(last: dict[str, float], said: list[str]) -> None:
    found = list(doubts([last], TRACKING))
    assert len(found) == len(said)
    assert all(words in line for words, line in zip(said, found, strict=True))


def test_a_loss_that_rises_is_said() -> None:
    rising = [{**HEALTHY, "val_loss": loss} for loss in (1.0, 1.1, 1.2, 1.3)]
    assert ["rose in each of the last 3 epochs" in line for line in doubts(rising, TRACKING)] == [True]
    assert not list(doubts(rising[:3], TRACKING))
    assert not list(doubts([], TRACKING))


def test_heights_of_a_logo_are_information() -> None:
    heights = letter_heights(["AA", "AC", "AD", "AE"], "ACDE")
    assert heights[0].tolist() == [2, 0, 0, 0]
    assert np.allclose(heights[1], 0)


def test_every_figure_is_drawn(data: AntibodyData, tmp_path: Path) -> None:
    real = [Numbered(data.pairs.antibodies[row], data.pairs.regions[row], ()) for row in data.split["val"]]
    written = [*real[:5], numbered("ACDEF")]
    rows = {
        "rows": torch.from_numpy(data.split["val"]),
        "predicted": torch.full((len(real), 80), 5, dtype=torch.int8),
    }
    history = [{"epoch": epoch, **EFFECT} for epoch in range(3)]
    found: list[tuple[str, Figure | None]] = [
        ("recovery", draw.recovery_figure(data.pairs, rows)),
        ("effects", draw.effect_figure(history)),
        ("composition", draw.composition_figure(written, real)),
        *draw.length_figures(written, real),
        *draw.logo_figures(written, real),
    ]
    assert len(found) == 3 + 2 + 6
    for name, figure in found:
        assert figure is not None
        assert unlabelled(figure) == [], name
        path = tmp_path / f"{name.replace('/', '_')}.png"
        figure.savefig(path)
        assert path.stat().st_size > 1000
    assert draw.effect_figure([{"epoch": 0}]) is None
