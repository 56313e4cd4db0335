"""The word to prompt with, steps and epochs, as each trainer writes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tuner.models.foreign.test_refusals import HALVES
from tests.tuner.models.foreign.writers import write
from tuner.models.foreign.file import read_foreign
from tuner.models.foreign.header import point, trainer, trigger_words

TAGS = {"10_ohwx woman": {"ohwx": 12, "1girl": 12, "solo": 12, "red shirt": 4}}


@pytest.mark.parametrize(
    ("metadata", "words", "source"),
    [
        ({}, (), None),
        ({"modelspec.trigger_phrase": " ohwx  woman"}, ("ohwx woman",), "modelspec.trigger_phrase"),
        (
            {"ss_tag_frequency": json.dumps(TAGS), "ss_num_train_images": "12"},
            ("ohwx", "ohwx woman"),
            "ss_tag_frequency",
        ),
        (  # kohya's trainer counts repeats among the pictures, and not among the tags
            {"ss_tag_frequency": json.dumps(TAGS), "ss_num_train_images": "120"},
            ("ohwx", "ohwx woman"),
            "ss_tag_frequency",
        ),
        (  # ai-toolkit
            {"ss_tag_frequency": '{"1_p3r5on": {"p3r5on": 1}}', "ss_output_name": "my_lora"},
            ("p3r5on", "my_lora"),
            "ss_tag_frequency",
        ),
        ({"ss_output_name": "alice-000010"}, ("alice",), "ss_output_name"),
        ({"ss_dataset_dirs": '{"10_sks": {"n_repeats": 10}}'}, ("sks",), "ss_dataset_dirs"),
        ({"ss_tag_frequency": "{", "ss_output_name": "x" * 500}, (), None),
        ({"ss_tag_frequency": '{"a": {"\\u001b[31m": 3, "b": "c", "d": -1}}'}, (), None),
        ({"ss_tag_frequency": "[" * 100_000}, (), None),
    ],
)
def test_words_to_prompt_with(
    metadata: dict[str, str], words: tuple[str, ...], source: str | None
) -> None:
    found = trigger_words(metadata)
    assert (found.words, found.source) == (words, source)


@pytest.mark.parametrize(
    ("path", "run", "step", "epoch"),
    [
        ("out/mi.safetensors", "mi", None, None),
        ("out/mi-000010.safetensors", "mi", None, 10),
        ("out/mi-step00000500.safetensors", "mi", 500, None),
        ("out/mi_000000500.safetensors", "mi", 500, None),
        ("out/mi2025-01-31_12-00-00-save-500-5-0.safetensors", "mi", 500, 5),
        ("out/2025-01-31_12-00-00-save-500-5-0.safetensors", "out", 500, 5),
        ("alice/checkpoint-500/pytorch_lora_weights.safetensors", "alice", 500, None),
        ("out/mi_v2.safetensors", "mi_v2", None, None),
        ("out/mi-e8.safetensors", "mi", None, 8),
        ("out/mi_400steps.safetensors", "mi", 400, None),
        ("out/adapter", "adapter", None, None),
    ],
)
def test_steps_and_epochs_in_names(
    path: str, run: str, step: int | None, epoch: int | None
) -> None:
    found = point({}, Path(path))
    assert (found.run, found.step, found.epoch) == (run, step, epoch)


def test_the_header_is_believed_before_the_name() -> None:
    name = Path("mi-000010.safetensors")
    assert point({"ss_steps": "1200", "ss_epoch": "9"}, name).epoch == 9
    assert point({"ss_steps": "1200"}, name).step == 1200
    info = json.dumps({"step": 300, "epoch": 3})
    assert point({"training_info": info}, name).step == 300
    broken = {"ss_steps": "many", "ss_epoch": "9" * 5000, "training_info": "[3]"}
    assert (point(broken, name).step, point(broken, name).epoch) == (None, 10)


def test_the_trainer_is_named_by_the_header() -> None:
    assert trainer({"ot_branch": "master"}) == "OneTrainer"
    assert trainer({"software": '{"name": "ai-toolkit", "version": "1"}'}) == "ai-toolkit"
    assert trainer({"ss_network_module": "networks.lora"}) == "kohya's trainer"
    assert trainer({"tuner.version": "1", "ss_network_module": "networks.lora"}) == "tuner"
    assert trainer({"software": '["x"]'}) is None


def test_the_hash_is_of_names_and_tensors_alone(tmp_path: Path) -> None:
    one = read_foreign(write(tmp_path / "one.safetensors", HALVES, {}))
    header = {"ss_output_name": "alice", "ss_steps": "3"}
    two = read_foreign(write(tmp_path / "two.safetensors", HALVES, header))
    assert one.sha256 == two.sha256
    assert (two.alias, two.alias_from, two.step, two.run) == ("alice", "ss_output_name", 3, "two")
    other = {name: tensor * 2 for name, tensor in HALVES.items()}
    assert read_foreign(write(tmp_path / "x.safetensors", other, {})).sha256 != one.sha256
    renamed = {name.replace("attn2", "attn1"): tensor for name, tensor in HALVES.items()}
    assert read_foreign(write(tmp_path / "x.safetensors", renamed, {})).sha256 != one.sha256
    assert torch.equal(*[next(iter(each.modules.values())).parts["up"] for each in (one, two)])
