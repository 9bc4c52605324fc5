"""A real browser without a window, where there is one: the page as it is after its scripts have run."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
"""Path of the browser; None on a machine without one."""

PATIENCE_MS = 30_000


def page(address: str, folder: Path, *, picture: Path | None = None, size: str = "1800,1000") -> str:
    """Return the page at ``address`` as HTML, and save what it looks like as the PNG ``picture``.

    Parameters
    ----------
    folder : Path
        For the browser's profile: each test has a browser that has seen nothing.
    """
    command = [
        str(BROWSER),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'browser'}",
        f"--window-size={size}",
        f"--virtual-time-budget={PATIENCE_MS}",
        "--dump-dom" if picture is None else f"--screenshot={picture}",
        address,
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout
