from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from tuner.data import TrainingSet
from tuner.errors import ConfigError, DivergedError
from tuner.events import Progress
from tuner.models import BaseModel, adapter, load_base, read_file
from tuner.space import TrainConfig
from tuner.storage.folder import TrialFolder
from tuner.training import Checkpoint, losses, train
from tuner.training.run import ADAPTER, clip
from tuner.training.texts import texts_of

SMALL = TrainConfig(rank=2, batch_size=4, learning_rate=1e-2, resolution=32)
WITH_TEXT = SMALL.model_copy(update={"text_encoder_ratio": 0.5, "alias": "mi_cv", "seed": 7})


def run(
    base: BaseModel,
    training_set: TrainingSet,
    config: TrainConfig,
    folder: Path,
    rungs: Sequence[int] = (2,),
) -> list[Checkpoint]:
    outcomes = list(train(base, training_set, config, rungs, folder))
    return [outcome for outcome in outcomes if isinstance(outcome, Checkpoint)]


def weights(path: Path) -> torch.Tensor:
    tensors = load_file(path)
    return torch.cat([tensors[key].float().flatten() for key in sorted(tensors)])


def test_each_rung_is_a_checkpoint_with_its_file_and_progress_reaches_it(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    before = base.pipeline.unet.state_dict().keys()
    outcomes = list(train(base, training_set, SMALL, (2, 5), tmp_path))
    checkpoints = [outcome for outcome in outcomes if isinstance(outcome, Checkpoint)]
    assert [checkpoint.step for checkpoint in checkpoints] == [2, 5]
    assert [checkpoint.path for checkpoint in checkpoints] == [
        TrialFolder(tmp_path).rung(step).lora for step in (2, 5)
    ]
    assert not torch.equal(*(weights(checkpoint.path) for checkpoint in checkpoints))
    last = [outcome for outcome in outcomes if isinstance(outcome, Progress)][-1]
    assert (last.done, last.total, last.learning_rate) == (5, 5, SMALL.learning_rate)
    assert last.loss is not None
    assert 0 < last.loss < 10
    assert base.pipeline.unet.state_dict().keys() == before
    assert read_file(checkpoints[0].path).metadata["ss_steps"] == "2"


def test_training_lowers_the_loss(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    first, last = run(base, training_set, SMALL, tmp_path, rungs=(5, 20))
    assert last.loss < 0.95 * first.loss


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    first, again, other = (
        weights(run(base, training_set, config, tmp_path / name)[0].path)
        for name, config in (
            ("first", WITH_TEXT),
            ("again", WITH_TEXT),
            ("other", WITH_TEXT.model_copy(update={"seed": 8})),
        )
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_text_encoder_is_trained_where_the_ratio_says_so(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    path = run(base, training_set, WITH_TEXT, tmp_path)[0].path
    modules = read_file(path).modules
    text = [module for name, module in modules.items() if name.startswith("lora_te_text_model_")]
    assert len(text) == 8
    assert any(module.up.any() for module in text)


def test_with_nothing_but_empty_prompts_captions_do_not_matter(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    empty = SMALL.model_copy(update={"empty_prompt": 1.0})
    aliased = empty.model_copy(update={"alias": "mi_cv"})
    some = aliased.model_copy(update={"empty_prompt": 0.0})
    plain, with_alias, with_captions = (
        weights(run(base, training_set, config, tmp_path / str(number))[0].path)
        for number, config in enumerate((empty, aliased, some))
    )
    assert torch.equal(plain, with_alias)
    assert not torch.equal(with_alias, with_captions)


def test_leaving_the_generator_takes_the_adapter_off(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    names = [name for name, _ in base.pipeline.unet.named_modules()]
    steps = train(base, training_set, WITH_TEXT, (1, 100), tmp_path)
    while not isinstance(next(steps), Checkpoint):
        pass
    assert adapter.active(base) == (ADAPTER,)
    steps.close()  # type: ignore[attr-defined]  # it is a generator
    assert [name for name, _ in base.pipeline.unet.named_modules()] == names
    assert adapter.active(base) == ()


def test_sampling_at_a_rung_does_not_disturb_the_training(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    straight = run(base, training_set, WITH_TEXT, tmp_path / "a", rungs=(2, 4))[-1].path
    last = None
    for outcome in train(base, training_set, WITH_TEXT, (2, 4), tmp_path / "b"):
        if isinstance(outcome, Checkpoint):
            last = outcome.path
            with adapter.loaded(base, last), torch.no_grad():
                base.pipeline.text_encoder(torch.arange(77)[None])
    assert last is not None
    assert torch.equal(weights(straight), weights(last))


def test_weights_that_the_file_cannot_hold_end_the_run(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    with closing(train(base, training_set, SMALL, [1, 2], tmp_path)) as outcomes:
        next(outcome for outcome in outcomes if isinstance(outcome, Checkpoint))
        for weight in adapter.parameters(base, ADAPTER):
            weight.data.fill_(1e6)  # beyond float16
        with pytest.raises(DivergedError):
            list(outcomes)
    assert not (tmp_path / "rung_0002").exists()


def test_a_loss_that_is_not_finite_ends_the_run(
    tiny_base: Path, training_set: TrainingSet, tmp_path: Path
) -> None:
    broken = load_base(str(tiny_base), "cpu")
    broken.pipeline.unet.conv_out.bias.data.fill_(torch.nan)
    with pytest.raises(DivergedError, match="loss is nan"):
        run(broken, training_set, SMALL, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def half_base(tiny_base: Path) -> Iterator[BaseModel]:
    """The tiny base as a GPU would hold it. accelerate keeps its first precision for ever."""
    half = load_base(str(tiny_base), "cpu")
    half.pipeline.to(torch.bfloat16)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield half
    AcceleratorState._reset_state(reset_partial_state=True)


def test_a_base_in_half_precision_trains_float32_adapters(
    half_base: BaseModel, base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    steps = train(half_base, training_set, WITH_TEXT, (3,), tmp_path / "half")
    next(steps)
    trained = adapter.parameters(half_base, ADAPTER)
    assert {weight.dtype for weight in trained} == {torch.float32}
    *_, half = steps
    assert isinstance(half, Checkpoint)
    AcceleratorState._reset_state(reset_partial_state=True)
    full = run(base, training_set, WITH_TEXT, tmp_path / "full")[0]
    assert half.loss == pytest.approx(full.loss, rel=0.03)
    with adapter.loaded(half_base, half.path), torch.no_grad():
        assert half_base.pipeline.text_encoder(torch.arange(77)[None])[0].dtype == torch.bfloat16


class TestTarget:
    def schedule(self, base: BaseModel, kind: str) -> losses.DDPMScheduler:
        return losses.DDPMScheduler.from_config(
            base.pipeline.scheduler.config, prediction_type=kind
        )

    def test_epsilon_is_the_noise(self, base: BaseModel) -> None:
        latents, noise = torch.randn(2, 2, 4, 8, 8)
        goal = losses.target(
            self.schedule(base, "epsilon"), latents, noise, torch.tensor([10, 900])
        )
        assert torch.equal(goal, noise)

    def test_velocity_turns_the_noisy_latents_into_the_clean_ones(self, base: BaseModel) -> None:
        """Salimans & Ho 2022: x = alpha z - sigma v."""
        schedule = self.schedule(base, "v_prediction")
        latents, noise = torch.randn(2, 2, 4, 8, 8)
        times = torch.tensor([10, 900])
        noisy = schedule.add_noise(latents, noise, times)
        alpha = schedule.alphas_cumprod[times].sqrt().view(-1, 1, 1, 1)
        sigma = (1 - schedule.alphas_cumprod[times]).sqrt().view(-1, 1, 1, 1)
        velocity = losses.target(schedule, latents, noise, times)
        torch.testing.assert_close(alpha * noisy - sigma * velocity, latents, atol=1e-5, rtol=1e-4)

    def test_another_prediction_is_refused(self, base: BaseModel) -> None:
        with pytest.raises(ConfigError, match="sample"):
            losses.target(self.schedule(base, "sample"), *torch.randn(2, 1), torch.tensor([1]))


def test_a_gradient_that_overflows_moves_no_weight_and_a_large_one_is_bounded() -> None:
    weights = [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(3))]
    for bad in (float("inf"), float("nan")):
        weights[0].grad, weights[1].grad = torch.tensor([bad, 1.0]), torch.ones(3)
        clip(weights)
        assert all(not each.grad.any() for each in weights if each.grad is not None)
    weights[0].grad, weights[1].grad = torch.tensor([30.0, 40.0]), torch.zeros(3)
    clip(weights)
    assert torch.allclose(weights[0].grad, torch.tensor([0.6, 0.8]))
    weights[0].grad, weights[1].grad = torch.tensor([0.3, 0.4]), torch.zeros(3)
    clip(weights)
    assert torch.allclose(weights[0].grad, torch.tensor([0.3, 0.4]))


def test_shuffled_tags_change_the_captions_and_not_the_noise(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    shuffled = SMALL.model_copy(update={"shuffle_tags": True, "empty_prompt": 0.0})
    still = shuffled.model_copy(update={"shuffle_tags": False})
    fixed = shuffled.model_copy(update={"keep_first": 99})
    dropped = shuffled.model_copy(update={"tag_dropout": 1.0, "keep_first": 0})
    bare = still.model_copy(update={"captions": "none"})
    of_shuffled, again, of_still, of_fixed, of_dropped, of_bare = (
        weights(run(base, training_set, config, tmp_path / str(number))[0].path)
        for number, config in enumerate((shuffled, shuffled, still, fixed, dropped, bare))
    )
    assert torch.equal(of_shuffled, again)
    assert not torch.equal(of_shuffled, of_still)
    torch.testing.assert_close(of_still, of_fixed, atol=2e-3, rtol=0)
    torch.testing.assert_close(of_dropped, of_bare, atol=2e-3, rtol=0)
    gap = (of_still - of_fixed).abs().max()
    assert (of_shuffled - of_still).abs().max() > 5 * gap


def test_the_text_encoder_learns_from_shuffled_tags_too(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    config = WITH_TEXT.model_copy(update={"shuffle_tags": True, "tag_dropout": 0.3})
    modules = read_file(run(base, training_set, config, tmp_path)[0].path).modules
    assert any(m.up.any() for name, m in modules.items() if name.startswith("lora_te_"))


def test_a_picture_with_twice_the_repeats_comes_twice_as_often(
    base: BaseModel, training_set: TrainingSet
) -> None:
    first, *others = training_set.images
    images = (replace(first, repeats=4), *(replace(image, repeats=2) for image in others))
    texts = texts_of(base, replace(training_set, images=images), SMALL)
    assert texts.epoch.tolist() == [0, *range(12)]
    assert texts_of(base, training_set, SMALL).epoch.tolist() == list(range(12))
