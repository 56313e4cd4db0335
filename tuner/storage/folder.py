"""Every path and file name below `<studies>/<name>/`; no other module builds one.

Databases keep paths relative to the study folder, so that a study can be moved.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import ConfigError
from tuner.text import readable

DEFAULT_STUDIES = Path("studies")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RUNG = "rung_"


@dataclass(frozen=True)
class RungFolder:
    """Files of one checkpoint: its LoRA or weights, its samples and their grid.

    The base without LoRA has the same folder, without trained files.
    """

    root: Path

    @property
    def lora(self) -> Path:
        """LoRA at this step: fp16, kohya's key names."""
        return self.root / "lora.safetensors"

    @property
    def weights(self) -> Path:
        """DreamBooth's weights at this step: fp16, diffusers' key names."""
        return self.root / "weights.safetensors"

    def trained(self, method: str) -> Path:
        """Return the file that a run of `method` (lora, dreambooth) writes."""
        return self.lora if method == "lora" else self.weights

    @property
    def samples(self) -> Path:
        """Folder of the sampled pictures."""
        return self.root / "samples"

    @property
    def grid(self) -> Path:
        """All samples in one picture, prompts by seeds."""
        return self.root / "grid.png"

    def extra(self, name: str) -> RungFolder:
        """Return the folder of the extra suite `name`, with the layout of a rung."""
        return RungFolder(self.root / "extra" / name)

    def sample(self, index: int) -> Path:
        """Return the picture of cell `index` of the suite, from 0; seeds vary fastest."""
        return self.samples / f"{index:04d}.png"


@dataclass(frozen=True)
class TrialFolder:
    """One trial: its parameters, its rungs, and `done`, which is written last."""

    root: Path

    @property
    def train_yaml(self) -> Path:
        """Training configuration with all its values."""
        return self.root / "train.yaml"

    @property
    def done(self) -> Path:
        """File with the trial's state, written once the trial ended and its end is stored."""
        return self.root / "done"

    @property
    def failure(self) -> Path:
        """Traceback of a trial that failed for a reason outside its parameters."""
        return self.root / "failure.txt"

    def rung(self, step: int) -> RungFolder:
        """Return the folder of the checkpoint at optimizer step `step`."""
        return RungFolder(self.root / f"{_RUNG}{step:04d}")


@dataclass(frozen=True)
class StudyFolder:
    """Files of one study. Creating the object writes nothing; `create` makes the folder."""

    root: Path

    @property
    def name(self) -> str:
        """Name of the study."""
        return self.root.name

    @property
    def study_yaml(self) -> Path:
        """Resolved configuration: a search space that gives the same study."""
        return self.root / "study.yaml"

    @property
    def optuna_db(self) -> Path:
        """Optuna's database."""
        return self.root / "optuna.db"

    @property
    def results_db(self) -> Path:
        """Database of everything that was measured (`tuner.storage.store`)."""
        return self.root / "results.db"

    @property
    def calibration(self) -> Path:
        """Results of selfchecks on pictures of the study's base (`tuner.judging.calibration`)."""
        return self.root / "calibration.json"

    @property
    def thresholds(self) -> Path:
        """Thresholds of the judges, set by the training pictures (`tuner.judging.thresholds`)."""
        return self.root / "thresholds.json"

    @property
    def report(self) -> Path:
        """Report, a single file."""
        return self.root / "report.html"

    def judged_file(self, sha256: str) -> Path:
        """Return the place of a file that is judged, by the hash of its content."""
        return self.root / "files" / f"{sha256}.safetensors"

    @property
    def lock(self) -> Path:
        """Lock file of the process that runs the study."""
        return self.root / "run.lock"

    @property
    def running(self) -> Path:
        """What the workers of the running study do (`tuner.results.running`)."""
        return self.root / "running.json"

    @property
    def base(self) -> Path:
        """Folder of the suite without LoRA, with the layout of a rung."""
        return self.root / "base"

    def base_on(self, suite: str) -> Path:
        """Return the folder of the extra suite `suite` without LoRA, with the layout of a rung."""
        return self.root / "base_on" / suite

    def embeddings(self, data: str | None) -> Path:
        """Return the file with the embeddings of a training set.

        `data` is its name in `train.data`, None for the only one.
        """
        return self.root / "embeddings" / f"{data or 'data'}.safetensors"

    @property
    def faces(self) -> Path:
        """File with the vectors of the faces of the person's photographs."""
        return self.root / "embeddings" / "faces" / "faces.safetensors"

    @property
    def kept(self) -> Path:
        """Cached latents and text embeddings of the training sets; can be deleted at any time."""
        return self.root / "kept"

    @property
    def regularisation(self) -> Path:
        """Regularisation pictures that the base drew, with their prompts."""
        return self.root / "regularisation"

    @property
    def artifacts(self) -> Path:
        """The grids once more for the dashboard, under names as Optuna gives them."""
        return self.root / "artifacts"

    @property
    def logs(self) -> Path:
        """Logs of `tuner run --log`: those of TensorBoard in `tensorboard`, of wandb in `wandb`."""
        return self.root / "logs"

    @property
    def trials(self) -> Path:
        """Parent folder of the trials."""
        return self.root / "trials"

    @property
    def confirm(self) -> Path:
        """Folder of the samples and LoRAs of a confirmation."""
        return self.root / "confirm"

    def trial(self, number: int) -> TrialFolder:
        """Return the folder of the trial with Optuna's `number`."""
        return TrialFolder(self.trials / f"{number:04d}")

    @property
    def fresh_base(self) -> Path:
        """Folder of the base on the fresh noise of a confirmation, with the layout of a rung."""
        return self.confirm / "base"

    def repeat(self, number: int, step: int, repeat: int) -> TrialFolder:
        """Return a candidate's folder in a confirmation, with the layout of a trial.

        Its fresh samples are in its rung. Repeat 0 samples the LoRA in the trial's folder; others
        have their own.
        """
        name = f"step_{step:04d}_repeat_{repeat:02d}"
        return TrialFolder(self.confirm / f"{number:04d}" / name)

    def fresh_rung(self, trial: int | None, step: int, repeat: int) -> RungFolder:
        """Return the folder of a LoRA's fresh samples in a confirmation; `trial` None: the base."""
        if trial is None:
            return RungFolder(self.fresh_base)
        return self.repeat(trial, step, repeat).rung(step)

    def create(self) -> None:
        """Make the folder if it does not exist."""
        self.root.mkdir(parents=True, exist_ok=True)

    def exists(self) -> bool:
        """Return True if a study was begun here; False for a folder that may not be read."""
        return os.path.isfile(self.results_db)

    def closed(self) -> bool:
        """Return True if this user may not look into the folder."""
        return os.path.isdir(self.root) and not os.access(self.root, os.R_OK | os.X_OK)

    def relative(self, path: Path) -> str:
        """Return `path` as the databases keep it: relative to the study, with forward slashes.

        Raises ValueError for a path outside the study.
        """
        return path.resolve().relative_to(self.root.resolve()).as_posix()

    def absolute(self, relative: str) -> Path:
        """Return the path that the databases keep as `relative`."""
        return self.root / relative


