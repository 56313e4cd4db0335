"""What a family of bases has to know: the door behind which one family differs from another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch

from tuner.models.stored.families import Layout

Component = Literal["unet", "text_encoder", "text_encoder_2"]
"""A network that training can change."""

LoraFamily = Literal[
    "sd1",
    "sd2",
    "sdxl",
    "sdxl-refiner",
    "sd3",
    "flux",
    "qwen-image",
    "z-image",
    "video",
    "cascade",
    "unknown",
]
"""Bases of LoRAs, as far as names and shapes of tensors tell them apart."""


@dataclass(frozen=True)
class TextStates:
    """Conditions of the UNet that text encoders make of captions.

    `hidden` (captions, tokens, width) has a state for each token. `pooled` (captions, width) is one
    vector for the whole caption; None in families whose UNet takes none.
    """

    hidden: torch.Tensor
    pooled: torch.Tensor | None = None

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors that are there, by their names."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def rows(self, rows: torch.Tensor | slice) -> TextStates:
        """Return the states of some captions, by index."""
        pooled = None if self.pooled is None else self.pooled[rows]
        return TextStates(self.hidden[rows], pooled)

    def to(self, target: torch.dtype | torch.device) -> TextStates:
        """Return the states in another dtype, or on another device."""
        pooled = None if self.pooled is None else self.pooled.to(target)
        return TextStates(self.hidden.to(target), pooled)

    def zeros(self) -> TextStates:
        """Return states of the same shape that are all zero."""
        pooled = None if self.pooled is None else torch.zeros_like(self.pooled)
        return TextStates(torch.zeros_like(self.hidden), pooled)


def joined(parts: Sequence[TextStates]) -> TextStates:
    """Return the states of several batches of captions as one."""
    pooled = [part.pooled for part in parts if part.pooled is not None]
    return TextStates(
        torch.cat([part.hidden for part in parts]), torch.cat(pooled) if pooled else None
    )


class Family(Protocol):
    """A family of bases; the modules of this folder are its implementations.

    `LAYOUT` has its parts, the names of their files, what is shipped, and what a study on it costs.
    Bytes are those of one picture for each latent place and channel of the UNet's first level:
    `STEP_BYTES` for the activations of a training step, `SAMPLE_BYTES` for a guided step of
    sampling with the VAE's decoding.
    """

    LAYOUT: Layout
    STEP_BYTES: int
    SAMPLE_BYTES: int

    def open_folder(self, folder: Path, dtype: torch.dtype, variant: str | None) -> Any:
        """Return the pipeline of a checked diffusers folder, without a network.

        `variant` is the middle of its weights' file names, None for plain names.
        """

    def open_file(self, path: Path, config: Path, dtype: torch.dtype) -> Any:
        """Return the pipeline of a checked single file, without a network.

        `config` is a diffusers folder of configurations; a shipped one gets CLIP's tokenizers.
        """

    def prepare(self, pipeline: Any) -> None:
        """Change what a pipeline that was just opened needs changed before it is used."""

    def with_scheduler(self, pipeline: Any, scheduler: Any) -> Any:
        """Return a pipeline of the same parts with another scheduler."""

    def encoders(self, pipeline: Any) -> dict[Component, Any]:
        """Return the text encoders by the name of the part, in the order of their states."""

    def tokens(
        self, pipeline: Any, captions: Sequence[str], chunks: int | None = None
    ) -> torch.Tensor:
        """Return the tokens of captions: one row a caption, the last axis are the tokens.

        `chunks` is the number of chunks of 75 tokens, by default what the longest caption needs.
        """

    def text_states(
        self, encoders: Sequence[Any], tokens: torch.Tensor, clip_skip: int
    ) -> TextStates:
        """Return the states of `tokens`, read from the layer `clip_skip`, counted from the last."""

    def unprompted(self, pipeline: Any, states: TextStates) -> TextStates:
        """Return the states of no negative prompt, given those of the empty text."""

    def prompt_arguments(self, positive: TextStates, negative: TextStates) -> dict[str, Any]:
        """Return the states as arguments of the pipeline's call."""

    def predict(
        self,
        unet: Any,
        noisy: torch.Tensor,
        timesteps: torch.Tensor,
        states: TextStates,
        frames: torch.Tensor,
    ) -> torch.Tensor:
        """Return the UNet's prediction for noisy latents.

        `frames` (pictures, 6) has the height and width of each picture before it was scaled, the
        top and left edge of its cut, and the height and width that it has now, all in pixels.
        """

    def encode(self, vae: Any, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and deviation of the latents of pictures, as the UNet takes them."""

    def decode(self, vae: Any, latents: torch.Tensor) -> torch.Tensor:
        """Return the pixels of latents, (pictures, 3, height, width), 0 to 1."""

    def bucket_step(self, pipeline: Any) -> int:
        """Return the step in pixels between the sides of training sizes."""

    def kohya_name(self, component: Component, dotted: str, model: Any) -> str:
        """Return the name of a layer in a LoRA file of kohya's trainer.

        `dotted` is the layer's name in `model`, the network of that component.
        """

    def lora_families(self, pipeline: Any) -> tuple[LoraFamily, ...]:
        """Return what LoRAs are made for that may fit a base."""

    def metadata(self, pipeline: Any) -> Mapping[str, str]:
        """Return the entries of a trained file's header that name the family."""
