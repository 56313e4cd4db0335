"""Bases as they lie on a disk, written without building a network: headers over empty files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tuner.models.stored.architecture import Shape, text_shapes, unet_shapes, vae_shapes
from tuner.models.stored.families import STABLE_DIFFUSION, STABLE_DIFFUSION_15
from tuner.models.stored.original_names import UNET, VAE, text_name, unet_name, vae_name

UNET_CONFIG: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 16,
    "in_channels": 4,
    "block_out_channels": [8, 8],
    "layers_per_block": 1,
    "cross_attention_dim": 8,
    "norm_num_groups": 4,
    "attention_head_dim": 4,
    "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
}
VAE_CONFIG: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [8, 8, 8],
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
}
TEXT_CONFIG: dict[str, Any] = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "vocab_size": 600,
    "num_hidden_layers": 2,
}
SCHEDULER: dict[str, Any] = {"_class_name": "DDIMScheduler", "prediction_type": "epsilon"}
TEXT = STABLE_DIFFUSION.encoders[0].clip
SIZES = {"F32": 4, "F16": 2, "BF16": 2, "U8": 1}


def write_weights(
    path: Path,
    shapes: Mapping[str, Shape],
    dtype: str = "F16",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a `.safetensors` file of zeros, which takes no room on the disk."""
    header: dict[str, Any] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for name, shape in shapes.items():
        start, count = end, SIZES[dtype]
        for side in shape:
            count *= side
        end = start + count
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return path


def write_folder(folder: Path, variant: str = "") -> Path:
    """Write a base of 64 pixels in diffusers' layout; its text encoder has two layers."""
    parts = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")
    index = {part: ["diffusers", "AnyClass"] for part in parts}
    files: dict[str, object] = {
        "model_index.json": {"_class_name": "StableDiffusionPipeline", **index},
        "unet/config.json": UNET_CONFIG,
        "vae/config.json": VAE_CONFIG,
        "text_encoder/config.json": TEXT_CONFIG,
        "scheduler/scheduler_config.json": SCHEDULER,
        "tokenizer/tokenizer.json": {},
    }
    for name, values in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(values))
    end = f".{variant}.safetensors" if variant else ".safetensors"
    stem = "diffusion_pytorch_model"
    write_weights(folder / f"unet/{stem}{end}", unet_shapes(UNET_CONFIG) or {})
    write_weights(folder / f"vae/{stem}{end}", vae_shapes(VAE_CONFIG) or {})
    write_weights(folder / f"text_encoder/model{end}", text_shapes(TEXT_CONFIG))
    return folder


def second_checkpoint_shapes() -> dict[str, Shape]:
    """Return the tensors of a checkpoint of Stable Diffusion 2.x, with the names that it has."""
    first = checkpoint_shapes(STABLE_DIFFUSION_15)
    unet: dict[str, Shape] = {}
    for name, shape in first.items():
        wider = name.endswith(("attn2.to_k.weight", "attn2.to_v.weight"))
        flat = name.endswith(("proj_in.weight", "proj_out.weight")) and name.startswith(UNET)
        unet[name] = (shape[0], 1024) if wider else shape[:2] if flat else shape
    text = {
        "token_embedding.weight": (49408, 1024),
        "positional_embedding": (77, 1024),
        "ln_final.weight": (1024,),
        "ln_final.bias": (1024,),
    }
    layer: dict[str, Shape] = {
        "attn.in_proj_weight": (3072, 1024),
        "attn.in_proj_bias": (3072,),
        "attn.out_proj.weight": (1024, 1024),
        "attn.out_proj.bias": (1024,),
        "mlp.c_fc.weight": (4096, 1024),
        "mlp.c_fc.bias": (4096,),
        "mlp.c_proj.weight": (1024, 4096),
        "mlp.c_proj.bias": (1024,),
        **{f"ln_{number}.{end}": (1024,) for number in (1, 2) for end in ("weight", "bias")},
    }
    text |= {
        f"transformer.resblocks.{number}.{name}": shape
        for number in range(23)
        for name, shape in layer.items()
    }
    kept = {name: shape for name, shape in unet.items() if not name.startswith(TEXT)}
    return kept | {f"cond_stage_model.model.{name}": shape for name, shape in text.items()}


def checkpoint_shapes(folder: Path) -> dict[str, Shape]:
    """Return the tensors of a whole checkpoint by the configuration in a diffusers folder."""
    unet, vae, text = (
        json.loads((folder / part / "config.json").read_text())
        for part in ("unet", "vae", "text_encoder")
    )
    attentive = ["CrossAttn" in kind for kind in unet["up_block_types"]]
    layers, blocks = unet["layers_per_block"], len(vae["up_block_types"])
    own = unet_shapes(unet) or {}
    named = {UNET + unet_name(name, layers, attentive): shape for name, shape in own.items()}
    own = vae_shapes(vae) or {}
    named |= {VAE + vae_name(name, blocks): shape for name, shape in own.items()}
    return named | {TEXT + text_name(name): shape for name, shape in text_shapes(text).items()}


def change(path: Path, **values: object) -> None:
    """Change values of a JSON file; None removes a key."""
    whole = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in whole.items() if value is not None}))
