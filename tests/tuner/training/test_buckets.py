"""Aspect-ratio buckets: their sizes, their pictures, and batches of one size."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tuner.data import TrainingSet, read_folder
from tuner.models import BaseModel, load_base
from tuner.space import TrainConfig
from tuner.storage import shipped
from tuner.training import Checkpoint, train
from tuner.training.buckets import bucket_sizes, nearest
from tuner.training.latents import bucketed, fitted, latents_of
from tuner.training.run import Batches, batches_of

# kohya-ss/sd-scripts, library/model_util.py, make_bucket_resolutions((512, 512), 256, 1024, 64)
KOHYA_512 = {
    (256, 832), (256, 896), (256, 960), (256, 1024), (320, 704), (320, 768), (384, 640),
    (448, 576), (512, 512), (576, 448), (640, 384), (704, 320), (768, 320), (832, 256),
    (896, 256), (960, 256), (1024, 256),
}  # fmt: skip
CONFIG = TrainConfig(rank=2, batch_size=3, resolution=64, buckets=True, learning_rate=1e-3)


@pytest.fixture(scope="module")
def shapes(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    """Four square pictures, six tall ones, one very wide one."""
    folder = tmp_path_factory.mktemp("shapes")
    random = np.random.default_rng(0)
    sizes = [(64, 64)] * 4 + [(60, 90)] * 6 + [(300, 50)]
    for number, (width, height) in enumerate(sizes):
        pixels = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02d}.png")
        (folder / f"{number:02d}.txt").write_text("1girl, solo")
    return read_folder(folder)


def test_the_buckets_of_512_are_kohyas() -> None:
    assert set(bucket_sizes((512, 512), 64)) == KOHYA_512


@pytest.mark.parametrize(
    ("size", "step"), [((64, 64), 16), ((48, 48), 16), ((512, 768), 64), ((896, 896), 64)]
)
def test_buckets_are_of_the_step_and_no_larger_than_asked(size: tuple[int, int], step: int) -> None:
    sizes = bucket_sizes(size, step)
    area = size[0] * size[1]
    assert size in sizes
    assert len(sizes) >= 3
    for width, height in sizes:
        assert width % step == height % step == 0
        assert area * 0.6 <= width * height <= area
        assert area <= 4 * min(width, height) ** 2


def test_a_picture_goes_where_the_least_is_cut() -> None:
    sizes = bucket_sizes((512, 512), 64)
    assert nearest(sizes, 1000, 1000) == (512, 512)
    assert nearest(sizes, 1000, 1500) == (384, 640)
    assert nearest(sizes, 1500, 1000) == (640, 384)
    assert nearest(sizes, 4000, 500) == (1024, 256)


def test_the_step_is_what_the_unet_halves_evenly(base: BaseModel) -> None:
    assert base.family.bucket_step(base.pipeline) == 8
    mannequin = load_base(str(shipped.BASE), "cpu")
    assert mannequin.family.bucket_step(mannequin.pipeline) == 16


def test_every_picture_has_the_latents_of_its_own_shape(
    base: BaseModel, shapes: TrainingSet
) -> None:
    latents = bucketed(base, shapes, (64, 64), True)
    assert len(latents.parts) == 3
    for number, image in enumerate(shapes.images):
        size = nearest(bucket_sizes((64, 64), 8), image.width, image.height)
        own = latents.of(torch.tensor([number]))
        assert own.mean.shape == (1, 4, size[1] // 4, size[0] // 4)
        pixels = torch.from_numpy(np.array(fitted(image, size))).permute(2, 0, 1)[None]
        with torch.no_grad():
            mean = base.pipeline.vae.encode(pixels / 127.5 - 1).latent_dist.mean
        expected = mean * base.pipeline.vae.config.scaling_factor
        torch.testing.assert_close(own.mean, expected, atol=1e-4, rtol=1e-3)


def test_latents_of_buckets_are_kept_apart_from_those_of_the_square(
    base: BaseModel, shapes: TrainingSet
) -> None:
    square = bucketed(base, shapes, (64, 64), False)
    assert square.parts == (latents_of(base, shapes, (64, 64)),)
    buckets = bucketed(base, shapes, (64, 64), True)
    again = bucketed(base, shapes, (64, 64), True)
    assert all(part is other for part, other in zip(buckets.parts, again.parts, strict=True))
    assert not any(part is square.parts[0] for part in buckets.parts)
    # Of equally shaped pictures the bucket of their size and the square are the same latents.
    alike = replace(shapes, images=shapes.images[:4])
    own, other = (bucketed(base, alike, (64, 64), setting) for setting in (True, False))
    assert own.parts[0] is other.parts[0]


def test_batches_are_of_one_bucket_and_all_pictures_come_equally_often(
    base: BaseModel, shapes: TrainingSet
) -> None:
    ((batches, _),) = batches_of(base, shapes, CONFIG, 10)
    drawn: Counter[int] = Counter()
    for _ in range(330):
        batch = batches.draw(3)
        assert len({batches.latents.bucket[picture] for picture in batch.tolist()}) == 1
        drawn.update(batch.tolist())
    assert len(drawn) == 11
    assert max(drawn.values()) - min(drawn.values()) <= 3


def test_without_buckets_the_order_is_that_of_whole_epochs(
    base: BaseModel, training_set: TrainingSet
) -> None:
    """Check bit for bit against the order without buckets: older studies continue unchanged."""
    plain = CONFIG.model_copy(update={"buckets": False, "seed": 7})
    ((batches, _),) = batches_of(base, training_set, plain, 10)
    generator = torch.Generator().manual_seed(7)
    order = torch.empty(0, dtype=torch.long)
    for size in (5, 5, 5, 12, 1, 30):
        while len(order) < size:
            order = torch.cat([order, torch.randperm(12, generator=generator)])
        assert batches.draw(size).tolist() == order[:size].tolist()
        order = order[size:]
    assert isinstance(batches, Batches)
    assert torch.equal(batches.random.get_state(), generator.get_state())


def test_a_run_with_buckets_trains_and_learns_otherwise(
    base: BaseModel, shapes: TrainingSet, tmp_path: Path
) -> None:
    files = []
    for buckets in (True, False):
        config = CONFIG.model_copy(update={"buckets": buckets})
        folder = tmp_path / str(buckets)
        *_, last = train(base, shapes, config, (3,), folder)
        assert isinstance(last, Checkpoint)
        assert np.isfinite(last.loss)
        files.append(load_file(last.path))
    ours, theirs = files
    assert ours.keys() == theirs.keys()
    assert any(not torch.equal(weight, theirs[name]) for name, weight in ours.items())
