"""``tabstar_lit tune``: train many times with different values, in search of the best."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tabstar_lit.commands.errors import reported_errors
from tabstar_lit.commands.train import relative
from tabstar_lit.engine.options import examples
from tabstar_lit.errors import RunInterrupted
from tabstar_lit.families import family_of_command

if TYPE_CHECKING:
    from tabstar_lit.engine.family import AnyFamily

ABOUT_THE_STUDY = re.compile(r"[~+]*tuning_config([.=@/].*)?", re.DOTALL)


@click.command(
    epilog=examples(
        ("tabstar_lit tune COMMAND tuning_config=FAMILY/builtin --check", "try"),
        ("tabstar_lit tune COMMAND tuning_config=FAMILY/builtin", "search"),
    )
)
@click.argument("command", metavar="COMMAND")
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--config-dir", type=click.Path(path_type=Path), help="Folder with training_config.yaml and its groups.")
@click.option("--check", is_flag=True, help="Check the study, open the data, try one batch; write nothing.")
def tune(command: str, overrides: tuple[str, ...], config_dir: Path | None, check: bool) -> None:
    """Search for the best values of some keys of COMMAND, a training command: `tabstar_lit --help` names them.

    tuning_config=FILE says what is varied and how. Each trial is a run of its own. The same command again goes on
    with the study, until it has tuning_config.n_trials trials.
    """
    with reported_errors():
        family = family_of_command(command)
        try:
            search(family, overrides, config_dir, check=check)
        except RunInterrupted as interruption:
            interruption.prospect = "the same command goes on with the study"
            raise


def search(family: AnyFamily, overrides: Sequence[str], config_dir: Path | None, *, check: bool) -> None:
    """Check the study, and train its trials unless it is only to be checked."""
    from tabstar_lit.config import compose_experiment
    from tabstar_lit.tuning.plan import plan_study
    from tabstar_lit.tuning.search import tune as train_trials

    composition = compose_experiment(
        family.schema(),
        command=family.command,
        overrides=overrides,
        config_dir=config_dir,
        family_directory=family.name,
        family_files=family.configurations(),
    )
    plan = plan_study(family, composition)
    for notice in plan.base.notices:
        click.echo(f"note: {notice}", err=True)
    if check:
        from tabstar_lit.engine.preflight import trial

        trial(family, plan.base, say=click.echo)
        click.echo("everything fits; nothing was written")
        return
    folder, summary = train_trials(plan, command=training_command(family, overrides, config_dir), say=click.echo)
    click.echo(f"the best is trial {summary.best.number if summary.best else None}; this trains with its values:")
    click.echo(summary.best_command)
    click.echo(f"report: {relative(folder / 'report.md')}")


def training_command(family: AnyFamily, overrides: Sequence[str], config_dir: Path | None) -> list[str]:
    """Return the command that trains what is tuned, without what is about the study."""
    folder = [] if config_dir is None else ["--config-dir", str(config_dir)]
    return [family.command, *folder, *(word for word in overrides if not ABOUT_THE_STUDY.fullmatch(word))]
