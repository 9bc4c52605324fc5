"""What is wrong with written antibodies, of real ones and of the generated task."""

from __future__ import annotations

import numpy as np
import pytest

from tabstar_lit.families.antibody.numbering.texts import FLAWS, longest_run, number_texts
from tabstar_lit.families.antibody.pairs.toy import GENERATED, AntibodyToy, toy_pairs, toy_regions

HEAVY = (
    "EVQLVESGGGLVQPGGSLRLSCAASGFNIKDTYIHWVRQAPGKGLEWVARIYPTNGYTRYADSVKGRFTISADTSKNTAYLQMNSLRAEDTAVYYCSRWGGDGFYAMDYWGQ"
    "GTLVTVSS"
)
LIGHT = "DIQMTQSPSSLSASVGDRVTITCRASQDVNTAVAWYQQKPGKAPKLLIYSASFLYSGVPSRFSGSRSGTDFTLTISSLQPEDFATYYCQQHYTTPPTFGQGTKVEIK"
PAIR = f"{HEAVY}|{LIGHT}"
CASES = {
    "": ("empty",),
    "|": ("empty",),
    PAIR: (),
    HEAVY: (),
    f"{LIGHT}|{HEAVY}": ("no domain",),
    f"{PAIR}|{LIGHT}": ("foreign letters",),
    PAIR.replace("SLRLSCAAS", "SLRLSAAAS"): ("no cysteine",),
    PAIR.replace("YIHWVRQ", "YIHGVRQ"): ("no tryptophan",),
    PAIR.replace("GGDGFYA", "GGGGGGGGGYA"): ("homopolymer",),
    PAIR.replace("GGDGFYA", "GGXGFYA"): ("foreign letters",),
    "G" * 120: ("homopolymer", "no domain"),
}


def test_each_flaw_is_found() -> None:
    found = number_texts(list(CASES), "own profile alignment")
    assert {own.text: own.flaws for own in found} == CASES
    assert {flaw for own in found for flaw in own.flaws} | {"no end"} == set(FLAWS)


def test_an_antibody_without_end_is_not_valid() -> None:
    (own,) = number_texts([PAIR], "own profile alignment", ended=[False])
    assert own.flaws == ("no end",)


def test_regions_of_both_chains_are_told_apart() -> None:
    (own,) = number_texts([PAIR], "own profile alignment")
    third = "".join(letter for letter, region in zip(own.text, own.regions, strict=True) if region == 6)
    light_third = "".join(letter for letter, region in zip(own.text, own.regions, strict=True) if region == 13)
    assert (third, light_third) == ("SRWGGDGFYAMDY", "QQHYTTPPT")
    assert own.regions[len(HEAVY)] == 0


def test_generated_antibodies_are_valid_and_in_their_regions() -> None:
    pairs = toy_pairs(AntibodyToy(n_antigens=50))
    for own, row in zip(number_texts(pairs.antibodies, GENERATED), range(len(pairs)), strict=True):
        assert own.flaws == ()
        assert np.array_equal(own.regions, pairs.regions[row])


@pytest.mark.parametrize("text", ["EVQC", "A" * 200 + "|" + "C" * 22, "A" * 33 + "|" + "C" * 21, "A|C|D"])
def test_what_is_no_generated_antibody_has_no_regions(text: str) -> None:
    if text.startswith("A" * 200):  # a long loop is a long loop, its cysteines are missing
        assert "no cysteine" in number_texts([text], GENERATED)[0].flaws
    else:
        assert not toy_regions(text).any()
        assert "no domain" in number_texts([text], GENERATED)[0].flaws


def test_the_longest_run_counts_one_letter() -> None:
    assert [longest_run(text) for text in ("", "A", "ABBBA", "AAB")] == [0, 1, 3, 2]
