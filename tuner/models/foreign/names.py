"""Tensors' names of LoRA files: the layer and the part that a key of any trainer means.

The layer's name is kohya's, whichever trainer wrote it: `lora_unet_`, `lora_te_` or `lora_te2_`,
and the dotted name with underscores. The blocks keep the names they were written with, those of
diffusers (`down_blocks_0_attentions_0`) or those of the original layout (`input_blocks_1_1`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

Layout = Literal["kohya", "diffusers", "old diffusers", "peft", "comfyui", "lycoris"]
"""Naming of a file's tensors. kohya's is also that of A1111, Forge, and of OneTrainer and
ai-toolkit for Stable Diffusion 1.x, 2.x and XL."""

_ENDINGS: tuple[tuple[str, str], ...] = (
    (r"\.lora_(down|up|mid)\.weight", ""),
    (r"\.lora_(down|up)", ""),
    (r"\.lora_([AB])(?:\.\w+)?\.weight", "peft"),
    (r"\.lora_(magnitude_vector)(?:\.\w+)?(?:\.weight)?", "peft"),
    (r"\.lora(?:_linear_layer)?\.(down|up)\.weight", "old diffusers"),
    (r"_lora(\d?)\.(down|up)\.weight", "old diffusers"),
    (r"\.(hada_(?:w[12]_[ab]|t[12]))", ""),
    (r"\.(lokr_(?:w[12](?:_[ab])?|t2))", ""),
    (r"\.(alpha|dora_scale|magnitude|diff|diff_b|w_norm|b_norm)", ""),
)
_PATTERN = re.compile("|".join(rf"(?:{ending})" for ending, _ in _ENDINGS))
_PARTS = {"A": "down", "B": "up", "w_norm": "diff", "b_norm": "diff_b"}
_OUTPUTS = ("magnitude_vector", "magnitude")
"""Magnitudes of DoRA that are always one for each output."""

_STARTS: tuple[tuple[str, str, Layout], ...] = (
    ("lora_unet_", "unet", "kohya"),
    ("lora_te_", "te", "kohya"),
    ("lora_te1_", "te1", "kohya"),
    ("lora_te2_", "te2", "kohya"),
    ("lora_te3_", "te3", "kohya"),
    ("lora_transformer_", "transformer", "kohya"),
    ("lora_prior_unet_", "prior", "kohya"),
    ("lora_prior_te_", "prior_te", "kohya"),
    ("lycoris_", "", "lycoris"),
    ("base_model.model.", "", "peft"),
    ("unet.base_model.model.", "unet", "peft"),
    ("text_encoder.base_model.model.", "te", "peft"),
    ("text_encoder_2.base_model.model.", "te2", "peft"),
    ("unet.", "unet", "diffusers"),
    ("text_encoder.", "te", "diffusers"),
    ("text_encoder_2.", "te2", "diffusers"),
    ("text_encoder_3.", "te3", "diffusers"),
    ("transformer.", "transformer", "diffusers"),
    ("model.diffusion_model.", "unet", "comfyui"),
    ("diffusion_model.", "unet", "comfyui"),
    ("text_encoders.clip_l.transformer.", "te", "comfyui"),
    ("text_encoders.clip_h.transformer.", "te", "comfyui"),
    ("text_encoders.clip_g.transformer.", "te2", "comfyui"),
    ("text_encoders.", "te3", "comfyui"),
    ("clip_l.transformer.", "te", "comfyui"),
    ("clip_h.transformer.", "te", "comfyui"),
    ("clip_g.transformer.", "te2", "comfyui"),
    ("clip_l.", "te", "comfyui"),
    ("clip_g.", "te2", "comfyui"),
)
_BARE: tuple[tuple[tuple[str, ...], str, Layout], ...] = (
    (("down_blocks.", "mid_block.", "up_blocks."), "unet", "diffusers"),
    (("input_blocks.", "middle_block.", "output_blocks."), "unet", "comfyui"),
    (("transformer_blocks.", "single_transformer_blocks."), "transformer", "diffusers"),
    (("double_blocks.", "single_blocks.", "joint_blocks.", "layers."), "unet", "comfyui"),
)
"""Blocks without anything before them: diffusers wrote them so in 2023, OneTrainer does today."""

_TEXT_PATH = re.compile(
    r"(?:text_model[._])?(?:encoder[._]layers|embeddings|final_layer_norm)[._].+"
)
_PLAIN_STARTS = {
    "unet": "unet",
    "text_encoder": "te",
    "text_encoder_2": "te2",
    "transformer": "transformer",
}
_OLD_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}

OTHER_METHODS: Mapping[str, re.Pattern[str]] = {
    "OFT or BOFT": re.compile(r".*\.oft_(?:blocks|diag|R|r)\b.*|.*\.(?:boft_|vera_lambda).*"),
    "GLoRA": re.compile(r".*\.[ab][12m]\.weight"),
    "(IA)^3": re.compile(r".*\.(?:on_input|ia3_l)"),
    "AdaLoRA": re.compile(r".*\.lora_E(?:\.\w+)?"),
    "biases beside the LoRA": re.compile(r".*\.(?:lora_B\.bias|lora_up\.bias|bias)"),
    "an extra scalar of LyCORIS": re.compile(r".*\.scalar"),
    "trained words (a textual inversion)": re.compile(
        r"(?:bundle_emb|emb_params|string_to_param|clip_[lg]$|learned_embeds).*"
    ),
}
"""What else files hold, which is not read."""


@dataclass(frozen=True)
class Key:
    """One key: the layer by kohya name, its part as in `weights.NEEDED`, alpha or a magnitude.

    `component` is unet, te, te2, te3, transformer or prior. `outputs` marks magnitudes that are one
    for each output whatever their shape.
    """

    name: str
    component: str
    part: str
    layout: Layout
    outputs: bool = False
    dotted: str | None = None


def parse_key(key: str) -> Key | None:
    """Return what `key` means; None for a key that is no part of a LoRA."""
    for ending, style in _ENDINGS:
        if match := re.search(rf"{ending}$", key):
            *number, part = match.groups()
            return _key(key[: match.start()] + "".join(number), part, style)
    return None


def is_lora(keys: Iterable[str]) -> bool:
    """Return True if any key is that of a LoRA, or of another method of small files."""
    return any((key := parse_key(name)) is not None and key.part != "alpha" for name in keys)


def other_method(key: str) -> str:
    """Return what a key that is not read belongs to."""
    for what, pattern in OTHER_METHODS.items():
        if pattern.fullmatch(key):
            return what
    return "nothing that is known"


def _key(path: str, part: str, style: str) -> Key | None:
    found = next((each for each in _STARTS if path.startswith(each[0])), None)
    if found is None:
        found = next((("", *each[1:]) for each in _BARE if path.startswith(each[0])), None)
    if found is None:
        return None
    start, component, layout = found
    rest = path.removeprefix(start)
    if not component:
        component, rest = _component(rest)
    elif component == "te1":
        component = "te"
    if style == "old diffusers" and layout == "diffusers":
        layout = "old diffusers"
    rest = rest.removeprefix("base_model.model.")
    flat = _flat(component, rest)
    dotted = rest if "." in rest else None
    name = f"lora_{component}_{flat}"
    outputs = part in _OUTPUTS
    part = "magnitude" if outputs or part == "dora_scale" else _PARTS.get(part, part)
    return Key(name, component, part, layout, outputs, dotted)


def _component(rest: str) -> tuple[str, str]:
    """Return the component of a path without one, and the path in it."""
    if match := re.match(r"(unet|text_encoder(?:_2)?|transformer(?!_blocks))[._]", rest):
        return _PLAIN_STARTS[match[1]], rest.removeprefix(match[0])
    return ("te" if _TEXT_PATH.fullmatch(rest) else "unet"), rest


def _flat(component: str, rest: str) -> str:
    """Return the path with underscores, as kohya's trainer writes it.

    transformers dropped the level `text_model.` of CLIPTextModel in 5.6; the files keep it.
    """
    rest = rest.replace(".processor.", ".")
    before, dot, last = rest.rpartition(".")
    if component in ("te", "te2"):
        rest = before + dot + _OLD_TEXT.get(last, last)
        flat = rest.replace(".", "_").removeprefix("text_model_")
        return (
            f"text_model_{flat}" if flat.startswith(("encoder_", "embeddings_", "final_")) else flat
        )
    if last == "to_out":
        rest = f"{rest}.0"
    return rest.replace(".", "_")
