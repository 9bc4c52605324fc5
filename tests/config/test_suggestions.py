"""A name that is nearly right is offered by one measure of likeness everywhere; else what there is is listed."""

from __future__ import annotations

import difflib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tabstar_lit.config.tree import LIKENESS, MAX_LISTED, did_you_mean, nearest_names, suggestion

NAMES = ["train_loss", "val_loss", "val_auroc", "lr"]


def test_the_nearest_name_stands_instead_of_the_list() -> None:
    assert suggestion("val_los", NAMES) == " Did you mean 'val_loss'?"
    assert suggestion("xyz", NAMES) == " Allowed: train_loss, val_loss, val_auroc, lr."
    assert suggestion("xyz", NAMES[:2], listed="It has") == " It has: train_loss, val_loss."
    assert (suggestion("xyz", []), did_you_mean("xyz", NAMES)) == ("", "")


def test_several_are_offered_where_that_helps() -> None:
    assert did_you_mean("val_los", [*NAMES, "val_logs"], n=3) == " Did you mean 'val_loss' or 'val_logs'?"
    assert did_you_mean("b", ["a'b", "bb"]) == " Did you mean 'bb'?"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("significance_config", "stage_config"),
        ("calibration_config", "training_config"),
        ("significance_confg", "stage_config"),
        ("lr_decay", "weight_decay"),
    ],
)
def test_a_word_that_names_share_does_not_make_them_alike(name: str, other: str) -> None:
    assert did_you_mean(name, [other]) == ""


@pytest.mark.parametrize("name", ["max_epoch", "max_epochss", "mx_epochs", "maxepochs", "max_epocs"])
def test_a_slip_of_the_finger_is_seen(name: str) -> None:
    assert did_you_mean(name, ["min_epoch", "max_epochs", "epochs"]) == " Did you mean 'max_epochs'?"


def test_long_lists_are_cut_and_names_told_once() -> None:
    names = [f"column {i}" for i in range(30)]
    assert suggestion("xyz", names + names).endswith(f"column {MAX_LISTED - 1} and {30 - MAX_LISTED} more.")


@given(name=st.text(max_size=8), known=st.lists(st.text(min_size=1, max_size=8), max_size=6))
def test_what_is_offered_is_alike_enough(name: str, known: list[str]) -> None:
    near = nearest_names(name, known)
    assert len(set(near)) == len(near) <= 3
    alike = {other: difflib.SequenceMatcher(None, other, name).ratio() for other in near}
    assert all(other in known and likeness >= LIKENESS for other, likeness in alike.items())
    assert list(alike.values()) == sorted(alike.values(), reverse=True)
