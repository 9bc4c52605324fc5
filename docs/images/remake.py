"""Take the pictures of the program at work anew: a terminal, the table of runs, and a figure in the browser.

Run by ``make screenshots``, with Chromium installed. They show a small training in a folder that is thrown away.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from tabstar_lit.engine.runs.files import RunFiles

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "support"))

from browser import BROWSER, page  # noqa: E402  # what the tests look with
from command_line import TINY, command, environment, execute  # noqa: E402  # as above
from screen import watch  # noqa: E402  # as above

COLUMNS = 100
WORDS = (*TINY[:-2], "model_config.training_config.max_epochs=4", "experiment_config.log_every_n_steps=2")
OTHERS = {
    "faster": "model_config.training_config.optimizer.optimizer_params.lr=3e-3",
    "longer": "model_config.training_config.max_epochs=8",
}
"""Runs that stand beside the one that is watched, and what they change."""
TRACK = [sys.executable, "-c", "from tabstar_lit.commands.track import track; track(prog_name='track')"]


def main() -> None:
    """Train, look, and write the pictures."""
    if BROWSER is None:
        raise SystemExit("The pictures need Chromium: apt install chromium")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for other, changed in OTHERS.items():
            execute(folder, "train_tabstar", *WORDS, f"experiment_config.run_name={other}", changed)
        screens = watch(command("train_tabstar", *WORDS), COLUMNS, folder, rows=24).screens
        live = [
            screen for screen in screens if any("━" in line and "best" in line and "ETA" in line for line in screen)
        ]
        lines = [line.replace(f"{folder}/", "") for line in (live or screens)[-1] if line]
        draw(["$ train_tabstar", *lines], HERE / "terminal.svg")
        look(folder)


def draw(lines: list[str], path: Path) -> None:
    """Draw what stands on a terminal."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for line in lines:
        text = Text(line)
        text.highlight_regex("━+", "cyan")
        console.print(text)
    console.save_svg(str(path), title="train_tabstar")


def look(folder: Path) -> None:
    """Open the UI as ``track`` does, and take its pictures."""
    server = subprocess.Popen([*TRACK, "-p", "5099"], cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True)
    try:
        address = next(iter(server.stdout or ())).strip()
        page(address, folder, picture=HERE / "runs.png", size="1700,620")
        (record,) = folder.glob("runs/logs/*/run/run.json")
        run = RunFiles(record.parent)
        run_id = next(iter(run.stages.values()))["mlflow_run_id"]
        at = f"{address.partition('/#')[0]}/#/experiments/1/runs/{run_id}"
        figure = f"{at}/artifacts/figures/scores.png?workflowType=machine_learning"
        page(figure, folder, picture=HERE / "figure.png", size="1700,900")
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
