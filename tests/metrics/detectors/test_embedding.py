from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torchvision.models import resnet50
from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

from metrics import open_detectors
from metrics.contract import JudgeSettings
from metrics.detectors.embedding import PictureEmbedding
from metrics.detectors.models import ModelUnavailableError

PICTURES = [
    np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8) for seed in range(3)
]


@pytest.fixture(scope="module")
def dino(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A DINOv2 of random weights, in the files of the big one."""
    folder = tmp_path_factory.mktemp("dino")
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    Dinov2Model(Dinov2Config(image_size=28, patch_size=14, **shape)).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 28}, "crop_size": {"height": 28, "width": 28}}
    BitImageProcessor(**sizes).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def sscd(tmp_path_factory: pytest.TempPathFactory) -> str:
    """SSCD's network with random weights, named as its torchvision files name them."""
    file = tmp_path_factory.mktemp("sscd") / "sscd.safetensors"
    torch.manual_seed(0)
    state = resnet50(weights=None, num_classes=512).state_dict()
    save_file({f"backbone.{name}": part for name, part in state.items()}, file)
    return str(file)


@pytest.mark.parametrize(
    "kind", ["dino", pytest.param("sscd", marks=pytest.mark.slow), "clip_folder"]
)
def test_every_model_gives_unit_vectors_that_follow_the_picture(
    kind: str, request: pytest.FixtureRequest
) -> None:
    embedding = PictureEmbedding(str(request.getfixturevalue(kind)))
    rows = embedding([*PICTURES, PICTURES[0]])
    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(4), abs=1e-5)
    alike = rows @ rows.T
    assert alike[0, 3] == pytest.approx(1.0, abs=1e-5)
    assert alike[0, 1] < 0.999999
    single = embedding(PICTURES[1:2])
    assert single[0] == pytest.approx(rows[1], abs=1e-4)
    embedding.close()


@pytest.mark.slow
def test_sscd_is_the_network_of_its_paper(sscd: str) -> None:
    """Pooling worked out by hand: the cube root of the mean cube (Pizzi et al. 2022)."""
    torch.manual_seed(0)
    network = resnet50(weights=None, num_classes=512).eval()
    picture = torch.from_numpy(np.full((320, 320, 3), 130, np.uint8)).permute(2, 0, 1) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    features: list[torch.Tensor] = []
    network.layer4.register_forward_hook(lambda *args: features.append(args[2]))
    with torch.no_grad():
        network(((picture - mean[:, None, None]) / std[:, None, None])[None])
        pooled = (features[0] ** 3).mean(dim=(2, 3)) ** (1 / 3)
        expected = torch.nn.functional.normalize(network.fc(pooled))[0]
    found = PictureEmbedding(sscd)([np.full((64, 64, 3), 130, np.uint8)])[0]
    assert found == pytest.approx(expected.numpy(), abs=1e-4)


def test_the_gender_model_is_taken_where_no_other_is_named(clip_folder: Path, dino: str) -> None:
    named = JudgeSettings(gender_model=str(clip_folder))
    with open_detectors(named) as judges:
        assert judges.embedding is not None
        assert judges.embedding(PICTURES).shape == (3, 32)
    with open_detectors(JudgeSettings(gender_model=None)) as judges:
        assert judges.embedding is None
    with open_detectors(JudgeSettings(gender_model=None, copy_model=dino)) as judges:
        assert judges.embedding is not None
        assert judges.embedding(PICTURES).shape == (3, 16)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("sscd.torchvision.pt", "pickled weights can run code"),
        ("empty.safetensors", "does not hold the torchvision weights"),
        ("nothing-like-it", "could not be loaded"),
        ("folder", "could not be loaded"),
    ],
)
def test_what_cannot_be_used_is_reported(name: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "config.json").write_text(json.dumps({"model_type": "no-such"}))
    save_file({"a": torch.zeros(1)}, tmp_path / "empty.safetensors")
    with pytest.raises(ModelUnavailableError, match=line):
        PictureEmbedding(str(tmp_path / name))
