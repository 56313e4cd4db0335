"""The small Stable Diffusion: classes and faults of the large one, with a few million parameters.

UNet and text encoder are trained together on the corpus; the autoencoder before, then frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from tuner.mannequin.building.fit import Fit
from tuner.mannequin.building.train_text import WIDTH, token_ids
from tuner.mannequin.building.train_vae import to_pixels
from tuner.mannequin.corpus import Corpus
from tuner.models.base import multiplies_bfloat16

BATCH = 32
PEAK_RATE = 8e-4


def new_unet(channels: Sequence[int] = (64, 128, 192), layers: int = 1) -> UNet2DConditionModel:
    """Return an untrained UNet for latents 4 x 16 x 16; all blocks but the top cross-attend."""
    lower = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=16,
        block_out_channels=tuple(channels),
        layers_per_block=layers,
        down_block_types=("DownBlock2D",) + ("CrossAttnDownBlock2D",) * lower,
        up_block_types=("CrossAttnUpBlock2D",) * lower + ("UpBlock2D",),
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def new_scheduler() -> DDIMScheduler:
    """Return Stable Diffusion 1.5's noise schedule (scaled linear, 1,000 steps)."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def train_base(
    corpus: Corpus,
    vae: AutoencoderKL,
    text: tuple[CLIPTokenizer, CLIPTextModel],
    plan: tuple[int, int, Path],
) -> StableDiffusionPipeline:
    """Train UNet and text encoder together; `plan` is (steps, seed, state file)."""
    tokenizer, text_encoder = text
    steps, seed, state = plan
    torch.manual_seed(seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    latents = encode(vae.to(device), corpus.images).to(device)
    ids = token_ids(tokenizer, corpus.captions).to(device)
    unet = new_unet()
    unet.set_attn_processor(AttnProcessor())  # on a CPU its backward pass is the faster one
    both = nn.ModuleDict({"unet": unet, "text": text_encoder}).to(device)
    scheduler = new_scheduler()
    weights = _debiased_weights(scheduler).to(device)
    fit = Fit(both, steps, PEAK_RATE, state)
    half = multiplies_bfloat16(device)
    for _ in fit.steps(seed):
        index = torch.randint(len(latents), (BATCH,)).to(device)
        noise = torch.randn(BATCH, *latents.shape[1:]).to(device)
        timesteps = torch.randint(scheduler.config["num_train_timesteps"], (BATCH,)).to(device)
        noisy = scheduler.add_noise(latents[index], noise, timesteps)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            words = both["text"](ids[index]).last_hidden_state
            guess = both["unet"](noisy, timesteps, words).sample
        error = (guess.float() - noise).square().mean(dim=(1, 2, 3))
        fit.descend((error * weights[timesteps]).mean())
    fit.finish()
    return StableDiffusionPipeline(
        vae=vae.cpu(),
        text_encoder=both["text"].cpu(),
        tokenizer=tokenizer,
        unet=both["unet"].cpu(),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


@torch.no_grad()
def encode(vae: AutoencoderKL, images: npt.NDArray[np.uint8]) -> Tensor:
    """Encode pictures (N, H, W, 3) uint8 to scaled latent means (N, 4, H/4, W/4)."""
    parts = [
        vae.encode(to_pixels(images[start : start + 64]).to(vae.device)).latent_dist.mean.cpu()
        for start in range(0, len(images), 64)
    ]
    scaled: Tensor = torch.cat(parts) * vae.config["scaling_factor"]
    return scaled


def _debiased_weights(scheduler: DDIMScheduler) -> Tensor:
    """Return SNR ** -0.25 for each timestep, shape (1000,), 1 on average.

    Plain noise prediction gives little weight to the noisiest steps, where the words decide most
    (Yu et al. 2023, "Debias the Training of Diffusion Models", which takes SNR ** -0.5; with as few
    training steps as here that leaves the details undrawn).
    """
    signal = scheduler.alphas_cumprod
    weights: Tensor = ((1 - signal) / signal) ** 0.25
    return weights / weights.mean()


def save_base(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write the pipeline as fp16 safetensors that load as float32 without any argument."""
    pipeline.to(dtype=torch.float16)
    # transformers loads a text encoder in the dtype of its configuration, diffusers everything
    # else in float32: without this the dtypes would not match.
    pipeline.save_pretrained(folder, safe_serialization=True)
    config = folder / "text_encoder" / "config.json"
    text = config.read_text().replace('"dtype": "float16"', '"dtype": "float32"')
    config.write_text(text)
    pipeline.to(dtype=torch.float32)