def study_folder(studies: Path, name: str) -> StudyFolder:
    """Return the folder of the study `name` below `studies`.

    Raises ConfigError for a name that could leave the folder or is invalid on other systems, and
    for a folder whose path is not UTF-8, in which no database can be opened.
    """
    if readable(str(studies.absolute())) != str(studies.absolute()):
        raise ConfigError(
            f"{studies}: the name of this folder is not UTF-8; rename it, or give another folder "
            "with --studies"
        )
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"study name {name!r} cannot be a folder name: use 1 to 64 of the characters "
            "A-Z a-z 0-9 . _ -, beginning with a letter or digit"
        )
    return StudyFolder(studies / name)


def existing_study(studies: Path, name: str) -> StudyFolder:
    """Return the study `name`: a study below `studies`, or a path to its folder.

    Raises ConfigError with the names of the existing studies if there is no such study.
    """
    as_path = Path(os.path.expanduser(name))
    if as_path.name in ("", ".."):  # `.` has a name, too
        as_path = Path(os.path.abspath(name))
    named = [StudyFolder(as_path)] if as_path.name != name else []
    named += [StudyFolder(studies / name)] if _NAME.fullmatch(name) else []
    for folder in named:
        if folder.exists() or folder.closed():
            return folder
    known = ", ".join(folder.name for folder in all_studies(studies)) or "none yet"
    wanted = "give the name of a study, or the path of its folder"
    if os.path.isfile(name):
        raise ConfigError(f"{name} is a file; {wanted} (in {studies}: {known})")
    if os.path.isdir(name) and name != as_path.name:
        raise ConfigError(f"{name} holds no study; {wanted} (in {studies}: {known})")
    raise ConfigError(f"no study {name!r} in {studies} (there: {known})")


def study_name(folder: StudyFolder, default: Path) -> str:
    """Return how a command names a study: by name below `default`, by path anywhere else."""
    return folder.name if folder.root.parent == default else str(folder.root)


def all_studies(studies: Path) -> list[StudyFolder]:
    """Return the studies below `studies`, sorted by name; none if the folder does not exist.

    A folder that may not be read counts as a study. Raises ConfigError if `studies` is a file.
    """
    if not os.path.exists(studies):
        return []
    if not os.path.isdir(studies):
        raise ConfigError(f"{studies} is a file; give the folder that holds the studies")
    folders = [StudyFolder(path) for path in sorted(studies.iterdir()) if path.is_dir()]
    return [folder for folder in folders if folder.exists() or folder.closed()]
