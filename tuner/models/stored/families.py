"""The families of bases as files have them: their parts, the names of these, and what is shipped.

Plain values, so that `tuner check` needs no torch. What a family computes is in
`tuner.models.families`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_NETWORK = "diffusion_pytorch_model"
_HERE = Path(__file__).parents[1]

STABLE_DIFFUSION_15 = _HERE / "stable_diffusion_15"
STABLE_DIFFUSION_21 = _HERE / "stable_diffusion_21"
STABLE_DIFFUSION_XL_10 = _HERE / "stable_diffusion_xl"
"""Diffusers folders without weights and tokenizers: the configurations of Stable Diffusion 1.5,
2.1 (base, 512 px) and XL (base 1.0), so that a single file needs no network."""


@dataclass(frozen=True)
class Encoder:
    """A text encoder of a family, with its tokenizer.

    `part` and `tokenizer` are folders in diffusers' layout. `clip` and `open_clip` are the
    beginnings of its tensors' names in a single file, in transformers' layout and in that of
    open_clip; empty: a file never has that one. `projects` is True if the state of a whole text
    is projected (CLIPTextModelWithProjection).
    """

    part: str
    tokenizer: str
    clip: str = ""
    open_clip: str = ""
    projects: bool = False


@dataclass(frozen=True)
class Shipped:
    """The shipped configuration of single files whose UNet has these two sizes.

    `width` is that of the UNet's first layer, `context` that of the text states it takes. `padding`
    has the token that fills up a text, for each tokenizer.
    """

    name: str
    folder: Path
    width: int
    context: int
    padding: tuple[str, ...]


@dataclass(frozen=True)
class UnitCost:
    """Cost of one kind of base at its native size.

    Seconds: `train` per picture and optimizer step, `sample` per picture and guided denoising step,
    `decode` per picture for making its pixels, `score` per picture for all judges, `load` once in
    each worker. Bytes: `lora` and `text_lora` per unit of rank in float16 (UNet, all text encoders;
    attention only), `targets` how many times that for each choice of layers, `whole` and
    `text_whole` for the weights of both in float16, `png` per pixel, `resident` for base, judges
    and libraries, `picture` per training picture of a batch, `drawn` for drawing one picture.
    `judges` is the number of processes that judge beside a worker; 0: it judges itself.
    """

    train: float
    sample: float
    score: float
    load: float
    lora: int
    text_lora: int
    targets: Mapping[str, float]
    whole: int
    text_whole: int
    png: float
    resident: int
    picture: int
    drawn: int
    decode: float = 0.0
    judges: int = 0


@dataclass(frozen=True)
class Layout:
    """What lies on a disk of a base of one family.

    `pipeline` is the class that its model_index.json names. `context` is the tensor of a single
    file whose last side is the width of the text states. `variants` has the weights to open in the
    order of preference, the empty one for plain names. `download` is what a base on a hub takes,
    `example` the hub id of the best known one, `side` its native size in pixels, `cost` what a
    study on it costs. `added` is what its UNet takes beside text and timestep
    (addition_embed_type). With `reads_marks` programs know velocity by the keys `v_pred` and
    `ztsnr` of a single file.
    """

    name: str
    pipeline: str
    encoders: tuple[Encoder, ...]
    shipped: tuple[Shipped, ...]
    context: str
    variants: tuple[str, ...]
    download: str
    example: str
    side: int
    cost: UnitCost
    added: str | None = None
    reads_marks: bool = False

    @property
    def stems(self) -> dict[str, str]:
        """The networks, which have weights, with the first part of their weight files' names."""
        texts = {encoder.part: "model" for encoder in self.encoders}
        return {"unet": _NETWORK, "vae": _NETWORK, **texts}

    @property
    def parts(self) -> tuple[str, ...]:
        """All folders of a base in diffusers' layout."""
        tokenizers = (encoder.tokenizer for encoder in self.encoders)
        return (*self.stems, *tokenizers, "scheduler")

    def shipped_at(self, folder: Path) -> Shipped | None:
        """Return the shipped configuration in `folder`; None for a folder of the user's."""
        return next((each for each in self.shipped if each.folder == folder), None)


