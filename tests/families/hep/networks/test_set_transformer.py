"""Set Transformer and Deep Sets: seeds, pooled vectors, and objects masked by type."""

from __future__ import annotations

import pytest
import torch
from hand_made_objects import events, inputs, ragged_events

from tabstar_lit.families.hep.architecture.jagged import DeepSetsArchitecture, SetTransformerArchitecture
from tabstar_lit.families.hep.batch import Features
from tabstar_lit.families.hep.networks.deepsets_jagged import DeepSets
from tabstar_lit.families.hep.networks.set_transformer import SetTransformer

SMALL = {"model": "SetTransformer", "embedding_dim": 8, "heads": 2, "dim_head": 4}


@pytest.mark.parametrize(("strategy", "seeds"), [("pooling", 1), ("objects", 2), ("particles", 7)])
@pytest.mark.parametrize("mean", [False, True])
def test_seeds_are_one_or_one_per_type_or_one_per_slot(strategy: str, seeds: int, mean: bool) -> None:
    options = {"seed_strategy": strategy, "set_predictor": {"mean_pooling": mean, "depth": 0}}
    network = SetTransformer(SetTransformerArchitecture.model_validate({**SMALL, **options}), inputs(), 3)
    assert network.pooling.seeds.shape == (seeds, 8)
    assert network.predictor.head.in_features == (8 if mean else 8 * seeds)
    assert network(ragged_events()).shape == (4, 3)


def test_set_norm_is_the_default() -> None:
    assert SetTransformerArchitecture.model_validate({"model": "SetTransformer"}).use_setnorm


@pytest.mark.parametrize("training", [False, True])
def test_an_invalid_type_value_is_as_if_the_object_were_not_there(training: bool) -> None:
    torch.manual_seed(0)
    options = {"valid_type_values": {"jets": {"flavour": ("#1",)}}, "attn_dropout": 0.0, "ff_dropout": 0.0}
    config = SetTransformerArchitecture.model_validate({**SMALL, **options})
    network = SetTransformer(config, inputs(), 1).train(training)
    features = events([5, 3, 0], [2, 1, 0])
    jets = features.objects["jets"]
    gone = jets._replace(mask=jets.mask & (jets.categorical[..., 0] == 1))
    assert gone.mask.sum() < jets.mask.sum()
    removed: Features = features._replace(objects={**features.objects, "jets": gone})
    torch.testing.assert_close(network(features), network(removed))


def test_deep_sets_average_what_is_there_type_by_type() -> None:
    torch.manual_seed(0)
    config = DeepSetsArchitecture.model_validate({"model": "DeepSets", "n_hidden": 4, "mean_pooling": False})
    network = DeepSets(config, inputs(event=False), 1).eval()
    torch.nn.init.normal_(network.empty)
    features = ragged_events(event=False)
    vectors, mask = network.objects(features)
    pooled = network._pool(features, vectors, mask)
    jets, leptons = mask.split([5, 2], dim=1)
    for event in range(4):
        for number, (start, there) in enumerate([(0, jets[event]), (5, leptons[event])]):
            own = vectors[event, start : start + len(there)][there]
            expected = own.mean(dim=0) if len(own) else network.empty[number]
            torch.testing.assert_close(pooled[event, 4 * number : 4 * (number + 1)], expected)
