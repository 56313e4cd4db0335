"""What a training setting does to a run: on the miniature base, a few steps each."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from metrics.contract import Prompt
from tests.tuner.training.test_loop import SMALL, WITH_TEXT, run, weights
from tuner.data import TrainingSet
from tuner.errors import ConfigError
from tuner.models import BaseModel, adapter, draw, method, read_file
from tuner.models.text_encoder import states
from tuner.space import SuiteConfig, TrainConfig
from tuner.training import losses, train
from tuner.training.loop import Trainer
from tuner.training.memory import is_short
from tuner.training.run import ADAPTER, Run, batches_of

QUICK = SMALL.model_copy(update={"batch_size": 2})


def result(
    base: BaseModel, training_set: TrainingSet, folder: Path, steps: int = 2, **values: object
) -> torch.Tensor:
    config = TrainConfig.model_validate(QUICK.model_dump() | values)
    return weights(run(base, training_set, config, folder, rungs=(steps,))[0].path)


@pytest.fixture(scope="module")
def plain(
    base: BaseModel, training_set: TrainingSet, tmp_path_factory: pytest.TempPathFactory
) -> torch.Tensor:
    return result(base, training_set, tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize(
    "values",
    [
        {"optimizer": "lion"},
        {"optimizer": "prodigy", "learning_rate": 1.0},
        {"schedule": "cosine"},
        {"warmup_steps": 2},
        {"gradient_accumulation": 2},
        {"min_snr_gamma": 1.0},
        {"noise_offset": 0.5},
        {"clip_skip": 2},
        {"lora_dropout": 0.5},
        {"use_rslora": True},
    ],
    ids=lambda values: next(iter(values)),
)
def test_a_setting_changes_what_is_learned(
    base: BaseModel,
    training_set: TrainingSet,
    plain: torch.Tensor,
    tmp_path: Path,
    values: dict[str, object],
) -> None:
    learned = result(base, training_set, tmp_path / "a", **values)
    assert learned.isfinite().all()
    assert (learned - plain).abs().max() > 1e-4
    if "lora_dropout" in values:
        torch.rand(1)
        assert torch.equal(learned, result(base, training_set, tmp_path / "b", **values))


def test_activations_computed_twice_give_the_same_weights(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    kept = result(base, training_set, tmp_path / "a", lora_dropout=0.3)
    twice = result(
        base, training_set, tmp_path / "b", lora_dropout=0.3, gradient_checkpointing=True
    )
    torch.testing.assert_close(kept, twice, atol=1e-4, rtol=0)
    assert not base.pipeline.unet.is_gradient_checkpointing


def test_memory_is_short_where_pictures_and_moments_do_not_fit(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not is_short(base, SMALL, 10**12)  # a processor's memory does not count
    on_gpu = replace(base, device=torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 * 2**20, 0))
    # Latents of 8 x 8 with 16 channels: 0.7 MB a picture.
    assert not is_short(on_gpu, SMALL.model_copy(update={"batch_size": 6}), 0)
    assert is_short(on_gpu, SMALL.model_copy(update={"batch_size": 8}), 0)
    assert is_short(on_gpu, SMALL.model_copy(update={"batch_size": 1}), 10**6)


def test_accumulated_gradients_are_the_mean_of_their_batches(
    base: BaseModel, training_set: TrainingSet
) -> None:
    def gradient(count: int, by_hand: int) -> torch.Tensor:
        config = QUICK.model_copy(update={"gradient_accumulation": count})
        accelerator = Accelerator(cpu=True)
        batches = batches_of(base, training_set, config, 1)
        try:
            training = Run(base, accelerator, config, batches, 1)
            trainer = Trainer(base, accelerator, training)
            for _ in range(by_hand):
                trainer._loss(trainer._inputs(batches[0][0], 0)).backward()
            if not by_hand:
                training.move = lambda *_: None  # type: ignore[method-assign]
                trainer.step(0)
            grads = [weight.grad for weight in training.weights if weight.grad is not None]
            return torch.cat([grad.flatten() for grad in grads])
        finally:
            adapter.detach(base, ADAPTER)

    both = gradient(2, by_hand=0)
    torch.testing.assert_close(both, gradient(1, by_hand=2) / 2, atol=1e-6, rtol=1e-4)
    assert both.any()


def test_min_snr_caps_the_weight_of_clear_pictures(base: BaseModel) -> None:
    """Hang et al. 2023: for noise min(SNR, gamma) / SNR, for the velocity / (SNR + 1)."""
    times = torch.tensor([0, 300, 999])
    for kind, more in (("epsilon", 0.0), ("v_prediction", 1.0)):
        schedule = losses.DDPMScheduler.from_config(
            base.pipeline.scheduler.config, prediction_type=kind
        )
        alphas = schedule.alphas_cumprod[times]
        ratio = alphas / (1 - alphas)
        weights = losses.min_snr_weights(schedule, times, 5.0)
        expected = torch.minimum(ratio, torch.tensor(5.0)) / (ratio + more)
        torch.testing.assert_close(weights, expected)
        assert weights[0] < 0.01
    prediction, goal = torch.zeros(2, 1, 2, 2), torch.tensor([1.0, 2.0]).view(2, 1, 1, 1)
    goal = goal.expand(2, 1, 2, 2)
    mean = losses.mean_squared_error(prediction, goal, torch.tensor([1.0, 0.5]))
    assert mean.item() == pytest.approx((1 + 0.5 * 4) / 2)
    assert losses.mean_squared_error(prediction, goal, torch.ones(2)) == pytest.approx(
        losses.mean_squared_error(prediction, goal).item()
    )


def test_clip_skip_is_the_same_in_training_sampling_and_the_file(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    tokens, encoder = base.tokens(["1girl, red shirt"]), base.pipeline.text_encoder
    with torch.no_grad():
        last, before = states(encoder, tokens, 1), states(encoder, tokens, 2)
        assert torch.equal(last, encoder(tokens)[0])
        # Without its last layer the encoder says the same by itself.
        shorter = copy.deepcopy(encoder)
        inner = getattr(shorter, "text_model", shorter)
        inner.encoder.layers = inner.encoder.layers[:-1]
        torch.testing.assert_close(before, shorter(tokens)[0])
    assert not torch.equal(last, before)
    config = QUICK.model_copy(update={"clip_skip": 2})
    path = run(base, training_set, config, tmp_path)[0].path
    metadata = read_file(path).metadata
    assert (metadata["ss_clip_skip"], metadata["modelspec.encoder_layer"]) == ("2", "2")
    assert method.clip_skip(base, path) == 2
    assert method.clip_skip(base, None) == 1


def test_samples_follow_the_clip_skip(base: BaseModel) -> None:
    suite = SuiteConfig(prompts=(Prompt("1girl"),), seeds=1, steps=2, size=32, negative="1boy")
    last, before = (draw(base.pipeline, suite, [0], skip)[0] for skip in (1, 2))
    assert (last != before).any()
    whole = base.pipeline.text_encoder
    base.pipeline.text_encoder = shorter = copy.deepcopy(whole)
    try:
        inner = getattr(shorter, "text_model", shorter)
        inner.encoder.layers = inner.encoder.layers[:-1]
        assert (draw(base.pipeline, suite, [0])[0] == before).all()
    finally:
        base.pipeline.text_encoder = whole


def test_the_first_stage_has_its_own_captions(
    base: BaseModel, training_set: TrainingSet, tmp_path: Path
) -> None:
    values = {"empty_prompt": 0.0, "captions": "all"}
    staged = values | {"first_captions": "gender", "first_share": 0.3}
    config = TrainConfig.model_validate(QUICK.model_dump() | staged)
    ((batches, _),) = batches_of(base, training_set, config, 10)
    counts = [len(batches.texts(step).captions[1].split(", ")) for step in range(10)]
    assert counts == [2] * 3 + [4] * 7
    for share, tags in ((0.0, 4), (1.0, 2)):
        other = config.model_copy(update={"first_share": share})
        ((batches, _),) = batches_of(base, training_set, other, 10)
        assert {len(batches.texts(step).captions[1].split(", ")) for step in range(10)} == {tags}
    plain = result(base, training_set, tmp_path / "a", **values)
    assert not torch.equal(plain, result(base, training_set, tmp_path / "b", **staged))


class TestPriorPreservation:
    def prior(self, training_set: TrainingSet) -> TrainingSet:
        images = training_set.images
        others = replace(training_set, images=images[:4])
        return replace(training_set, images=images[4:], regularisation=others)

    def test_the_prior_pulls_by_its_weight(
        self, base: BaseModel, training_set: TrainingSet, tmp_path: Path
    ) -> None:
        data = self.prior(training_set)
        none, some, more = (
            result(base, data, tmp_path / name, prior_weight=weight, alias="mi_cv")
            for name, weight in (("a", 0.0), ("c", 0.1), ("d", 10.0))
        )
        assert not torch.equal(none, some)
        assert not torch.equal(some, more)

    def test_its_captions_have_no_alias_and_its_noise_is_its_own(
        self, base: BaseModel, training_set: TrainingSet
    ) -> None:
        config = WITH_TEXT.model_copy(update={"prior_weight": 2.0})
        (own, own_weight), (prior, weight) = batches_of(base, self.prior(training_set), config, 5)
        assert (own_weight, weight) == (1.0, 2.0)
        assert all(text.startswith("mi_cv") for text in own.texts(0).captions[1:])
        assert not any("mi_cv" in text for text in prior.texts(0).captions)
        assert len(prior.latents.bucket) == 4
        assert not torch.equal(own.normal((9,)), prior.normal((9,)))

    def test_a_weight_without_pictures_is_refused(
        self, base: BaseModel, training_set: TrainingSet, tmp_path: Path
    ) -> None:
        config = SMALL.model_copy(update={"prior_weight": 1.0})
        with pytest.raises(ConfigError, match="no regularisation"):
            list(train(base, training_set, config, [1], tmp_path))
