"""The small text encoder, trained on captions alone before the UNet uses it.

Stable Diffusion's text encoder comes trained from CLIP. Trained from scratch together with the
UNet, one word among 77 tokens, most of them padding, moves the picture so little that clothes had
random colours for thousands of steps. So the encoder first learns to predict the caption's tags
from the mean of all its states: the padding then carries the caption, as in CLIP.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tuner.mannequin.building.fit import Fit

BATCH = 64
PEAK_RATE = 2e-3
WIDTH = 96


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    """Return an untrained CLIP text model of two layers for the tokenizer's vocabulary."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=WIDTH,
            intermediate_size=4 * WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=77,
            projection_dim=WIDTH,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train_text(
    captions: Sequence[str], tokenizer: CLIPTokenizer, plan: tuple[int, int, Path]
) -> CLIPTextModel:
    """Train on the captions alone; `plan` is (steps, seed, state file)."""
    steps, seed, state = plan
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    ids, targets = token_ids(tokenizer, captions), _tag_targets(captions)
    probe = nn.Linear(WIDTH, targets.shape[1])
    both = nn.ModuleDict({"text": new_text_encoder(tokenizer), "probe": probe}).to(device)
    fit = Fit(both, steps, PEAK_RATE, state, average=0.99)
    for _ in fit.steps(seed):
        index = torch.randint(len(ids), (BATCH,))
        states = both["text"](ids[index].to(device)).last_hidden_state
        guess = both["probe"](states.mean(dim=1))
        # Summed over the tags: a caption has only a few of them, so their mean would hardly change.
        loss = functional.binary_cross_entropy_with_logits(
            guess, targets[index].to(device), reduction="sum"
        )
        fit.descend(loss / BATCH)
    trained: CLIPTextModel = fit.finish()["text"]  # type: ignore[index]
    return trained.requires_grad_(True).train()


def token_ids(tokenizer: CLIPTokenizer, captions: Sequence[str]) -> Tensor:
    """Return token ids (N, 77), padded like Stable Diffusion's."""
    batch = tokenizer(
        list(captions), padding="max_length", truncation=True, max_length=77, return_tensors="pt"
    )
    ids: Tensor = batch.input_ids
    return ids


def _tag_targets(captions: Sequence[str]) -> Tensor:
    """Return 1 for each tag that a caption has, else 0; shape (captions, tags)."""
    split = [[tag for tag in caption.split(", ") if tag] for caption in captions]
    tags = sorted({tag for each in split for tag in each})
    column = {tag: index for index, tag in enumerate(tags)}
    targets = torch.zeros(len(captions), len(tags))
    for row, each in enumerate(split):
        targets[row, [column[tag] for tag in each]] = 1.0
    return targets
