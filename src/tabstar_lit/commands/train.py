"""The training commands: one function, made once for each family."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.families import get_family

if TYPE_CHECKING:
    from tabstar_lit.config import Loaded
    from tabstar_lit.engine.family import AnyFamily

LATEST = "latest"
LISTS = ("models", "losses", "optimizers", "schedulers")


def train_command(family_name: str) -> click.Command:
    """Return the console command that trains a family.

    Parameters
    ----------
    family_name : str
        A key of :data:`tabstar_lit.families.FAMILIES`.
    """
    family = get_family(family_name)

    @click.command(
        family.command, help=f"{family.summary}\n\nSettings are changed with KEY=VALUE, as in the YAML files."
    )
    @click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
    @click.option(
        "--config-dir",
        type=click.Path(path_type=Path),
        help="Folder with training_config.yaml and its groups.",
    )
    @click.option("--resume", is_flag=False, flag_value=LATEST, metavar="[PATH]",
                  help="Go on with the newest run of the experiment, or with a run or checkpoint.")  # fmt: skip
    @click.option("--check", is_flag=True, help="Compose, validate, open the data, try one batch; write nothing.")
    @click.option("--print-config", is_flag=True, help="Print the composed configuration and stop.")
    @click.option("--multirun", is_flag=True, help="Train every combination of KEY=A,B,… one after the other.")
    @click.option("--list", "listed", type=click.Choice(LISTS), help="Print what can be named in the YAML files.")
    @click.version_option(package_name="tabstar_lit")
    def command(
        overrides: tuple[str, ...],
        config_dir: Path | None,
        resume: str | None,
        check: bool,
        print_config: bool,
        multirun: bool,
        listed: str | None,
    ) -> None:
        if resume is not None and "=" in resume and not Path(resume).exists():
            overrides, resume = (resume, *overrides), LATEST  # `--resume key=value`: the path was left out
        with reported_errors():
            if listed is not None:
                print_list(family, listed)
            elif multirun:
                train_all(family, overrides, config_dir)
            else:
                train_one(family, overrides, config_dir, resume=resume, check=check, print_config=print_config)

    return command


def train_one(
    family: AnyFamily,
    overrides: tuple[str, ...],
    config_dir: Path | None,
    *,
    resume: str | None = None,
    check: bool = False,
    print_config: bool = False,
) -> None:
    """Compose one experiment and do with it what the options say."""
    from tabstar_lit.config import to_yaml

    loaded = load(family, overrides, config_dir)
    if print_config:
        click.echo(to_yaml(loaded.tree), nl=False)
    elif check:
        from tabstar_lit.engine.preflight import trial

        trial(family, loaded, say=click.echo)
        click.echo("everything fits; nothing was written")
    elif resume is not None:
        go_on(family, loaded, overrides, resume)
    else:
        begin(family, loaded, overrides, config_dir)


def load(
    family: AnyFamily, overrides: Sequence[str], config_dir: Path | None, primary: Path | None = None
) -> Loaded[Any]:
    """Compose and validate, and print what the composer noticed."""
    from tabstar_lit.config import load_experiment

    loaded = load_experiment(
        family.schema(),
        command=family.command,
        overrides=overrides,
        config_dir=config_dir,
        primary=primary,
        family_directory=family.name,
    )
    for notice in loaded.notices:
        click.echo(f"note: {notice}", err=True)
    return loaded


def begin(family: AnyFamily, loaded: Loaded[Any], overrides: Sequence[str], config_dir: Path | None) -> None:
    """Train, continue or evaluate, as ``load_checkpoint`` and ``continue_training`` say."""
    from tabstar_lit.engine.run import evaluate
    from tabstar_lit.engine.runs.resume import configured_checkpoint, run_to_resume

    checkpoint = configured_checkpoint(loaded.experiment)
    if checkpoint is None:
        execute(family, loaded)
    elif loaded.experiment.model.continue_training:
        root, checkpoint = run_to_resume(loaded.experiment, family.command, str(checkpoint))
        name = f"experiment_config.run_name={root.name}"
        execute(family, load(family, (*overrides, name), config_dir), resume=True, checkpoint=checkpoint)
    else:
        from tabstar_lit.engine.preflight import check_names

        check_names(family, loaded)
        say_where(evaluate(family, loaded, checkpoint, argv=sys.argv).root)


def go_on(family: AnyFamily, loaded: Loaded[Any], overrides: tuple[str, ...], resume: str) -> None:
    """Go on with a run under the configuration it was started with, changed by the overrides."""
    from tabstar_lit.engine.runs.resume import run_to_resume

    root, checkpoint = run_to_resume(loaded.experiment, family.command, None if resume == LATEST else resume)
    name = f"experiment_config.run_name={root.name}"
    again = load(family, (*overrides, name), None, primary=root / "config.yaml")
    execute(family, again, resume=True, checkpoint=checkpoint)


def execute(family: AnyFamily, loaded: Loaded[Any], *, resume: bool = False, checkpoint: Path | None = None) -> None:
    """Check the names, run the engine, and say where everything is."""
    from tabstar_lit.engine.preflight import check_names
    from tabstar_lit.engine.run import run

    check_names(family, loaded)
    say_where(run(family, loaded, argv=sys.argv, resume=resume, checkpoint=checkpoint).root)


def say_where(root: Path) -> None:
    """Print the path of the report."""
    click.echo(f"report: {relative(root / 'report.md')}")
    click.echo("figures and metrics in the browser: track -p 5000")


def relative(path: Path) -> Path:
    """Return a path relative to the working directory where that is shorter."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def train_all(family: AnyFamily, overrides: tuple[str, ...], config_dir: Path | None) -> None:
    """Train every combination of the listed values, each in a run directory of its own."""
    from tabstar_lit.config import expand_multirun

    combinations = expand_multirun(overrides)
    experiments = [load(family, combination, config_dir) for combination in combinations]
    for number, (combination, loaded) in enumerate(zip(combinations, experiments, strict=True), start=1):
        click.echo(f"run {number} of {len(combinations)}: {' '.join(combination)}")
        name = loaded.experiment.experiment_config.run_name
        if name is not None:
            combination = [*combination, f"experiment_config.run_name={name}-{number}"]
            loaded = load(family, combination, config_dir)
        begin(family, loaded, combination, config_dir)


def print_list(family: AnyFamily, listed: str) -> None:
    """Print names that a configuration may use, each with a line about it."""
    if listed in ("models", "losses"):
        entries = family.models() if listed == "models" else family.losses()
    else:
        from tabstar_lit.engine.optim.optimizers import list_optimizers
        from tabstar_lit.engine.optim.schedulers import list_schedulers

        entries = list_optimizers() if listed == "optimizers" else list_schedulers()
    width = max(map(len, entries))
    for name, text in entries.items():
        click.echo(f"{name:<{width}}  {text}")


train_tabstar = train_command("tabstar")
train_signal = train_command("signal")
train_fakes = train_command("fakes")
