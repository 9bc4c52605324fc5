"""Put the figures of ``python -m benchmarks.gpu`` into ``docs/speed.md``: ``python -m benchmarks.gpu_page LOG``."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from pathlib import Path

from tabstar_lit.engine.reports.markdown import table

PAGE = Path(__file__).resolve().parents[1] / "docs" / "speed.md"
BEGIN, END = "<!-- figures of a card -->", "<!-- end of the figures of a card -->"
FIGURE = re.compile(r"^BENCH gpu\.(\w+)=(\S+)$", re.MULTILINE)
FACT = re.compile(r"^# on (.+)$", re.MULTILINE)

GOALS: dict[str, float] = {
    "tabstar_rows_per_s_b32": 1000,
    "tabstar_rows_per_s_b128": 5700,
    "tabstar_vs_official_b32": 8,
    "tabstar_engine_vs_bare_b128": 0.95,
    "tabstar_engine_vs_recorded_b128": 0.95,
    "mlp_engine_vs_plain_b1024": 0.9,
    "mlp_engine_vs_plain_b8192": 0.95,
    "part_jets_per_s": 20_000,
    "part_vs_weaver": 1.8,
    "part_engine_vs_network": 0.95,
    "plain_transformer_jets_per_s": 40_000,
}
"""What is aimed at."""


def section(log: str) -> str:
    """Return the table of the figures in a log, with the card and the versions it names."""
    rows = [
        (f"`gpu.{name}`", _shown(float(value)), _shown(GOALS[name]) if name in GOALS else "")
        for name, value in FIGURE.findall(log)
    ]
    when = datetime.now(UTC).strftime("%Y-%m-%d")
    return "\n".join([f"{when}: {'; '.join(FACT.findall(log))}.", "", *table(("figure", "measured", "goal"), rows)])


def write(page: Path, log: str) -> None:
    """Replace the figures of the page between its two marks.

    Raises
    ------
    ValueError
        The page lacks the marks.
    """
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{page} lacks the lines {BEGIN} and {END}, between which the figures go.")
    page.write_text(f"{before}{BEGIN}\n\n{section(log)}\n{END}{after}", encoding="utf-8")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


if __name__ == "__main__":
    write(PAGE, Path(sys.argv[1]).read_text(encoding="utf-8"))
