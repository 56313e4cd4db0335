from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch._dynamo.utils import counters
from torch._inductor import config as inductor

from tests.tuner.generators import samples_of
from tests.tuner.training.test_loop import SMALL, run, weights
from tuner.data import TrainingSet
from tuner.models import BaseModel, sample_batches
from tuner.models.compiled import compile_unet, compiled
from tuner.space import SuiteConfig
from tuner.storage.folder import RungFolder

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="torch compiles for a CPU with g++"
)


@pytest.fixture(autouse=True)
def _base_as_it_was(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(base, "compiles", True)
    monkeypatch.setattr(base, "compiled_unet", None)
    yield
    assert base.pipeline.unet._compiled_call_impl is None


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("layers", ["attention", "attention+feed_forward"])
def test_compiled_training_and_sampling_give_the_same(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path, layers: str
) -> None:
    suite = SuiteConfig(seeds=1, steps=1, size=32)
    graphs = []
    for seed in (1, 2):
        counters.clear()
        outcomes = []
        for compiles in (False, True):
            base.compiles = compiles
            folder = tmp_path / f"{len(graphs)}{compiles}"
            config = SMALL.model_copy(update={"seed": seed, "target_modules": layers})
            file = run(base, training_set, config, folder)[-1].path
            drawn = samples_of(sample_batches(base, suite, file, RungFolder(folder)))
            pixels = np.stack([picture.image for picture in drawn]).astype(float)
            outcomes.append((weights(file), pixels))
        (plain, drawn_plain), (fast, drawn_fast) = outcomes
        # Rounding differs, in bfloat16 on some CPUs; 5 % of the LoRA, one of 255 of a pixel.
        assert float((plain - fast).norm() / plain.norm()) < 0.05
        assert np.abs(drawn_plain - drawn_fast).mean() < 1
        graphs.append(counters["stats"]["unique_graphs"])
        assert base.compiles  # no error switched it off
    # Training and sampling are compiled once, and found again for the next LoRA.
    assert graphs == [2, 0]


@pytest.mark.slow
def test_without_a_compiler_a_run_goes_on_uncompiled(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    torch._dynamo.reset()
    broken = inductor.patch({"force_disable_caches": True, "cpp.cxx": ("no-such-compiler",)})
    with broken, pytest.warns(UserWarning, match="the UNet is not compiled from here on: "):
        run(base, training_set, SMALL, tmp_path)
    assert not base.compiles


def failing_with(error: Exception, monkeypatch: pytest.MonkeyPatch, base: BaseModel) -> None:
    """Let the compiled UNet raise `error`, as the compiler does at the first call of a form."""

    def fail(*inputs: object, **named: object) -> None:
        raise error

    unet = base.pipeline.unet
    monkeypatch.setattr(type(unet), "compile", lambda self, **_: setattr(self, _CALL, fail))


_CALL = "_compiled_call_impl"


def test_an_error_of_the_compiler_is_reported_once_and_changes_no_number(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_with(RuntimeError("no triton\nlong story"), monkeypatch, base)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        first = weights(run(base, training_set, SMALL, tmp_path / "first")[-1].path)
    texts = [str(each.message) for each in caught if "compiled" in str(each.message)]
    assert texts == ["the UNet is not compiled from here on: no triton"]
    assert not base.compiles
    plain = weights(run(base, training_set, SMALL, tmp_path / "plain")[-1].path)
    assert torch.equal(first, plain)


def test_memory_that_runs_out_is_no_error_of_the_compiler(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_with(torch.OutOfMemoryError("full"), monkeypatch, base)
    with pytest.raises(torch.OutOfMemoryError):
        run(base, training_set, SMALL, tmp_path)
    assert base.compiles


def test_the_unet_is_compiled_within_the_context_only(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        type(base.pipeline.unet), "compile", lambda self, **_: setattr(self, _CALL, id)
    )
    with compiled(base):
        assert base.pipeline.unet._compiled_call_impl is base.compiled_unet
    assert base.pipeline.unet._compiled_call_impl is None
    base.compiles = False
    with compiled(base):
        assert base.pipeline.unet._compiled_call_impl is None


def test_on_a_cpu_shapes_are_compiled_apart_and_convolutions_keep_their_layout(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(type(base.pipeline.unet), "compile", lambda _, **each: asked.append(each))
    compile_unet(base.pipeline.unet)
    expected = {"dynamic": False, "options": {"layout_optimization": False}}
    assert asked == [expected if base.device.type == "cpu" else {}]
