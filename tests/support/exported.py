"""Models as the command exports them, loaded back from the file that it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from checks import assert_equal
from click.testing import CliRunner

import tabstar_lit
from tabstar_lit.commands.cli import main


def loaded_from_weights(checkpoint: Path, folder: Path) -> Any:
    """Export the model of a checkpoint as named weights, and return what is loaded from them, once it is the same."""
    output = folder / "model.safetensors"
    done = CliRunner().invoke(main, ["export", str(checkpoint), "--safetensors", "-o", str(output)])
    assert done.exit_code == 0, done.output
    own, again = tabstar_lit.load(checkpoint), tabstar_lit.load(output)
    assert_equal(dict(again.config), dict(own.config))
    assert_equal(dict(again.network.state_dict()), dict(own.network.state_dict()))
    assert f"# {output.name}" in (folder / "model.README.md").read_text()
    return again
