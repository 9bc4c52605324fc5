"""Who gets there first: ``make speedrun`` trains the default of ``train_tabstar`` until it is good enough.

The target and the machine are fixed: a mean score of :data:`TARGET` on the validation rows of the built-in tables, on
two processor cores. Whatever keeps the tables, those rows and the score may be changed. ``RECORDS.md`` keeps what was
reached, and by what.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from tabstar_lit.commands.train import load
from tabstar_lit.engine.run import run
from tabstar_lit.families import get_family

TARGET = 0.81
SCORE = "val_score"
SEEDS = (1, 2, 3)
ASKED = ("experiment_config.experiment_name=speedrun", "experiment_config.plot_metrics_n_epoch=null",
         "experiment_config.tracker=none", "experiment_config.accelerator=cpu")  # fmt: skip


class Finish(Callback):
    """Stop the clock, and the training, at the first validation that reaches the target.

    Attributes
    ----------
    reached : bool
        Whether one did.
    processor_s, wall_s : float
        Since the training began; its validations count, what comes before does not.
    """

    def __init__(self) -> None:
        self.reached = False
        self.processor_s = self.wall_s = float("nan")
        self._begun = (0.0, 0.0)

    def on_train_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Start the clocks."""
        self._begun = time.process_time(), time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Look at the score, which the tracker has logged by now."""
        if float(trainer.callback_metrics[SCORE]) >= TARGET:
            self.reached = trainer.should_stop = True
            self.processor_s = time.process_time() - self._begun[0]
            self.wall_s = time.perf_counter() - self._begun[1]


def speedrun(seed: int, overrides: Sequence[str] = ()) -> Finish:
    """Train with a seed until the target is reached or the epochs are over."""
    family, finish = get_family("tabstar"), Finish()
    loaded = load(family, (*ASKED, f"experiment_config.seed={seed}", *overrides), None)
    run(family, loaded, watch=finish)
    return finish


def main() -> None:
    """Print ``RECORD name=value`` for every seed, and the median."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("overrides", nargs="*", help="settings of the training that are tried, key=value")
    torch.set_num_threads(2)
    finishes = [speedrun(seed, parser.parse_args().overrides) for seed in SEEDS]
    for seed, finish in zip(SEEDS, finishes, strict=True):
        spent = f"processor_s={finish.processor_s:.1f} wall_s={finish.wall_s:.1f}"
        print(f"RECORD seed={seed} reached={finish.reached} {spent}")
    if all(finish.reached for finish in finishes):
        print(f"RECORD median_processor_s={statistics.median(finish.processor_s for finish in finishes):.1f}")
    else:
        print(f"No record: not every seed reached a {SCORE} of {TARGET}.")


if __name__ == "__main__":
    main()
