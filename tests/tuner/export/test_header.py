"""The headers of exports against the keys and hashes of kohya's trainer, and what programs read."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

from tuner.export.header import base_hashes, put_hash, room_for_hash
from tuner.export.lora import write_lora
from tuner.models import BaseModel
from tuner.models.lora_file import LoraFile, LoraModule
from tuner.models.metadata import chunks_in, network_arguments, run_metadata, training_metadata
from tuner.space import TrainConfig

KOHYA = {
    "ss_session_id", "ss_training_started_at", "ss_output_name", "ss_learning_rate",
    "ss_text_encoder_lr", "ss_unet_lr", "ss_num_train_images", "ss_num_reg_images",
    "ss_num_batches_per_epoch", "ss_num_epochs", "ss_epoch", "ss_steps",
    "ss_gradient_checkpointing", "ss_gradient_accumulation_steps", "ss_max_train_steps",
    "ss_lr_warmup_steps", "ss_lr_scheduler", "ss_network_module", "ss_network_dim",
    "ss_network_alpha", "ss_network_dropout", "ss_network_args", "ss_mixed_precision", "ss_v2",
    "ss_base_model_version", "ss_clip_skip", "ss_max_token_length", "ss_cache_latents", "ss_seed",
    "ss_noise_offset", "ss_optimizer", "ss_prior_loss_weight", "ss_min_snr_gamma",
    "ss_zero_terminal_snr", "ss_training_comment", "ss_caption_dropout_rate",
    "ss_total_batch_size", "ss_resolution", "ss_enable_bucket", "ss_keep_tokens",
    "ss_shuffle_caption", "ss_tag_frequency", "ss_sd_model_name", "ss_sd_model_hash",
    "ss_new_sd_model_hash", "ss_training_finished_at",
}  # fmt: skip
"""Keys of `train_network.py`; those of its data folders are left out, because we write none."""

MODELSPEC = {
    "sai_model_spec", "architecture", "implementation", "title", "resolution", "description",
    "author", "date", "hash_sha256", "license", "usage_hint", "trigger_phrase", "tags",
    "prediction_type", "timestep_range", "encoder_layer", "merged_from",
}  # fmt: skip


def unknown(metadata: dict[str, str]) -> set[str]:
    """Keys in the name of another program that it does not have."""
    known = KOHYA | {f"modelspec.{key}" for key in MODELSPEC}
    known |= {"format", "sshs_model_hash", "sshs_legacy_hash"}
    return {key for key in metadata if not key.startswith("tuner.")} - known


def header(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as opened:
        return dict(opened.metadata())


@pytest.mark.parametrize("method", ["lora", "dreambooth"])
def test_only_keys_of_other_programs_are_written_in_their_names(
    base: BaseModel, method: str
) -> None:
    config = TrainConfig.model_validate({"method": method})
    metadata = training_metadata(base, config, 7) | run_metadata(config, 7, 12, 0, "no")
    assert not unknown(metadata)
    assert all(isinstance(value, str) for value in metadata.values())


def test_the_hashes_are_those_that_kohyas_trainer_computes(base: BaseModel, tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    module = LoraModule(torch.randn(64, 9600), torch.randn(320, 64), 64.0)
    written = {"ss_v2": "False", "ss_seed": "3", "modelspec.title": "large", "tuner.trial": "4"}
    write_lora(path, LoraFile({"lora_unet_x": module}, written), base, "kohya")
    metadata = header(path)
    own = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    assert own == {"ss_v2": "False", "ss_seed": "3"}
    file = io.BytesIO(save(load_file(path), own))
    file.seek(0x100000)
    covered = file.read(0x10000)
    assert len(covered) == 0x10000
    assert metadata["sshs_legacy_hash"] == hashlib.sha256(covered).hexdigest()[:8]
    size = int.from_bytes(file.getvalue()[:8], "little")
    sha256 = hashlib.sha256(file.getvalue()[8 + size :]).hexdigest()
    assert metadata["sshs_model_hash"] == sha256
    assert metadata["modelspec.hash_sha256"] == f"0x{sha256}"


def test_a_base_that_is_a_file_has_both_hashes(tmp_path: Path) -> None:
    path = tmp_path / "base.safetensors"
    path.write_bytes(bytes(range(256)) * 0x1200)
    content = path.read_bytes()
    assert base_hashes(str(path)) == {
        "ss_sd_model_hash": hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8],
        "ss_new_sd_model_hash": hashlib.sha256(content).hexdigest(),
    }
    assert base_hashes(str(tmp_path)) == base_hashes("mannequin") == {}


def test_the_hash_is_put_into_a_header_that_is_written(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.arange(9.0)}, path, {"modelspec.title": "x"} | room_for_hash())
    before = load_file(path)
    put_hash(path)
    assert torch.equal(load_file(path)["a"], before["a"])
    payload = torch.arange(9.0).numpy().tobytes()
    assert header(path) == {
        "modelspec.title": "x",
        "modelspec.hash_sha256": f"0x{hashlib.sha256(payload).hexdigest()}",
    }


def test_a_run_counts_pictures_and_epochs() -> None:
    config = TrainConfig(batch_size=4, gradient_accumulation=2)
    assert run_metadata(config, 5, 12, 3, "bf16") == {
        "ss_num_train_images": "12",
        "ss_num_reg_images": "3",
        "ss_epoch": "4",
        "ss_mixed_precision": "bf16",
        "ss_max_token_length": "None",
    }


@pytest.mark.parametrize(("chunks", "text"), [(1, "None"), (2, "150"), (3, "225")])
def test_the_length_of_captions_is_kohyas(chunks: int, text: str) -> None:
    metadata = run_metadata(TrainConfig(), 1, 1, 0, "no", chunks)
    assert metadata["ss_max_token_length"] == text
    assert chunks_in(metadata) == chunks


def test_the_arguments_of_the_network_are_kohyas_or_those_of_lycoris() -> None:
    def arguments(*given: object, **more: bool) -> object:
        metadata = network_arguments(*given, **more)  # type: ignore[arg-type]
        return metadata["ss_network_module"], json.loads(metadata["ss_network_args"])

    assert arguments(None) == ("networks.lora", {})
    assert arguments((4, 8.0)) == ("networks.lora", {"conv_dim": "4", "conv_alpha": "8.0"})
    dora = {"algo": "lora", "dora_wd": "True", "wd_on_output": "True"}
    assert arguments(None, dora=True) == ("lycoris.kohya", dora)
