"""What can be known to be wrong before anything is trained: names and parameters first, then a trial batch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.strategies import StrategyRegistry

from tabstar_lit.config import Loaded, Problem, Stage, raise_problems
from tabstar_lit.config.tree import ConfigTree, dotted
from tabstar_lit.engine.callbacks.monitor import TRAINING, never_computed
from tabstar_lit.engine.family import AnyFamily
from tabstar_lit.engine.optim.optimizers import check_optimizer
from tabstar_lit.engine.optim.schedulers import check_scheduler
from tabstar_lit.engine.runs.directory import RunDirectory
from tabstar_lit.engine.runs.opening import locate
from tabstar_lit.engine.runs.resume import configured_checkpoint
from tabstar_lit.engine.stages import Parts, build_parts, load_weights_of
from tabstar_lit.engine.tracking.loggers import check_tracker
from tabstar_lit.errors import ConfigError

_PARTS = "each process has a part of the weights and gradients, so checkpoints and the check of a step would see a part"
_FORKS = "its processes are copies of this one, whose records of the run are lost when they end"
UNFIT_STRATEGIES = {
    "fsdp": _PARTS,
    "deepspeed": _PARTS,
    "ddp_spawn": _FORKS,
    "ddp_fork": _FORKS,
    "ddp_notebook": _FORKS,
}
"""Strategies of Lightning under which a run could not keep what it promises, by the beginnings of their names."""


def check_names(family: AnyFamily, loaded: Loaded[Any]) -> None:
    """Look up every name and parameter that the schema leaves free, in every stage.

    Raises
    ------
    ConfigError
        All problems of the first stage that has any, each at its file, line and column.
    """
    for stage in loaded.stages:
        problems = find_problems(family, stage.experiment)
        raise_problems(stage.tree, [_with_remedy(problem, stage.tree) for problem in problems])


def find_problems(family: AnyFamily, experiment: Any) -> list[Problem]:
    """Return what the schema cannot see: unknown names of optimizers, schedules, losses, and what they do not take."""
    training = experiment.model.training_config
    found = [*check_optimizer(training.optimizer), *check_scheduler(training.scheduler)]
    return [
        *_strategy_problems(experiment.experiment_config.strategy),
        *check_tracker(experiment),
        *never_computed(experiment),
        *(Problem((*TRAINING, *problem.path), problem.message, problem.allowed) for problem in found),
        *family.check(experiment),
    ]


def _with_remedy(problem: Problem, tree: ConfigTree) -> Problem:
    """Tell how to be rid of a parameter that a file has for another choice than the command line's."""
    if len(problem.path) < 3 or problem.path[-2] != f"{problem.path[-3]}_params":
        return problem
    chosen = tree.position((*problem.path[:-2], f"{problem.path[-3]}_name"))
    given = tree.positions.get(problem.path)
    if chosen is None or given is None or chosen.line or not given.line:
        return problem
    text = f" What the command line says is laid over the file; put '~{dotted(problem.path[:-1])}' before it to leave "
    return problem._replace(message=f"{problem.message}{text}the file's out.")


def _strategy_problems(name: str) -> list[Problem]:
    path = ("experiment_config", "strategy")
    reason = next((reason for start, reason in UNFIT_STRATEGIES.items() if name.startswith(start)), None)
    if reason is not None:
        return [Problem(path, f"'{name}' is not supported: {reason}. Use ddp.")]
    known = [
        "auto",
        *(name for name in StrategyRegistry.available_strategies() if name.startswith(("ddp", "single_device"))),
    ]
    known = [name for name in known if not name.startswith(tuple(UNFIT_STRATEGIES))]
    return [] if name in known else [Problem(path, f"no strategy '{name}'.", known)]


def require_writable(folders: Iterable[Path]) -> None:
    """Refuse folders that cannot be made or written to, without leaving anything there.

    Raises
    ------
    ConfigError
        Names the first such folder and why.
    """
    for folder in folders:
        there = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
        try:
            with tempfile.TemporaryFile(dir=there):
                pass
        except OSError as error:
            raise ConfigError(
                f"{folder}: nothing can be written there ({error.strerror or error}, in {there}). Give another place: "
                "experiment_config.save_dir or tracker_path, or training_config.model_save_path."
            ) from error


def trial(family: AnyFamily, loaded: Loaded[Any], say: Callable[[str], None]) -> None:
    """Build every stage and push one batch forward and backward; nothing is left on disk.

    Parameters
    ----------
    family, loaded
        What would be trained.
    say : callable
        Called with a line per check that passed.
    """
    check_names(family, loaded)
    checkpoint = configured_checkpoint(loaded.experiment)
    say(f"configuration   {len(loaded.stages)} stage(s): {', '.join(stage.name for stage in loaded.stages)}")
    with tempfile.TemporaryDirectory(prefix="tabstar_lit-check-") as name:
        folder = Path(name)
        # What is loaded is looked for where the run itself would; nothing is written there.
        located = locate(loaded)
        require_writable([located.root, located.figures, located.checkpoints, located.mlruns])
        run = RunDirectory(located.root, folder / "figures", located.checkpoints, folder / "mlruns")
        for stage in loaded.stages:
            parts = build_parts(family, without_earlier_stages(stage, loaded), run, seed=0, scratch=folder)
            if checkpoint is not None:
                say(f"{stage.name}: weights   {load_weights_of(parts.module, checkpoint)}")
            _try_batch(stage.name, parts, say)


def without_earlier_stages(stage: Stage[Any], loaded: Loaded[Any]) -> Stage[Any]:
    """Return the stage without what it would take from stages that have not been trained yet."""
    names = {other.name for other in loaded.stages}
    model = stage.experiment.model
    kept = {
        path: source
        for path, source in model.load_modules.items()
        if (source if isinstance(source, str) else source.source) not in names
    }
    untrained = {key: None for key, source in stage.experiment.earlier().items() if source in names}
    changed = model.model_copy(update={"load_modules": kept, **untrained})
    return Stage(stage.name, stage.experiment.model_copy(update={"model": changed}), stage.tree)


def _try_batch(name: str, parts: Parts, say: Callable[[str], None]) -> None:
    batches, training = parts.data.batches_per_epoch(), parts.module.config.training_config
    say(f"{name}: data      {batches} training batches an epoch, fingerprint {parts.data.fingerprint[:12]}")
    if parts.data.about:
        say(f"{name}: data      {parts.data.about}")
    say(f"{name}: model     {parts.module.freeze_report}")
    parts.module.plan_steps(batches)
    parts.module.train()
    output = parts.module.compute(next(iter(parts.data.train_dataloader())))
    output.loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs leave it untyped
    gradients = [p.grad for p in parts.module.parameters() if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients))
    loss = float(output.loss.detach())
    say(f"{name}: batch     source {output.source}, loss {loss:.4f}, gradient norm {norm:.4f}")
    parts.module.configure_optimizers()
    say(f"{name}: optimizer {training.optimizer.optimizer_name}, {parts.module.total_steps} steps in all")
