from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from metrics.contract import Prompt, Sample
from tests.tuner.generators import samples_of
from tuner.errors import DivergedError
from tuner.models import BaseModel, adapter, draw, load_base, sample_batches, sampling
from tuner.models.sampling import draw_cells, noise, scheduler_of
from tuner.space import SuiteConfig, TrainConfig
from tuner.space.suite import DRAWING, Denoiser
from tuner.storage.folder import RungFolder
from tuner.trial.keep import draw_grid

PROMPTS = (Prompt("1girl", "female"), Prompt("1boy, solo", "male"), Prompt(""))
SUITE = SuiteConfig(prompts=PROMPTS, seeds=2, size=64, steps=2)


def drawn(
    base: BaseModel, folder: Path, suite: SuiteConfig = SUITE, lora: Path | None = None
) -> list[Sample]:
    return samples_of(sample_batches(base, suite, lora, RungFolder(folder)))


@pytest.fixture(scope="module")
def whole(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """The suite as the base alone draws it, all at once."""
    return drawn(base, tmp_path_factory.mktemp("whole"))


@pytest.fixture
def lora(base: BaseModel, tmp_path: Path) -> Path:
    """A LoRA that changes pictures clearly."""
    path = tmp_path / "lora.safetensors"
    adapter.attach(base, TrainConfig(rank=2, text_encoder_ratio=1.0), "strong")
    torch.manual_seed(0)
    for weight in adapter.parameters(base, "strong"):
        weight.data = torch.randn(weight.shape) * 0.5
    adapter.save(base, "strong", path, {})
    adapter.detach(base, "strong")
    return path


def test_samples_come_in_the_suites_order_with_their_places_on_the_disk(
    base: BaseModel, tmp_path: Path
) -> None:
    samples = drawn(base, tmp_path)
    assert [(picture.prompt, picture.seed) for picture in samples] == list(SUITE.cells())
    folder = RungFolder(tmp_path)
    for index, picture in enumerate(samples):
        assert picture.path == folder.sample(index)
        assert picture.image.shape == (64, 64, 3)
    assert len({picture.image.tobytes() for picture in samples}) == len(samples)
    assert not list(tmp_path.rglob("*.png")), "kept only once they are scored"


def test_the_noise_is_a_matter_of_prompt_place_and_seed_alone(base: BaseModel) -> None:
    longer = SUITE.model_copy(update={"seeds": 3})
    # cell 2 of two seeds is (prompt 1, seed 0), which is cell 3 of three seeds
    assert torch.equal(noise(base.pipeline, SUITE, 2), noise(base.pipeline, longer, 3))
    cells = torch.stack([noise(base.pipeline, longer, index) for index in range(9)])
    assert len(torch.unique(cells.flatten(1), dim=0)) == 9
    assert cells.mean().abs() < 0.05
    assert (cells.std() - 1).abs() < 0.05


def test_a_picture_does_not_depend_on_its_batch(
    base: BaseModel, whole: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_LARGEST_BATCH", 4)
    batches = list(sample_batches(base, SUITE, None, RungFolder(tmp_path / "b")))
    assert [(event.done, event.total) for _, event in batches] == [(4, 6), (6, 6)]
    for picture, other in zip(whole, samples_of(batches), strict=True):
        assert np.abs(picture.image.astype(int) - other.image.astype(int)).max() <= 1


def test_each_text_of_a_suite_is_encoded_once(
    base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_LARGEST_BATCH", 4)
    rows: list[int] = []

    def count(_: object, tokens: tuple[torch.Tensor]) -> None:
        rows.append(len(tokens[0]))

    suite = SUITE.model_copy(update={"negative": "blurry"})
    with (
        base.pipeline.text_encoder.register_forward_pre_hook(count),
        contextlib.closing(draw_cells(base, suite, None, range(6))) as batches,
    ):
        assert [len(images) for images in batches] == [4, 2]
    assert rows == [4]  # three prompts and the negative one


def test_samples_are_drawn_fewer_at_a_time_where_memory_is_short(
    base: BaseModel, whole: list[Sample], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes, decode = [], base.pipeline.vae.decode

    def starved(latents: torch.Tensor, **options: object) -> object:
        sizes.append(len(latents))
        if len(latents) > 1:
            torch.empty(2**60)
        return decode(latents, **options)

    monkeypatch.setattr(base.pipeline.vae, "decode", starved)
    fewer = drawn(base, tmp_path / "b")
    assert sizes[0] == len(whole)
    assert sizes[-len(whole) :] == [1] * len(whole)
    for picture, other in zip(whole, fewer, strict=True):
        assert np.abs(picture.image.astype(int) - other.image).max() <= 1


def test_a_lora_changes_the_pictures_and_the_base_stays(
    base: BaseModel, whole: list[Sample], tmp_path: Path, lora: Path
) -> None:
    changed = drawn(base, tmp_path / "lora", lora=lora)
    after = drawn(base, tmp_path / "after")
    for picture, other, last in zip(whole, changed, after, strict=True):
        assert np.abs(picture.image.astype(int) - other.image.astype(int)).max() > 5
        assert np.array_equal(picture.image, last.image)


def test_every_sampler_draws_its_own_picture_and_leaves_the_scheduler_as_it_was(
    base: BaseModel,
) -> None:
    scheduler = base.pipeline.scheduler
    assert SuiteConfig().sampler == "dpm++"
    drawn = {
        name: draw(base.pipeline, SUITE.model_copy(update={"sampler": name, "steps": 6}), [0])[0]
        for name in get_args(Denoiser)
    }
    assert len({image.tobytes() for image in drawn.values()}) == len(drawn) == 7
    assert base.pipeline.scheduler is scheduler
    # All solve the same equation from the same noise, but for the one that adds noise on its way.
    for name, image in drawn.items():
        gap = np.abs(image.astype(int) - drawn["dpm++"].astype(int)).mean()
        assert name == "euler_a" or gap < 12, name


@pytest.mark.parametrize("sampler", get_args(Denoiser))
@pytest.mark.parametrize("zero", [False, True])
def test_a_sampler_takes_only_noise_levels_and_prediction_from_the_base(
    sampler: str, zero: bool
) -> None:
    trained: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012}
    trained |= {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": zero}
    trained |= {"prediction_type": "v_prediction" if zero else "epsilon"}
    odd = DPMSolverMultistepScheduler(
        **trained,
        use_karras_sigmas=True,
        timestep_spacing="leading",
        steps_offset=7,
        lower_order_final=False,
        algorithm_type="sde-dpmsolver++",
        solver_order=3,
        final_sigmas_type="sigma_min",
    )
    plain, other = (
        scheduler_of(SimpleNamespace(scheduler=scheduler), sampler)
        for scheduler in (DDIMScheduler(**trained), odd)
    )
    assert dict(plain.config) == dict(other.config)
    assert bool(other.config.get("use_karras_sigmas")) == (sampler == "dpm++_karras")
    assert other.config.beta_end == 0.012
    other.set_timesteps(10)
    assert (float(other.alphas_cumprod[-1]) < 1e-6) == zero
    if zero:  # the only timestep without a signal
        assert float(other.timesteps[0]) == 999


@pytest.mark.parametrize(
    "sampler",
    [
        sampler if sampler in ("ddim", "euler_a") else pytest.param(sampler, marks=pytest.mark.slow)
        for sampler in get_args(Denoiser)
    ],
)
def test_no_sampler_lets_a_picture_depend_on_its_batch(base: BaseModel, sampler: str) -> None:
    suite = SUITE.model_copy(update={"sampler": sampler})
    together = draw(base.pipeline, suite, [0, 3, 5])
    for index, image in zip((0, 3, 5), together, strict=True):
        alone = draw(base.pipeline, suite, [index])[0]
        assert np.abs(image.astype(int) - alone.astype(int)).max() <= 1


@contextlib.contextmanager
def room_for(base: BaseModel, pictures: float) -> Iterator[list[int]]:
    """Let memory run out when more than `pictures` are drawn at once; yield the tried batches.

    The error is the allocator's own.
    """
    tried: list[int] = []

    def hook(_: object, arguments: tuple[torch.Tensor, ...]) -> None:
        guided = len(arguments[0])
        tried.append(guided // 2)
        if guided > 2 * pictures:
            torch.empty(2**60)

    handle = base.pipeline.unet.register_forward_pre_hook(hook)
    try:
        yield tried
    finally:
        handle.remove()


@pytest.mark.parametrize(("room", "batches"), [(6, [6]), (4, [3, 3]), (1, [1] * 6)])
def test_a_batch_is_halved_where_memory_is_out(
    base: BaseModel, whole: list[Sample], tmp_path: Path, room: int, batches: list[int]
) -> None:
    with room_for(base, room) as tried:
        folder = RungFolder(tmp_path / "parts")
        parts = list(sample_batches(base, SUITE, None, folder))
    steps = [event.done for _, event in parts]
    assert np.diff([0, *steps]).tolist() == batches
    assert tried[0] == 6, "the first batch is the one that should fit"
    for picture, other in zip(whole, samples_of(parts), strict=True):
        assert np.abs(picture.image.astype(int) - other.image.astype(int)).max() <= 1
        assert (picture.prompt, picture.seed) == (other.prompt, other.seed)


def test_memory_that_does_not_hold_one_picture_ends_the_trial(
    base: BaseModel, tmp_path: Path
) -> None:
    with room_for(base, 0) as tried, pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        drawn(base, tmp_path)
    assert tried == [6, 3, 1]


def test_another_error_is_not_tried_again(base: BaseModel, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("shape mismatch")

    handle = base.pipeline.unet.register_forward_pre_hook(fail)
    try:
        with pytest.raises(RuntimeError, match="shape"):
            drawn(base, tmp_path)
    finally:
        handle.remove()


def test_wide_pictures_are_drawn_wide(base: BaseModel) -> None:
    suite = SUITE.model_copy(update={"size": "96x64"})
    assert draw(base.pipeline, suite, [0])[0].shape == (64, 96, 3)


def test_pictures_that_are_not_finite_raise_and_are_not_written(
    tiny_base: Path, tmp_path: Path
) -> None:
    broken = load_base(str(tiny_base), "cpu")
    broken.pipeline.unet.conv_out.bias.data.fill_(torch.nan)
    with pytest.raises(DivergedError, match="not finite"):
        drawn(broken, tmp_path)
    assert not list(tmp_path.rglob("*.png"))


def test_the_grid_has_a_row_for_each_prompt_and_a_column_for_each_seed() -> None:
    colours = {(0, 0): 10, (0, 1): 80, (1, 0): 160, (1, 1): 240}
    samples = [
        Sample(PROMPTS[row], seed, np.full((64, 32, 3), shade, dtype=np.uint8))
        for (row, seed), shade in colours.items()
    ]
    picture = np.asarray(draw_grid(samples))
    assert picture.shape[0] == 2 * 132
    right = picture[:, -2 * 68 :]
    assert [int(right[66 + 132 * row, 32 + 68 * seed, 0]) for row, seed in colours] == list(
        colours.values()
    )
    label = picture[:132, : -2 * 68]
    assert label.min() < 100


@pytest.mark.parametrize("size", [(512, 768), (1024, 640)])
def test_large_pictures_are_made_smaller_for_the_grid(size: tuple[int, int]) -> None:
    picture = draw_grid([Sample(PROMPTS[0], 0, np.zeros((*size, 3), dtype=np.uint8))])
    assert picture.height <= 260


def test_the_steps_of_each_sampler_are_those_of_this_drawing_version(base: BaseModel) -> None:
    """Other steps draw other pixels: then `DRAWING` must be raised, so that no study mixes both."""
    steps = {}
    for name in get_args(Denoiser):
        scheduler = scheduler_of(base.pipeline, name)
        scheduler.set_timesteps(4)
        steps[name] = [round(float(step)) for step in scheduler.timesteps]
    euler, dpm = [999, 666, 333, 0], [999, 749, 500, 250]
    expected = {"ddim": [751, 501, 251, 1], "euler": euler, "euler_a": euler, "unipc": dpm}
    expected |= {"dpm++": dpm, "dpm++_karras": [999, 687, 146, 0]}
    expected |= {"heun": [999, *(step for step in euler[1:] for _ in range(2))]}
    assert (DRAWING, steps) == ("3", expected)
