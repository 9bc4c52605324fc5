"""Where a run comes from, for a tracking service: who, by which command and commit, on which data and device."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tabstar_lit.config import redact

if TYPE_CHECKING:
    from tabstar_lit.config.schema import Experiment
    from tabstar_lit.engine.runs.directory import RunDirectory


@dataclass(frozen=True, slots=True)
class Origin:
    """What ``run.json`` knows of the origin of a run; None where it is not known, or not known yet.

    Attributes
    ----------
    user, command, commit, device : str or None
        Who typed which command, on which commit of the repository it was typed in, and what trains.
    dataset : str
        Name of the data.
    fingerprint : str or None
        Hash of the data.
    source : str
        ``dataset_config`` as JSON: where the data come from.
    """

    user: str | None
    command: str | None
    commit: str | None
    device: str | None
    dataset: str
    fingerprint: str | None
    source: str

    def facts(self) -> dict[str, str]:
        """Return what is known, by name."""
        named = {
            "user": self.user,
            "command": self.command,
            "git_commit": self.commit,
            "device": self.device,
            "dataset": self.dataset,
            "data_fingerprint": self.fingerprint,
        }
        return {name: value for name, value in named.items() if value is not None}


def origin_of(experiment: Experiment, run: RunDirectory, stage: str | None = None) -> Origin:
    """Return where a run, or one of its stages, comes from, as far as its ``run.json`` says by now."""
    record = run.record()
    data = redact(experiment.model_dump(by_alias=True))["dataset_config"]
    return Origin(
        user=record.get("user"),
        command=record.get("command"),
        commit=(record.get("git") or {}).get("commit"),
        device=_device(record.get("hardware") or {}),
        dataset=data["name"],
        fingerprint=None if stage is None else run.stage(stage).get("data_fingerprint"),
        source=json.dumps(data, default=str),
    )


def _device(hardware: dict[str, Any]) -> str | None:
    if not hardware:
        return None
    return f"{hardware['world_size']} x {hardware.get('name') or hardware['accelerator']}"
