"""Attention as plain products: on a CPU its backward pass is faster than that of the fused one."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor


class PlainAttention:
    """Attention of a Stable Diffusion UNet over flat places, without mask or norms of its own.

    It computes what diffusers' `AttnProcessor` does, without the steps that do nothing there; other
    layers are left to that. Needs memory for the square of the number of places.
    """

    def __init__(self) -> None:
        """Create the processor of any number of layers."""
        self._other = AttnProcessor()

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        *others: Any,
        **named: Any,
    ) -> torch.Tensor:
        """Return the layer's output (batch, places, channels)."""
        if attention_mask is not None or not _is_plain(attn):
            about = (encoder_hidden_states, attention_mask, *others)
            other: torch.Tensor = self._other(attn, hidden_states, *about, **named)
            return other
        seen = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = attn.to_q(hidden_states), attn.to_k(seen), attn.to_v(seen)
        query, key, value = (attn.head_to_batch_dim(each) for each in (query, key, value))
        weights = torch.baddbmm(
            query.new_empty(1).expand(len(query), query.shape[1], key.shape[1]),
            query,
            key.transpose(1, 2),
            beta=0,
            alpha=attn.scale,
        ).softmax(dim=-1)
        output: torch.Tensor = attn.to_out[0](attn.batch_to_head_dim(torch.bmm(weights, value)))
        return output


def _is_plain(attn: Attention) -> bool:
    """Return True for a layer whose processor has only to attend."""
    norms = (attn.spatial_norm, attn.group_norm, attn.norm_cross, attn.norm_q, attn.norm_k)
    changes = attn.residual_connection or attn.upcast_attention or attn.upcast_softmax
    dropped = attn.to_out[1].p > 0
    return not any(norms) and not changes and not dropped and attn.rescale_output_factor == 1
