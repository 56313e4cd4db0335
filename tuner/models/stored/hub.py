"""Bases on a model hub: the files that are needed, from the hub or from its cache here."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
from huggingface_hub import constants, errors

from tuner.errors import MissingModelError, TunerError
from tuner.models.stored.index import read_index
from tuner.models.stored.variants import choose_weights
from tuner.space.base_name import ParsedBase

_SIZES = (
    "model_index.json",
    "scheduler/scheduler_config.json",
    *(f"{part}/config.json" for part in ("unet", "transformer", "vae")),
)
_SECONDS = 20
_SETTINGS = (".json", ".txt")


def cached_folder(parsed: ParsedBase) -> Path | None:
    """Return the folder of a hub id in the hub's cache; None if its index is not there."""
    cached = huggingface_hub.try_to_load_from_cache(
        str(parsed.hub_id), "model_index.json", revision=parsed.revision
    )
    return Path(cached).parent if isinstance(cached, str) else None


def settings_folder(parsed: ParsedBase) -> Path | None:
    """Return the folder of a hub id in the cache, with its index and the sizes of its networks.

    These few small files are fetched first, if a network may be used; None if they are not to be
    had, which loading the base explains.
    """
    try:
        return Path(
            huggingface_hub.snapshot_download(
                str(parsed.hub_id),
                revision=parsed.revision,
                allow_patterns=list(_SIZES),
                local_files_only=is_offline(),
            )
        )
    except Exception:  # a hub and its network raise errors of many libraries
        return cached_folder(parsed)


def is_offline() -> bool:
    """Return True if HF_HUB_OFFLINE is set."""
    return bool(constants.HF_HUB_OFFLINE)


def not_cached(base: str) -> MissingModelError:
    """Return the error for a base that is not in the cache while the hub may not be used."""
    return MissingModelError(
        f"base {base} is not in the hub's cache and HF_HUB_OFFLINE is set; unset it once, or "
        "give a diffusers folder or a .safetensors file"
    )


def fetch(base: str, parsed: ParsedBase) -> Path:
    """Return the folder of a hub id in the cache, after fetching the files that are missing there.

    Only settings and one variant of the weights are fetched. Without a network the cached files
    are used. Raises MissingModelError with what really happened, and the errors of `read_index`
    and `choose_weights`.
    """
    cached = cached_folder(parsed)
    if is_offline():
        if cached is None:
            raise not_cached(base)
        return cached
    hub_id, revision = str(parsed.hub_id), parsed.revision
    try:
        # Unlike `list_repo_files` it does not repeat a refused connection for half a minute.
        files = huggingface_hub.model_info(hub_id, revision=revision, timeout=_SECONDS).siblings
        names = [file.rfilename for file in files or ()]
        if "model_index.json" not in names:
            raise MissingModelError(
                f"base {base}: the hub's model has no model_index.json, so it is not in diffusers' "
                "layout; fetch its .safetensors checkpoint and give the file"
            )
        index = huggingface_hub.hf_hub_download(hub_id, "model_index.json", revision=revision)
        layout = read_index(base, Path(index).parent).layout
        _, weights = choose_weights(base, layout, names)
        settings = [name for name in names if name.endswith(_SETTINGS)]
        wanted = [name for name in settings if name.partition("/")[0] in layout.parts]
        wanted += [name for files in weights.values() for name in files]
        return Path(
            huggingface_hub.snapshot_download(
                hub_id, revision=revision, allow_patterns=["model_index.json", *wanted]
            )
        )
    except TunerError:
        raise
    except Exception as error:  # a hub and its network raise errors of many libraries
        if cached is not None and not isinstance(error, errors.HfHubHTTPError):
            return cached
        raise MissingModelError(_reason(base, parsed, error)) from error


def _reason(base: str, parsed: ParsedBase, error: Exception) -> str:
    match error:
        case errors.GatedRepoError():
            return (
                f"base {base}: the hub asks for a login and its conditions; accept them on the "
                "model's page, then `hf auth login`"
            )
        case errors.RepositoryNotFoundError():
            return f"base {base}: the hub has no such model, or it is private (`hf auth login`)"
        case errors.RevisionNotFoundError():
            return f"base {base}: the hub's model has no revision {parsed.revision!r}"
        case errors.DisabledRepoError():
            return f"base {base}: the hub has disabled this model; give another base"
    text = " ".join(str(error).split())[:160] or type(error).__name__
    return (
        f"base {base} is not here, and {constants.ENDPOINT} could not be used "
        f"({text}); try again with a network, or give a diffusers folder or a .safetensors file"
    )
