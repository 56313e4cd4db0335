"""Shapes of the tensors of a base, computed from its configuration alone.

The headers of weight files can be compared with them before any network is built. torch is not
needed. The names are those of diffusers and transformers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Shape = tuple[int, ...]
Shapes = dict[str, Shape]
Named = Iterator[tuple[str, Shape]]

_UNET_PLAIN: Mapping[str, Any] = {
    "attention_type": "default",
    "class_embed_type": None,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": None,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "mid_block_only_cross_attention": None,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_time_scale_shift": "default",
    "reverse_transformer_layers_per_block": None,
    "time_cond_proj_dim": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
}
_VAE_PLAIN: Mapping[str, Any] = {"mid_block_add_attention": True}
"""Settings that change the shapes, with the values that all known families have."""

_UNET_BLOCKS = {
    "CrossAttnDownBlock2D": True,
    "DownBlock2D": False,
    "CrossAttnUpBlock2D": True,
    "UpBlock2D": False,
}
"""Known blocks, and whether they have attention."""


def unet_shapes(config: Mapping[str, Any]) -> Shapes | None:
    """Return the shape of each tensor of a UNet2DConditionModel; None for an unknown kind of it.

    Raises KeyError, TypeError or ValueError for a configuration that lacks values.
    """
    blocks = [*config["down_block_types"], *config["up_block_types"]]
    layers = config.get("layers_per_block", 2)
    cross = config.get("cross_attention_dim", 1280)
    if not _is_plain(config, _UNET_PLAIN) or not set(blocks) <= _UNET_BLOCKS.keys():
        return None
    if not isinstance(layers, int) or not isinstance(cross, int):
        return None
    depths = config.get("transformer_layers_per_block", 1)
    if not isinstance(depths, int) and not all(isinstance(depth, int) for depth in depths):
        return None
    if config.get("addition_embed_type") not in (None, "text_time"):
        return None
    return dict(_Unet(config, layers, cross).tensors())


def vae_shapes(config: Mapping[str, Any]) -> Shapes | None:
    """Return the shape of each tensor of an AutoencoderKL; None for an unknown kind of it.

    Raises KeyError, TypeError or ValueError for a configuration that lacks values.
    """
    kinds = {*config["down_block_types"], *config["up_block_types"]}
    if not _is_plain(config, _VAE_PLAIN) or kinds != {"DownEncoderBlock2D", "UpDecoderBlock2D"}:
        return None
    return dict(_vae(config))


def text_shapes(config: Mapping[str, Any], projects: bool = False) -> Shapes:
    """Return the shape of each tensor of a CLIPTextModel, without the prefix `text_model.`.

    With `projects` it is a CLIPTextModelWithProjection. Raises KeyError, TypeError or ValueError
    for a configuration that lacks values.
    """
    shapes = dict(_text(config))
    if projects:
        width = int(config["hidden_size"])
        shapes["text_projection.weight"] = (int(config.get("projection_dim", 512)), width)
    return shapes


def open_clip_shapes(config: Mapping[str, Any], projects: bool = False) -> Shapes:
    """Return the shape of each tensor of open_clip's text encoder, as checkpoints have it.

    `config` is that of the text encoder that is made of it; `projects` as in `text_shapes`. A last
    layer that is not used, an unused projection and `logit_scale` may be there too. Errors are
    those of `text_shapes`.
    """
    shapes = dict(_open_clip(config))
    if projects:  # its matrix is the other way round
        width = int(config["hidden_size"])
        shapes["text_projection"] = (width, int(config.get("projection_dim", 512)))
    return shapes


def _is_plain(config: Mapping[str, Any], plain: Mapping[str, Any]) -> bool:
    return all(config.get(key, value) == value for key, value in plain.items())


def _layer(name: str, *shape: int) -> Named:
    """Yield a weight of this shape, whose first length is the outputs, with its bias."""
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _residual(name: str, before: int, after: int, time: int | None = None) -> Named:
    yield from _layer(f"{name}.norm1", before)
    yield from _layer(f"{name}.conv1", after, before, 3, 3)
    if time is not None:
        yield from _layer(f"{name}.time_emb_proj", after, time)
    yield from _layer(f"{name}.norm2", after)
    yield from _layer(f"{name}.conv2", after, after, 3, 3)
    if before != after:
        yield from _layer(f"{name}.conv_shortcut", after, before, 1, 1)


class _Unet:
    """The tensors of a UNet, block by block."""

    def __init__(self, config: Mapping[str, Any], layers: int, cross: int) -> None:
        self.config, self.layers, self.cross = config, layers, cross
        self.widths = [int(width) for width in config["block_out_channels"]]
        self.time = 4 * self.widths[0]
        depths = config.get("transformer_layers_per_block", 1)
        self.depths = [depths] * len(self.widths) if isinstance(depths, int) else list(depths)

    def tensors(self) -> Named:
        first, last = self.widths[0], self.widths[-1]
        yield from _layer("conv_in", first, int(self.config.get("in_channels", 4)), 3, 3)
        yield from _layer("time_embedding.linear_1", self.time, first)
        yield from _layer("time_embedding.linear_2", self.time, self.time)
        if self.config.get("addition_embed_type") == "text_time":
            inputs = int(self.config["projection_class_embeddings_input_dim"])
            yield from _layer("add_embedding.linear_1", self.time, inputs)
            yield from _layer("add_embedding.linear_2", self.time, self.time)
        yield from self.down()
        for number in (0, 1):
            yield from _residual(f"mid_block.resnets.{number}", last, last, self.time)
        yield from self.attention("mid_block.attentions.0", last, self.depths[-1])
        yield from self.up()
        yield from _layer("conv_norm_out", first)
        yield from _layer("conv_out", int(self.config.get("out_channels", 4)), first, 3, 3)

    def down(self) -> Named:
        before = self.widths[0]
        for block, kind in enumerate(self.config["down_block_types"]):
            name, width = f"down_blocks.{block}", self.widths[block]
            for layer in range(self.layers):
                yield from _residual(
                    f"{name}.resnets.{layer}", width if layer else before, width, self.time
                )
                if _UNET_BLOCKS[kind]:
                    depth = self.depths[block]
                    yield from self.attention(f"{name}.attentions.{layer}", width, depth)
            if block < len(self.widths) - 1:
                yield from _layer(f"{name}.downsamplers.0.conv", width, width, 3, 3)
            before = width

    def up(self) -> Named:
        widths = self.widths[::-1]
        before = widths[0]
        for block, kind in enumerate(self.config["up_block_types"]):
            name, width = f"up_blocks.{block}", widths[block]
            skipped = widths[min(block + 1, len(widths) - 1)]
            for layer in range(self.layers + 1):
                below = width if layer else before
                beside = skipped if layer == self.layers else width
                yield from _residual(f"{name}.resnets.{layer}", below + beside, width, self.time)
                if _UNET_BLOCKS[kind]:
                    depth = self.depths[-1 - block]
                    yield from self.attention(f"{name}.attentions.{layer}", width, depth)
            if block < len(widths) - 1:
                yield from _layer(f"{name}.upsamplers.0.conv", width, width, 3, 3)
            before = width

    def attention(self, name: str, width: int, depth: int) -> Named:
        kernel = () if self.config.get("use_linear_projection", False) else (1, 1)
        yield from _layer(f"{name}.norm", width)
        for end in ("proj_in", "proj_out"):
            yield from _layer(f"{name}.{end}", width, width, *kernel)
        for number in range(depth):
            yield from self.transformer(f"{name}.transformer_blocks.{number}", width)

    def transformer(self, name: str, width: int) -> Named:
        for number, context in ((1, width), (2, self.cross)):
            yield from _layer(f"{name}.norm{number}", width)
            yield f"{name}.attn{number}.to_q.weight", (width, width)
            yield f"{name}.attn{number}.to_k.weight", (width, context)
            yield f"{name}.attn{number}.to_v.weight", (width, context)
            yield from _layer(f"{name}.attn{number}.to_out.0", width, width)
        yield from _layer(f"{name}.norm3", width)
        yield from _layer(f"{name}.ff.net.0.proj", 8 * width, width)
        yield from _layer(f"{name}.ff.net.2", width, 4 * width)


def _vae(config: Mapping[str, Any]) -> Named:
    widths = [int(width) for width in config["block_out_channels"]]
    latent, layers = int(config.get("latent_channels", 4)), int(config.get("layers_per_block", 1))
    coded = 2 * latent  # mean and variance
    yield from _coder("encoder", widths, layers, int(config.get("in_channels", 3)), coded)
    yield from _coder(
        "decoder", widths[::-1], layers + 1, latent, int(config.get("out_channels", 3))
    )
    if config.get("use_quant_conv", True):
        yield from _layer("quant_conv", coded, coded, 1, 1)
    if config.get("use_post_quant_conv", True):
        yield from _layer("post_quant_conv", latent, latent, 1, 1)


def _coder(coder: str, widths: list[int], layers: int, inputs: int, outputs: int) -> Named:
    way = "down" if coder == "encoder" else "up"
    middle = widths[-1 if way == "down" else 0]
    yield from _layer(f"{coder}.conv_in", widths[0], inputs, 3, 3)
    before = widths[0]
    for block, width in enumerate(widths):
        name = f"{coder}.{way}_blocks.{block}"
        for layer in range(layers):
            yield from _residual(f"{name}.resnets.{layer}", width if layer else before, width)
        if block < len(widths) - 1:
            yield from _layer(f"{name}.{way}samplers.0.conv", width, width, 3, 3)
        before = width
    for number in (0, 1):
        yield from _residual(f"{coder}.mid_block.resnets.{number}", middle, middle)
    yield from _layer(f"{coder}.mid_block.attentions.0.group_norm", middle)
    for part in ("to_q", "to_k", "to_v", "to_out.0"):
        yield from _layer(f"{coder}.mid_block.attentions.0.{part}", middle, middle)
    yield from _layer(f"{coder}.conv_norm_out", widths[-1])
    yield from _layer(f"{coder}.conv_out", outputs, widths[-1], 3, 3)


def _text(config: Mapping[str, Any]) -> Named:
    width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    yield "embeddings.token_embedding.weight", (int(config["vocab_size"]), width)
    places = int(config.get("max_position_embeddings", 77))
    yield "embeddings.position_embedding.weight", (places, width)
    for number in range(int(config["num_hidden_layers"])):
        name = f"encoder.layers.{number}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _layer(f"{name}.self_attn.{part}", width, width)
        yield from _layer(f"{name}.layer_norm1", width)
        yield from _layer(f"{name}.mlp.fc1", inner, width)
        yield from _layer(f"{name}.mlp.fc2", width, inner)
        yield from _layer(f"{name}.layer_norm2", width)
    yield from _layer("final_layer_norm", width)


def _open_clip(config: Mapping[str, Any]) -> Named:
    width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
    yield "token_embedding.weight", (int(config["vocab_size"]), width)
    yield "positional_embedding", (int(config.get("max_position_embeddings", 77)), width)
    for number in range(int(config["num_hidden_layers"])):
        name = f"transformer.resblocks.{number}"
        yield f"{name}.attn.in_proj_weight", (3 * width, width)
        yield f"{name}.attn.in_proj_bias", (3 * width,)
        yield from _layer(f"{name}.attn.out_proj", width, width)
        yield from _layer(f"{name}.ln_1", width)
        yield from _layer(f"{name}.mlp.c_fc", inner, width)
        yield from _layer(f"{name}.mlp.c_proj", width, inner)
        yield from _layer(f"{name}.ln_2", width)
    yield from _layer("ln_final", width)
