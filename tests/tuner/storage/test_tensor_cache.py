from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tuner.data import TrainingSet
from tuner.models import BaseModel, load_base
from tuner.space import TrainConfig
from tuner.storage.tensor_cache import TensorCache, weights_digest
from tuner.training import latents
from tuner.training.latents import latents_of
from tuner.training.texts import texts_of

SIZE = (64, 64)


def fresh(tiny_base: Path, folder: Path | None) -> BaseModel:
    """The base as another process would load it, with its tensor cache in `folder`."""
    base = load_base(str(tiny_base), "cpu")
    if folder is not None:
        base.keep_at(folder)
    return base


@pytest.fixture
def networks_forbidden(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def forbidden(*arguments: object, **more: object) -> None:
        raise AssertionError("a network was used")

    monkeypatch.setattr(latents, "_encode", forbidden)
    monkeypatch.setattr(BaseModel, "text_states", forbidden)
    return monkeypatch


def test_what_another_process_made_is_read_and_no_network_used(
    tiny_base: Path, training_set: TrainingSet, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    plain = fresh(tiny_base, None)
    first = fresh(tiny_base, tmp_path)
    made = latents_of(first, training_set, SIZE), texts_of(first, training_set, TrainConfig())
    request.getfixturevalue("networks_forbidden")
    second = load_base(str(tiny_base), "cpu")
    second.keep_at(tmp_path)
    read = latents_of(second, training_set, SIZE), texts_of(second, training_set, TrainConfig())
    request.getfixturevalue("networks_forbidden").undo()
    own = latents_of(plain, training_set, SIZE), texts_of(plain, training_set, TrainConfig())
    for pair in (made, read):
        assert torch.equal(pair[0].mean, own[0].mean)
        assert torch.equal(pair[0].std, own[0].std)
        assert pair[1].states is not None
        assert own[1].states is not None
        assert torch.equal(pair[1].states.hidden, own[1].states.hidden)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "changed",
    [
        {"captions": "gender"},
        pytest.param({"captions": "none"}, marks=pytest.mark.slow),
        pytest.param({"captions": {"keep": ["red shirt"]}}, marks=pytest.mark.slow),
        {"captions": {"drop": [".* skirt"]}},
        pytest.param({"alias": "mi_cv"}, marks=pytest.mark.slow),
        {"clip_skip": 2},
    ],
    ids=str,
)
def test_a_changed_policy_never_meets_old_embeddings(
    changed: dict[str, object],
    tiny_base: Path,
    base: BaseModel,
    training_set: TrainingSet,
    tmp_path: Path,
) -> None:
    config = TrainConfig.model_validate(changed)
    texts_of(fresh(tiny_base, tmp_path), training_set, TrainConfig())
    kept = texts_of(fresh(tiny_base, tmp_path), training_set, config)
    own = texts_of(base, training_set, config)  # which keeps nothing on the disk
    assert kept.states is not None
    assert own.states is not None
    assert torch.equal(kept.states.hidden, own.states.hidden)
    assert len(list(tmp_path.glob("text_encoder-*"))) == 2


def test_other_captions_pictures_sizes_and_weights_are_others(
    tiny_base: Path, base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    def made(base: BaseModel, data: TrainingSet, size: tuple[int, int] = SIZE) -> set[str]:
        before = {path.name for path in tmp_path.iterdir()} if tmp_path.exists() else set()
        latents_of(base, data, size)
        texts_of(base, data, TrainConfig())
        return {
            path.name.partition("-")[0] for path in tmp_path.iterdir() if path.name not in before
        }

    base, images = fresh(tiny_base, tmp_path), training_set.images
    assert made(base, training_set) == {"vae", "text_encoder"}
    assert made(fresh(tiny_base, tmp_path), training_set) == set()
    assert made(base, training_set, (48, 64)) == {"vae"}
    assert made(base, replace(training_set, images=images[::-1])) == {"vae", "text_encoder"}
    renamed = tuple(replace(image, caption=f"{image.caption}, smile") for image in images)
    assert made(base, replace(training_set, images=renamed)) == {"text_encoder"}
    other = load_base(str(tiny_base), "cpu")
    with torch.no_grad():
        next(other.pipeline.vae.parameters())[0] += 1e-3
    other.keep_at(tmp_path)
    assert made(other, training_set) == {"vae"}


@pytest.mark.parametrize("harm", ["cut", "bits", "names", "other key", "no file"])
def test_a_file_that_is_not_what_it_should_be_is_made_again(harm: str, tmp_path: Path) -> None:
    tensor_cache = TensorCache(tmp_path, {"vae": "digest"})
    calls: list[int] = []

    def make() -> dict[str, torch.Tensor]:
        calls.append(1)
        return {"mean": torch.arange(6.0).reshape(2, 3).T}

    tensor_cache.tensors("vae", [1], make)
    (file,) = tmp_path.iterdir()
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-4])
    elif harm == "bits":
        file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\1")
    elif harm == "names":
        file.write_bytes(file.read_bytes().replace(b'"mean"', b'"maen"'))
    elif harm == "other key":
        tensor_cache.tensors("vae", [2], make)
        (second,) = set(tmp_path.iterdir()) - {file}
        second.replace(file)
    else:
        file.write_bytes(b"no such thing")
    before = len(calls)
    for _ in range(2):
        assert torch.equal(tensor_cache.tensors("vae", [1], make)["mean"], make()["mean"])
    assert len(calls) == before + 1 + 2


def test_a_digest_differs_for_other_weights() -> None:
    torch.manual_seed(0)
    first, other = (torch.nn.Linear(3, 2) for _ in range(2))
    assert weights_digest(first) != weights_digest(other)
    other.load_state_dict(first.state_dict())
    assert weights_digest(first) == weights_digest(other)
    assert weights_digest(first) != weights_digest(first.half())
