"""Every path and file name below `<studies>/<name>/`, and how a file gets there whole.

Other modules ask here for a path; none puts one together. Databases keep paths relative to the
study folder, so that a study can be moved.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import ConfigError

DEFAULT_STUDIES = Path("studies")
"""Where studies lie unless the user says otherwise."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RUNG = "rung_"


@dataclass(frozen=True)
class RungFolder:
    """What one checkpoint left behind: what it trained, its samples and their grid.

    The base by itself has the same folder, without what is trained.
    """

    root: Path

    @property
    def lora(self) -> Path:
        """The LoRA as it was written at this step: fp16, kohya names."""
        return self.root / "lora.safetensors"

    @property
    def weights(self) -> Path:
        """DreamBooth's weights as they were written at this step: fp16, diffusers' names."""
        return self.root / "weights.safetensors"

    def trained(self, method: str) -> Path:
        """The file that a run of `method` (lora, dreambooth) writes."""
        return self.lora if method == "lora" else self.weights

    @property
    def samples(self) -> Path:
        """The folder of the pictures."""
        return self.root / "samples"

    @property
    def grid(self) -> Path:
        """All pictures in one, prompts by seeds."""
        return self.root / "grid.png"

    def extra(self, name: str) -> RungFolder:
        """What was sampled beside the suite under `name`, laid out like a rung."""
        return RungFolder(self.root / "extra" / name)

    def sample(self, index: int) -> Path:
        """The picture of cell `index` of the suite, counted from 0, prompts before seeds."""
        return self.samples / f"{index:04d}.png"


@dataclass(frozen=True)
class TrialFolder:
    """One trial: its parameters, its rungs, and `done`, which is written last."""

    root: Path

    @property
    def train_yaml(self) -> Path:
        """The training configuration, every value of it."""
        return self.root / "train.yaml"

    @property
    def done(self) -> Path:
        """There once the trial is over and told; holds its state."""
        return self.root / "done"

    @property
    def failure(self) -> Path:
        """The traceback of a trial that failed for a reason outside its parameters."""
        return self.root / "failure.txt"

    def rung(self, step: int) -> RungFolder:
        """The folder of the checkpoint at optimizer step `step`."""
        return RungFolder(self.root / f"{_RUNG}{step:04d}")


@dataclass(frozen=True)
class StudyFolder:
    """One study. Making the value touches no disk; `create` makes the folder."""

    root: Path

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.root.name

    @property
    def study_yaml(self) -> Path:
        """The resolved configuration: a search space that gives the same study."""
        return self.root / "study.yaml"

    @property
    def optuna_db(self) -> Path:
        """Optuna's memory."""
        return self.root / "optuna.db"

    @property
    def results_db(self) -> Path:
        """What was measured: `tuner.storage.store`."""
        return self.root / "results.db"

    @property
    def calibration(self) -> Path:
        """What selfchecks on pictures of the study's base found: `tuner.judging.calibration`."""
        return self.root / "calibration.json"

    @property
    def report(self) -> Path:
        """The report, one file."""
        return self.root / "report.html"

    @property
    def lock(self) -> Path:
        """Held by the process that runs the study."""
        return self.root / "run.lock"

    @property
    def base(self) -> Path:
        """The suite without LoRA, laid out like a rung."""
        return self.root / "base"

    def base_on(self, suite: str) -> Path:
        """Another suite than the study's without LoRA, laid out like a rung."""
        return self.root / "base_on" / suite

    def embeddings(self, data: str | None) -> Path:
        """The vectors of the training set that `train.data` calls `data`; None: the only one."""
        return self.root / "embeddings" / f"{data or 'data'}.safetensors"

    @property
    def kept(self) -> Path:
        """Latents and text embeddings of the training sets; can be deleted at any time."""
        return self.root / "kept"

    @property
    def regularisation(self) -> Path:
        """Pictures of the base that trials train beside the data, with their prompts."""
        return self.root / "regularisation"

    @property
    def artifacts(self) -> Path:
        """Copies of the grids for the dashboard; Optuna names the files."""
        return self.root / "artifacts"

    @property
    def trials(self) -> Path:
        """Below it lie the trials."""
        return self.root / "trials"

    @property
    def confirm(self) -> Path:
        """Below it lies what a confirmation draws and trains."""
        return self.root / "confirm"

    def trial(self, number: int) -> TrialFolder:
        """The folder of the trial that Optuna gave `number`."""
        return TrialFolder(self.trials / f"{number:04d}")

    @property
    def fresh_base(self) -> Path:
        """The base on the fresh noise of a confirmation, laid out like a rung."""
        return self.confirm / "base"

    def repeat(self, number: int, step: int, repeat: int) -> TrialFolder:
        """A candidate in a confirmation, laid out like a trial: its fresh samples lie in its rung.

        Repeat 0 samples the LoRA that lies with the trial; others have one of their own.
        """
        name = f"step_{step:04d}_repeat_{repeat:02d}"
        return TrialFolder(self.confirm / f"{number:04d}" / name)

    def fresh_rung(self, trial: int | None, step: int, repeat: int) -> RungFolder:
        """The fresh samples of a LoRA in a confirmation; of the base where `trial` is None."""
        if trial is None:
            return RungFolder(self.fresh_base)
        return self.repeat(trial, step, repeat).rung(step)

    def create(self) -> None:
        """Make the folder, where it is not there yet."""
        self.root.mkdir(parents=True, exist_ok=True)

    def exists(self) -> bool:
        """True once a study was begun here."""
        return self.results_db.is_file()

    def relative(self, path: Path) -> str:
        """`path` as the databases keep it: from the study folder, with forward slashes.

        Raises ValueError for a path outside the study.
        """
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def absolute(self, relative: str) -> Path:
        """The path that `relative` named."""
        return self.root / relative


def study_folder(studies: Path, name: str) -> StudyFolder:
    """The folder of the study `name` below `studies`.

    Raises ConfigError for a name that could leave the folder or break on another system.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"study name {name!r} cannot be a folder: use 1 to 64 of the characters "
            "A-Z a-z 0-9 . _ -, beginning with a letter or digit"
        )
    return StudyFolder(studies / name)


def existing_study(studies: Path, name: str) -> StudyFolder:
    """The study that a user means by `name`: a study below `studies`, or a path to its folder.

    Raises ConfigError with the studies that are there when there is none of that name.
    """
    as_path = Path(name)
    if as_path.name != name and StudyFolder(as_path).exists():
        return StudyFolder(as_path)
    if _NAME.fullmatch(name) and StudyFolder(studies / name).exists():
        return StudyFolder(studies / name)
    known = ", ".join(folder.name for folder in all_studies(studies)) or "none yet"
    raise ConfigError(f"no study {name!r} in {studies} (there: {known})")


def study_name(folder: StudyFolder, default: Path) -> str:
    """What a command calls a study: its name below `default`, its path anywhere else."""
    return folder.name if folder.root.parent == default else str(folder.root)


def all_studies(studies: Path) -> list[StudyFolder]:
    """The studies below `studies`, by name; an absent folder holds none."""
    if not studies.is_dir():
        return []
    folders = [StudyFolder(path) for path in sorted(studies.iterdir()) if path.is_dir()]
    return [folder for folder in folders if folder.exists()]
