"""The metadata in the header of an exported file: its training, its study, its scores, its hashes.

kohya's keys are those of `train_network.py` and `networks/lora.py` in kohya-ss/sd-scripts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from safetensors import SafetensorError, safe_open

from metrics.contract import Objective
from tuner.models import BaseModel
from tuner.models.lora_file import payload_sha256
from tuner.models.metadata import RUN_KEYS, base_name, training_metadata
from tuner.results.confirmation import Choice
from tuner.space import StudyConfig, TrainConfig
from tuner.space.base_name import parse_base
from tuner.storage import Store, StudyFolder
from tuner.storage.rows import RungRow
from tuner.text import readable

_KINDS = {"lora": "LoRA for", "dreambooth": "DreamBooth of"}
_OLD_HASH_START, _OLD_HASH_LENGTH = 0x100000, 0x10000
"""The bytes of a file that the old hash of A1111 and of kohya's trainer covers."""
_NO_HASH = f"0x{'0' * 64}"


def file_metadata(
    base: BaseModel, config: StudyConfig, train: TrainConfig, rung: RungRow
) -> dict[str, str]:
    """Return the metadata of a rung's file: its base, its training, its study and its scores."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    metadata = training_metadata(base, train, rung.step) | base_hashes(config.base) | _run(rung)
    metadata |= {
        "modelspec.date": now,
        "modelspec.description": (
            f"{_KINDS[train.method]} {base_name(base)}, trial {rung.trial} of the study "
            f"{config.study}"
        ),
        "tuner.study": config.study,
        "tuner.trial": str(rung.trial),
    }
    for name, objective in rung.objectives.items():
        metadata[f"tuner.{name}"] = _number(objective)
    if train.alias is not None:
        # Alone, because A1111 and Lora-Manager show these tags as the words to prompt with.
        count = int(metadata.get("ss_num_train_images", "1"))
        tags = {"tuner": {train.alias: count}}
        metadata["ss_tag_frequency"] = json.dumps(tags, ensure_ascii=False)
        metadata["modelspec.trigger_phrase"] = train.alias
    return metadata


def title_metadata(title: str) -> dict[str, str]:
    """Return the keys for the name of an exported file, without its ending."""
    return dict.fromkeys(("ss_output_name", "modelspec.title"), readable(title))


def started_metadata(folder: StudyFolder, trial: int) -> dict[str, str]:
    """Return the start of the trial in seconds since 1970."""
    with Store(folder.results_db, read_only=True) as store:
        begun = [row.begun for row in store.trials() if row.number == trial]
    seconds = [str(datetime.fromisoformat(text).timestamp()) for text in begun]
    return {"ss_training_started_at": seconds[0]} if seconds else {}


def confirmed_metadata(choice: Choice | None) -> dict[str, str]:
    """Return the confirmed numbers and the reasons as metadata, or "no" if unconfirmed."""
    if choice is None or choice.winner is None:
        return {"tuner.confirmed": "no"}
    metadata = {"tuner.confirmed": "; ".join(choice.why)}
    for name, objective in choice.winner.objectives.items():
        metadata[f"tuner.{name}"] = _number(objective)
    return metadata


def base_hashes(base: str) -> dict[str, str]:
    """Return both hashes of a base that is one file; kohya's trainer has none for other bases."""
    parsed = parse_base(base)
    if parsed.kind != "file" or parsed.path is None:
        return {}
    with parsed.path.open("rb") as file:
        whole = hashlib.file_digest(file, "sha256").hexdigest()
    return {"ss_sd_model_hash": _old_hash(parsed.path), "ss_new_sd_model_hash": whole}


def only_kohya(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the metadata of a file from which its hashes are computed, as kohya's trainer does."""
    return {key: value for key, value in metadata.items() if key.startswith("ss_")}


def lora_hashes(path: Path) -> dict[str, str]:
    """Return the hashes of a LoRA file that has the metadata `only_kohya`."""
    sha256 = payload_sha256(path)
    return {
        "modelspec.hash_sha256": f"0x{sha256}",
        "sshs_model_hash": sha256,
        "sshs_legacy_hash": _old_hash(path),
    }


def room_for_hash() -> dict[str, str]:
    """Return the key of ModelSpec's hash with a value that `put_hash` replaces."""
    return {"modelspec.hash_sha256": _NO_HASH}


def put_hash(path: Path) -> None:
    """Put the hash of the tensors of a file into its header, where `room_for_hash` is.

    A file of 2 GB is then not written twice.
    """
    sha256 = payload_sha256(path)
    with path.open("r+b") as file:
        header = file.read(8 + int.from_bytes(file.read(8), "little"))
        place = header.index(_NO_HASH.encode())
        file.seek(8 + place)
        file.write(f"0x{sha256}".encode())


def _old_hash(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(_OLD_HASH_START)
        return hashlib.sha256(file.read(_OLD_HASH_LENGTH)).hexdigest()[:8]


def _run(rung: RungRow) -> dict[str, str]:
    """Return what only the training run knew, from the header of its file."""
    assert rung.lora is not None
    try:
        with safe_open(rung.lora, framework="pt") as opened:
            trained = opened.metadata() or {}
    except (SafetensorError, OSError):
        return {}  # reading its tensors reports what is wrong
    return {key: trained[key] for key in RUN_KEYS if key in trained}


def _number(objective: Objective) -> str:
    return f"{objective.value:.4f} [{objective.low:.4f}, {objective.high:.4f}]"
