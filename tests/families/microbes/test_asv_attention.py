"""Which sequences mattered, against a loop over samples."""

from __future__ import annotations

import pytest
import torch
from hand_made_samples import a_batch, in_batches, small, some_facts

from tabstar_lit.families.microbes.attention import attended, attention_table
from tabstar_lit.families.microbes.build import build_network


@pytest.mark.parametrize("role", ["encoder", "predictor"])
def test_weights_are_means_over_the_samples_that_have_a_sequence(role: str) -> None:
    torch.manual_seed(0)
    network, batch = build_network(role, small(), some_facts()).eval(), a_batch(8)
    found = {row.sequence: row for row in attended(network, in_batches(batch, 3), fewest=1)}
    weights = network(batch).weights.detach()
    for number, letters in enumerate(batch.sequences.tolist()):
        text = "".join("?ACGT"[letter] for letter in letters if 1 <= letter <= 4)
        own = [
            (float(weights[i, j]) * int((batch.asvs[i] >= 0).sum()), float(batch.counts[i, j]))
            for i, j in (batch.asvs == number).nonzero().tolist()
        ]
        assert found[text].samples == len(own)
        assert found[text].attention == pytest.approx(sum(w for w, _ in own) / len(own), rel=1e-4)
        assert found[text].reads == pytest.approx(sum(n for _, n in own) / len(own), rel=1e-5)


def test_the_table_shows_the_most_attended_that_several_samples_have() -> None:
    rows = attended(build_network("encoder", small(), some_facts()).eval(), [a_batch(8)], fewest=3)
    assert [row.attention for row in rows] == sorted((row.attention for row in rows), reverse=True)
    assert min(row.samples for row in rows) >= 3
    table = attention_table(rows)
    assert f"`{rows[0].sequence}`" in table.splitlines()[4]
