"""How much of what the rule of a generated task asks for is predicted."""

from __future__ import annotations

from tabstar_lit.engine.tracking.columns import Columns
from tabstar_lit.families.antibody.pairs.file import Pairs
from tabstar_lit.families.antibody.pairs.tokens import AMINO_ACIDS, FIRST_LETTER
from tabstar_lit.families.antibody.pairs.toy import rule_letters
from tabstar_lit.families.antibody.tracking.samples import Samples


def rule_accuracy(pairs: Pairs, rows: Columns) -> float:
    """Return the share of letters that the rule asks for which are the likeliest after those before them.

    Parameters
    ----------
    pairs : Pairs
        A generated task.
    rows : Columns
        ``rows`` ``[N]`` and ``predicted`` ``[N, W]``, the likeliest letter at each place of the antibody's text.
    """
    right = asked = 0
    for row, predicted in zip(rows["rows"].tolist(), rows["predicted"].numpy(), strict=True):
        antigen = pairs.antigens[pairs.antigen[row]]
        for place, letter in rule_letters(antigen, float(pairs.pkd[row]), pairs.regions[row]).items():
            right += int(predicted[place] == FIRST_LETTER + AMINO_ACIDS.index(letter))
            asked += 1
    return right / asked


def written_rule_accuracy(pairs: Pairs, samples: Samples) -> float:
    """Return the share of what the rule asks for that written antibodies have; one without regions has nothing of it.

    Parameters
    ----------
    pairs : Pairs
        A generated task.
    samples : Samples
        What was written, like which pairs.
    """
    right = asked = 0
    for own, row in zip(samples.written, samples.rows.tolist(), strict=True):
        antigen, pkd = pairs.antigens[pairs.antigen[row]], float(pairs.pkd[row])
        known = own.regions if own.regions.any() else pairs.regions[row]
        letters = rule_letters(antigen, pkd, known)
        asked += len(letters)
        right += sum(own.text[place] == letter for place, letter in letters.items()) if own.regions.any() else 0
    return right / asked
