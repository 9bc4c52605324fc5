"""What a training refuses before it begins, and how it tells to be rid of it."""

from __future__ import annotations

import re

from stopping import SHORT, typed
from toy_bench import CONFIG, Bench

OPTIMIZER = "model_config.training_config.optimizer"


def test_a_parameter_of_the_optimizer_in_the_file_is_left_out_as_the_message_says(bench: Bench) -> None:
    (bench.folder / "training_config.yaml").write_text(CONFIG.replace("{lr: 1e-2}", "{lr: 1e-2, betas: [0.9, 0.99]}"))
    other = (*SHORT, f"{OPTIMIZER}.optimizer_name=SGD")
    refused = typed(bench, *other)
    assert refused.exit_code == 2, refused.output
    (way,) = re.findall(r"put '(\S+)' before it to leave the file's out", " ".join(refused.stderr.split()))
    assert way == f"~{OPTIMIZER}.optimizer_params"
    assert typed(bench, way, f"{OPTIMIZER}.optimizer_params={{lr: 0.1}}", *other).exit_code == 0
