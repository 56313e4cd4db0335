"""Runs in Weights & Biases; without network with WANDB_MODE=offline. The key is left to wandb."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping

import PIL.Image
import wandb

from tuner.errors import ConfigError, TunerError
from tuner.events import COUNTED, TrialState
from tuner.report.log import parameter_values, run_name
from tuner.storage import StudyFolder

_PROJECT = "tuner"
"""Project of the runs unless WANDB_PROJECT names another one."""


def require_account() -> None:
    """Raise ConfigError if wandb is online and has no account that it can reach."""
    way_out = "run `wandb login`, or set WANDB_MODE=offline"
    try:
        if wandb.setup(_settings()).settings.mode != "online":
            return
        known = wandb.login(prompt=False)
    except (wandb.Error, ValueError, OSError) as error:
        raise ConfigError(f"--log wandb: {_first_line(error)}; {way_out}") from error
    if not known:
        raise ConfigError(f"--log wandb: no account on this machine; {way_out}")


def begin_run(
    folder: StudyFolder, trial: int | None, parameters: Mapping[str, object]
) -> WandbRun | None:
    """Open the run of a trial (None: the base) in the group of the study.

    Returns None if it is written already. Raises TunerError if wandb refuses it.
    """
    name = run_name(trial)
    if any((folder.logs / "wandb").glob(f"*run-*-{name}-*")):
        return None
    folder.logs.mkdir(exist_ok=True)
    try:
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            group=folder.name,
            name=name,
            id=f"{name}-{secrets.token_hex(4)}",
            dir=str(folder.logs),
            config=parameter_values(parameters),
            reinit="create_new",  # trials run side by side
            settings=_settings(),
        )
    except wandb.Error as error:
        raise TunerError(f"wandb: {name} is not logged: {_first_line(error)}") from error
    return WandbRun(run)


class WandbRun:
    """An open run of wandb."""

    def __init__(self, run: wandb.Run) -> None:
        """Write into `run`."""
        self._run = run

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Write numbers by name."""
        self._run.log(dict(values), step=step)

    def picture(self, step: int, picture: PIL.Image.Image) -> None:
        """Write the grid of a rung."""
        self._run.log({"grid": wandb.Image(picture, file_type="jpg")}, step=step)

    def close(self, state: TrialState, reason: str | None) -> None:
        """Write how the trial ended, and close the run."""
        self._run.summary.update({"state": state} | ({"reason": reason} if reason else {}))
        self._run.finish(exit_code=0 if state in COUNTED else 1)


def _settings() -> wandb.Settings:
    """Return settings with which wandb prints nothing and sends no code and no output of ours.

    Nor does it send what it calls metadata: the command line may have a password.
    """
    return wandb.Settings(
        silent=True, console="off", disable_git=True, save_code=False, x_disable_meta=True
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
