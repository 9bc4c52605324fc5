"""The card of a model, as every family writes it."""

from __future__ import annotations

import yaml
from toy_bench import Bench

from tabstar_lit.engine.reports.card import CARD_FILE, model_card, write_cards
from tabstar_lit.engine.reports.card_text import CardText
from tabstar_lit.families import all_families


def test_a_run_leaves_a_card_beside_the_best_checkpoint_with_its_scores(bench: Bench) -> None:
    run = bench.train("model_config.training_config.max_epochs=2", "experiment_config.test_after_fit=true")
    stage = run.stage("train")
    card = (run.checkpoints / CARD_FILE).read_text()
    head = yaml.safe_load(card.split("---")[1])
    assert head == {"library_name": "tabstar_lit", "tags": ["toy"]}
    assert f"# {stage['best_checkpoint']}\n\nA toy.\n" in card
    assert f"| val_loss | validation | {stage['best_score']:.5g} |" in card
    assert f"| test_loss | validation | {stage['test']['test_loss']:.5g} |" in card, "the toy has no test rows"
    assert "| data fingerprint |" in card
    assert "## Use" not in card, "the toy predicts nothing"
    weights = sum(weight.numel() for weight in bench.module.network.parameters())
    assert f"| parameters | {weights:,} |" in card
    (run.checkpoints / stage["best_checkpoint"]).write_bytes(b"not a checkpoint")
    assert write_cards(bench.family, run) == []
    (run.checkpoints / stage["best_checkpoint"]).unlink()
    assert write_cards(bench.family, run) == [], "a checkpoint that was moved away has no card"


def test_what_a_family_says_stands_in_its_place() -> None:
    text = CardText("A coin.", ("games",), ["two sides"], ["Throws of 2026."], ["model.predict(1)"], ["It is fair."])
    card = model_card(text, "coin.ckpt", family="toy", usage="toss coin.ckpt")
    order = (
        "tags: [toy, games]",
        "# coin.ckpt",
        "A coin.",
        "- two sides",
        "Throws",
        "model.predict(1)",
        "- It is fair.",
    )
    places = [card.index(part) for part in order]
    assert places == sorted(places)
    assert 'tabstar_lit.load("coin.ckpt")' in card


def test_every_family_says_how_it_predicts_and_what_it_cannot_do() -> None:
    for family in all_families():
        assert family.usage("CKPT").startswith("tabstar_lit predict CKPT "), family.name
        assert type(family).card is not type(family).__mro__[1].card, family.name