_COST = UnitCost(
    train=0.13,
    sample=0.07,
    score=0.5,
    load=60.0,
    lora=400_000,
    text_lora=150_000,
    targets={
        "attention": 1.0,
        "attention+feed_forward": 2.0,
        "attention+feed_forward+convolutions": 5.0,
    },
    whole=1_720_000_000,
    text_whole=250_000_000,
    png=2.0,
    resident=3 * 2**30,
    picture=2**30,
    drawn=2**30,
)
"""Stable Diffusion 1.5 in half precision on one consumer GPU of 24 GB.

Counted on its layers: `lora`, `text_lora`, `targets`, `whole`, `text_whole`. The rest is taken from
published reports, not measured here: 0.8 GiB of activations a picture with flash attention, rounded
up.
"""

_COST_XL = UnitCost(
    train=0.5,
    sample=0.25,
    decode=0.5,
    score=0.5,
    load=90.0,
    lora=2_903_040,
    text_lora=802_816,
    targets={
        "attention": 1.0,
        "attention+feed_forward": 1.8,
        "attention+feed_forward+convolutions": 2.1,
    },
    whole=5_135_000_000,
    text_whole=1_636_000_000,
    png=2.0,
    resident=15 * 2**29,
    picture=8 * 2**30,
    drawn=5 * 2**30,
)
"""Stable Diffusion XL 1.0 in half precision at 1024 x 1024 on one consumer GPU of 24 GB.

Counted on its layers: `lora` (70 transformer blocks of 640 and 1280 channels), `text_lora`,
`targets`, `whole` (2.57 billion weights), `text_whole` (0.12 and 0.69 billion). Computed from its
configuration: `resident` (6.6 GiB of base with the VAE in float32, 0.9 of libraries), `picture` (6
to 8 GiB of activations in bfloat16 without gradient checkpointing), `drawn` (4 to 5 GiB for the
VAE's largest layers in float32). From published reports, of which none was repeated here: `train`
(1.1 to 1.4 s a step of one picture, 3 s of eight with gradient checkpointing, kohya's trainer on
an RTX 3090 Ti and 4090; kohya-ss/sd-scripts#827, bmaltais/kohya_ss#1288). `sample` and `decode` are
guesses, from 3.7 s for 30 steps on an A100.
"""

_ATTENTION = "transformer_blocks.0.attn2.to_k.weight"

STABLE_DIFFUSION = Layout(
    name="Stable Diffusion 1.x and 2.x",
    pipeline="StableDiffusionPipeline",
    encoders=(
        Encoder(
            "text_encoder", "tokenizer", "cond_stage_model.transformer.", "cond_stage_model.model."
        ),
    ),
    shipped=(
        Shipped("Stable Diffusion 1.5", STABLE_DIFFUSION_15, 320, 768, ("<|endoftext|>",)),
        Shipped("Stable Diffusion 2.1", STABLE_DIFFUSION_21, 320, 1024, ("!",)),
    ),
    context=f"model.diffusion_model.input_blocks.1.1.{_ATTENTION}",
    variants=("", "fp32", "fp16", "bf16"),
    download="about 4 GB",
    example="stable-diffusion-v1-5/stable-diffusion-v1-5",
    side=512,
    cost=_COST,
)

STABLE_DIFFUSION_XL = Layout(
    name="Stable Diffusion XL",
    pipeline="StableDiffusionXLPipeline",
    encoders=(
        Encoder("text_encoder", "tokenizer", clip="conditioner.embedders.0.transformer."),
        Encoder(
            "text_encoder_2",
            "tokenizer_2",
            open_clip="conditioner.embedders.1.model.",
            projects=True,
        ),
    ),
    shipped=(
        Shipped("Stable Diffusion XL", STABLE_DIFFUSION_XL_10, 320, 2048, ("<|endoftext|>", "!")),
    ),
    context=f"model.diffusion_model.input_blocks.4.1.{_ATTENTION}",
    # In float32 it is twice as large, and a GPU computes with half of that anyway.
    variants=("fp16", "", "bf16", "fp32"),
    download="about 7 GB (14 GB if it has no fp16 files)",
    example="stabilityai/stable-diffusion-xl-base-1.0",
    side=1024,
    cost=_COST_XL,
    added="text_time",
    reads_marks=True,
)

LAYOUTS = (STABLE_DIFFUSION, STABLE_DIFFUSION_XL)


def layout_named(pipeline: object) -> Layout | None:
    """Return the layout of bases whose model_index.json names `pipeline`; None: not trained."""
    return next((layout for layout in LAYOUTS if layout.pipeline == pipeline), None)
