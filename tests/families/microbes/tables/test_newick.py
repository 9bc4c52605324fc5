"""Trees from Newick text, against scikit-bio, and what is refused with its place."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from checks import message_of_refusal
from skbio import TreeNode

from tabstar_lit.families.microbes.tables.tree import Tree, parse_newick, read_tree


def branches_by_tips(tree: Tree) -> dict[frozenset[str], float]:
    """Return the summed length above each set of tips; branches without a length count as 0."""
    found: dict[frozenset[str], float] = {}
    for length, first, end in zip(np.nan_to_num(tree.lengths), tree.first, tree.end, strict=True):
        tips = frozenset(tree.tips[first:end])
        found[tips] = found.get(tips, 0.0) + float(length)
    return found


def branches_of_skbio(text: str) -> dict[frozenset[str], float]:
    found: dict[frozenset[str], float] = {}
    for node in TreeNode.read(io.StringIO(text), convert_underscores=False).traverse():
        tips = frozenset(tip.name for tip in node.tips(include_self=True))
        found[tips] = found.get(tips, 0.0) + (node.length or 0.0)
    return found


@pytest.mark.parametrize(
    "text",
    [
        "((A:0.1,B:0.2):0.3,C:0.4);",
        "((A:1e-3,'B x''y':2E-1)inner:0.3,(C_1:0.5):0.25,D:0)root:9;",
        "(A:1,\n  B:2 [a comment],\n(C:3,D:4)0.99:5);",
        "((((A:1):1):1,B:1):1,C:2);",
        "(A:1,B:2,C:3,D:4,E:5);",
    ],
)
def test_branches_are_those_of_scikit_bio(text: str) -> None:
    assert branches_by_tips(parse_newick(text)) == pytest.approx(branches_of_skbio(text))


def test_a_real_tree_has_the_branches_that_scikit_bio_finds(shared_data: Path) -> None:
    path = shared_data / "microbiome/moving_pictures/tree.nwk"
    assert branches_by_tips(read_tree(path)) == pytest.approx(branches_of_skbio(path.read_text()))


def test_a_sheared_tree_keeps_every_path_from_the_root() -> None:
    tree = parse_newick("((A:1,(B:2,C:4):8):16,(D:32,E:64):128):256;").require_lengths()
    own = tree.sheared(["C", "A", "E", "nobody"])
    assert own.tips == ("A", "C", "E")
    paths = {tip: sum(own.lengths[(own.first <= i) & (i < own.end)]) for i, tip in enumerate(own.tips)}
    assert paths == {"A": 1 + 16 + 256, "C": 4 + 8 + 16 + 256, "E": 64 + 128 + 256}
    assert own.n_branches == 5  # A; B and C are one branch; both together; D and E are one; all


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("((A,B)", "tree:1:7", "no ';'"),
        ("A,B;", "tree:1:2", "outside of all parentheses"),
        ("(A\n B);", "tree:2:2", "'B' after a name"),
        ("(A:x);", "tree:1:4", "'x' for a length"),
        ("(A,(B);", "tree:1:7", "1 '(' are open"),
        ("(A:);", "tree:1:4", "no length after ':'"),
        ("(A:1:2);", "tree:1:5", "':' twice"),
        ("(A,B)(C);", "tree:1:6", "'(' after a node"),
        ("(A,B));", "tree:1:6", "outside of all parentheses"),
    ],
)
def test_what_is_no_tree_is_refused_with_its_place(text: str, place: str, what: str) -> None:
    message = message_of_refusal(parse_newick, text)
    assert message.startswith(f"{place}: ")
    assert what in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(A:1,B:1,A:1);", ["'A' is there twice"]),
        ("(A:1,:1);", ["tip 2 has no name"]),
        ("((A:1,B):1,C:1);", ["1 of 5 branches have no length", "the tip 'B'"]),
        ("((A:1,B:1),C:1);", ["1 of 5 branches have no length", "above 2 tips, 'A' among them"]),
        ("(A:-1,B:1);", ["the tip 'A' has the length -1"]),
    ],
)
def test_a_tree_that_cannot_be_used_is_refused(text: str, words: list[str]) -> None:
    message = message_of_refusal(lambda: parse_newick(text).require_lengths())
    assert all(word in message for word in words), message
