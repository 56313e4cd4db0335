"""The models of the judges; the word `mannequin` means the models shipped with the tool."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType

import huggingface_hub
from safetensors import SafetensorError, safe_open

from metrics.contract import DLIB, OPTIONAL_MODELS, Domain, JudgeSettings
from metrics.detectors.models import dlib_weights
from tuner.errors import ConfigError, MissingModelError
from tuner.space import StudyConfig
from tuner.space.config import FACE, MANNEQUIN, NO_IDENTITY, JudgeConfig
from tuner.storage import shipped

CONFIG_FILE, WEIGHTS_FILE = "open_clip_config.json", "open_clip_model.safetensors"
"""The files of a folder with an open_clip model."""

_HUB_CONFIG = "config.json"

MANNEQUIN_ON_PHOTOGRAPHS = (
    "the {key} model `mannequin` knows drawn figures only, these pictures count as photographs; "
    "name another model, or say that they are drawn"
)

FACE_ON_DRAWINGS = (
    "the gender model `face` reads faces on photographs only, and these pictures count as drawn; "
    "name another model, or say that they are photographs"
)

_DIGITS = 12


def judge_settings(
    gender_model: str | None,
    person_model: str | None,
    copy_model: str | None = None,
    domain: Domain = "photographic",
    optional: Mapping[str, str | None] = MappingProxyType({}),
) -> JudgeSettings:
    """Return judge settings in which `mannequin` is replaced by the shipped folders.

    The gender model `face` becomes None: on photographs the face is read in any case. A path that
    begins with `~` is expanded. A judge whose model is None does not judge; `optional` has the
    models of OPTIONAL_MODELS and that of `identity_model` by name. Raises ConfigError for the
    mannequin's models on photographs and for `face` on drawings.
    """
    for key, model in (("gender", gender_model), ("person", person_model)):
        if model == MANNEQUIN and domain == "photographic":
            raise ConfigError(MANNEQUIN_ON_PHOTOGRAPHS.format(key=key))
    if gender_model == FACE and domain == "drawn":
        raise ConfigError(FACE_ON_DRAWINGS)
    gender_model = None if gender_model == FACE else gender_model
    gender_model, person_model = _expanded(gender_model), _expanded(person_model)
    copy_model = _expanded(copy_model)
    return JudgeSettings(
        gender_model=str(shipped.CLIP) if gender_model == MANNEQUIN else gender_model,
        person_model=str(shipped.YOLO) if person_model == MANNEQUIN else person_model,
        traits=shipped.CLIP_TRAITS if gender_model == MANNEQUIN else None,
        sex_margin=shipped.CLIP_SEX_MARGIN if gender_model == MANNEQUIN else None,
        copy_model=str(shipped.CLIP) if copy_model == MANNEQUIN else copy_model,
        pose_model=_expanded(optional.get("pose_model")),
        parser_model=_expanded(optional.get("parser_model")),
        vlm=_expanded(optional.get("vlm")),
        identity_model=_expanded(optional.get("identity_model")),
        domain=domain,
    )


def optional_models(chosen: JudgeConfig) -> dict[str, str | None]:
    """Return the models of a search space for the judges of OPTIONAL_MODELS, by name."""
    return {name: getattr(chosen, name) for name in OPTIONAL_MODELS}


def identity_model(chosen: str | None, domain: Domain) -> str | None:
    """Return the model that tells faces apart; None on drawings, and where none is wanted or here.

    `chosen` is that of a search space: `none` for no model, None for dlib where its packages are
    installed.
    """
    if domain == "drawn" or chosen == NO_IDENTITY:
        return None
    return chosen or (DLIB if dlib_weights() is not None else None)


def place_of(name: str, model: str) -> str:
    """Return where the model of an optional judge is: here, in the hub's cache, or on the hub.

    No network is used. Raises MissingModelError for a path without such a model, and for a hub id
    that is not in the cache while HF_HUB_OFFLINE is set.
    """
    path = Path(model)
    if path.suffix == ".pt":
        if not path.is_file():
            raise MissingModelError(f"judges.{name} {model}: no such file")
        return "a file"
    if os.path.isabs(model) or path.is_dir():
        if lacking := _lacking(path):
            raise MissingModelError(f"judges.{name} {model}: {lacking}")
        return "a folder"
    cached = huggingface_hub.try_to_load_from_cache(model, _HUB_CONFIG)
    if isinstance(cached, str) and not _lacking(Path(cached).parent):
        return "in the hub's cache"
    if huggingface_hub.constants.HF_HUB_OFFLINE:
        raise MissingModelError(
            f"judges.{name} {model} is not in the hub's cache and HF_HUB_OFFLINE is set; unset it "
            "once, or give a folder"
        )
    return "will be downloaded from the hub at the first run"


def _lacking(folder: Path) -> str:
    """Return what a folder lacks of a model of transformers; empty if it has all."""
    if not folder.is_dir():
        return "no such folder"
    if not (folder / _HUB_CONFIG).is_file():
        return f"the folder lacks {_HUB_CONFIG}"
    return "" if any(folder.glob("*.safetensors")) else "the folder lacks .safetensors"


def refuse_broken(model: str | None) -> None:
    """Raise MissingModelError if `model` is a folder of open_clip whose files are damaged.

    open_clip itself fails on them in ways that no judge catches. A folder that lacks a file, and
    everything else that `model` may be, is left to the judges.
    """
    config, weights = (Path(model or "", name) for name in (CONFIG_FILE, WEIGHTS_FILE))
    if not model or not config.is_file() or not weights.is_file():
        return
    try:
        json.loads(config.read_text("utf-8"))
        with safe_open(weights, "np"):
            pass
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise MissingModelError(
            f"open_clip model {model} is damaged ({reason}); fetch it again"
        ) from None


def _expanded(model: str | None) -> str | None:
    """Return a model as it is named, or, if its name begins with `~`, as an absolute path.

    A `~` that names no user is part of the path.
    """
    if model is None or not model.startswith("~"):
        return model
    return os.path.abspath(os.path.expanduser(model))


def mannequin_judges(weights: Path = shipped.WEIGHTS) -> JudgeSettings:
    """Return the settings of a study on the mannequin, with models in the folder `weights`."""
    own = judge_settings(MANNEQUIN, MANNEQUIN, domain="drawn")
    clip, yolo = str(weights / "clip"), str(weights / "yolo")
    return replace(own, gender_model=clip, person_model=yolo)


def study_judges(config: StudyConfig) -> JudgeSettings:
    """Return the judge settings of a study."""
    chosen = config.judges
    settings = judge_settings(
        chosen.gender_model_for(config.base),
        chosen.person_model_for(config.base),
        chosen.copy_model,
        chosen.domain_for(config.base),
        optional_models(chosen),
    )
    faces = identity_model(chosen.identity_model, settings.domain)
    return replace(settings, sex_threshold=chosen.sex_threshold, identity_model=_expanded(faces))


def model_names(settings: JudgeSettings) -> Mapping[str, str | None]:
    """Return model names by setting, as saved selfchecks hold them: the same on every machine.

    A file or folder becomes its name and the digest of its content, `yolov8n.pt@31e20dde3def`; an
    open_clip model keeps its name. Models of optional judges that are not used are left out.
    """
    every = asdict(settings)
    models = {name: every[name] for name in ("gender_model", "person_model", "copy_model")}
    optional = (*OPTIONAL_MODELS, "identity_model")
    models |= {name: every[name] for name in optional if every[name] is not None}
    return {name: None if model is None else _with_digest(model) for name, model in models.items()}


@functools.cache
def _with_digest(model: str) -> str:
    path = Path(os.path.expanduser(model))
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    if not all(file.is_file() for file in files):
        return model
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return f"{path.absolute().name}@{digest.hexdigest()[:_DIGITS]}"
