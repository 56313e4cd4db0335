"""Captions of more than 75 tokens: in chunks, as kohya's trainer encodes them, or counted."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
import torch

from metrics.contract import Prompt
from tests.tuner.conftest import MERGES
from tuner.data import TrainingSet
from tuner.models import BaseModel, clip_tokenizer, draw
from tuner.models.clip_tokenizer import CHUNK, MOST_CHUNKS, all_merges, longer
from tuner.models.sampling import noise
from tuner.models.text_encoder import chunks_of, cut_texts, states, tokenized
from tuner.space import SuiteConfig, TrainConfig
from tuner.training.texts import step_tokens, texts_of

LONG = ", ".join(f"tag {number}" for number in range(40))
"""About 160 tokens with the tiny base's tokenizer."""


def kohya_states(base: BaseModel, caption: str, chunks: int) -> torch.Tensor:
    """Encode one caption as sd-scripts does with `max_token_length` 75 * chunks.

    The tokens are padded as a whole, cut into pieces between the two marks, and of all states only
    the first one of the first piece and the last one of the last piece are marks.
    """
    tokenizer, encoder = base.pipeline.tokenizer, base.pipeline.text_encoder
    whole = tokenizer(
        caption, padding="max_length", truncation=True, max_length=75 * chunks + 2
    ).input_ids
    pieces = [[whole[0], *whole[at : at + 75], whole[-1]] for at in range(1, 75 * chunks, 75)]
    hidden = encoder(torch.tensor(pieces))[0]
    joined = [hidden[0, :1], *(each[1:-1] for each in hidden), hidden[-1, -1:]]
    return torch.cat(joined)


@pytest.mark.parametrize(
    ("caption", "chunks"), [("1girl", 1), (LONG, None), ("1girl", 3), (LONG * 3, None)]
)
@torch.no_grad()
def test_chunks_are_encoded_as_by_kohya(base: BaseModel, caption: str, chunks: int | None) -> None:
    tokens = tokenized(base.pipeline.tokenizer, [caption, ""], chunks)
    number = tokens.shape[1] // 77
    assert number == (chunks or (3 if len(caption) <= len(LONG) else MOST_CHUNKS))
    hidden = states(base.pipeline.text_encoder, tokens, 1)
    assert hidden.shape == (2, 2 + 75 * number, 32)
    torch.testing.assert_close(hidden[0], kohya_states(base, caption, number))
    torch.testing.assert_close(hidden[1], kohya_states(base, "", number))


def test_short_captions_keep_their_77_tokens(base: BaseModel) -> None:
    tokenizer = base.pipeline.tokenizer
    word = "red "
    each = len(tokenizer(word, add_special_tokens=False).input_ids)
    assert chunks_of(tokenizer, [word * (CHUNK // each)]) == 1
    assert chunks_of(tokenizer, [word * (CHUNK // each + 1)]) == 2
    assert tokenized(tokenizer, ["1girl", ""]).shape == (2, 77)


def test_the_end_of_a_long_prompt_changes_the_picture(base: BaseModel) -> None:
    def picture(end: str) -> bytes:
        suite = SuiteConfig(prompts=(Prompt(f"{LONG}, {end}"),), seeds=1, size=64, steps=2)
        return draw(base.pipeline, suite, [0])[0].tobytes()

    assert picture("red shirt") != picture("blue hat")


def test_short_prompts_give_what_diffusers_draws(base: BaseModel) -> None:
    suite = SuiteConfig(
        prompts=(Prompt("1girl"), Prompt("1boy, solo")), seeds=1, size=64, steps=2, negative="blue"
    )
    pictures = base.pipeline(
        prompt=["1girl", "1boy, solo"],
        negative_prompt=["blue"] * 2,
        latents=torch.stack([noise(base.pipeline, suite, index) for index in range(2)]),
        width=64,
        height=64,
        num_inference_steps=2,
        guidance_scale=suite.guidance_scale,
        output_type="np",
    ).images
    own = draw(base.pipeline, suite.model_copy(update={"sampler": "ddim"}), [0, 1], exact=True)
    assert np.array_equal(np.round(pictures * 255).astype(np.uint8), np.stack(own))


def test_captions_beyond_the_last_chunk_are_counted(
    base: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = base.pipeline.tokenizer
    few = all_merges()[:MERGES]  # those of the base
    monkeypatch.setattr(clip_tokenizer, "all_merges", lambda: few)
    text = "It's Ünïcode, 日本語 🦊 don't a_b 123\tred  shirt, "
    captions = {"short": text, "long": text * 20, "exact": "a " * 225, "more": "a " * 226}
    counts = {
        key: len(tokenizer(each, add_special_tokens=False).input_ids)
        for key, each in captions.items()
    }
    assert counts["exact"] == CHUNK * MOST_CHUNKS
    assert longer(captions) == {"long": counts["long"], "more": 226}
    assert cut_texts(tokenizer, list(captions.values())) == 2


def test_a_run_warns_of_captions_whose_end_is_not_trained_on(
    base: BaseModel, training_set: TrainingSet
) -> None:
    first, *others = training_set.images
    cut = replace(training_set, images=(replace(first, caption=LONG * 3), *others))
    with pytest.warns(UserWarning, match="1 caption with more than 225 tokens"):
        texts = texts_of(base, cut, TrainConfig())
    assert texts.tokens.shape[1] == 3 * 77
    assert texts.states is not None
    assert texts.states.hidden.shape[1] == 2 + 3 * 75
    vary = TrainConfig(shuffle_tags=True)
    rows = torch.tensor([0, 2])
    assert step_tokens(base, texts, rows, vary, Random(0)).shape == (2, 3 * 77)
