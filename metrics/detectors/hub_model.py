"""Load a network of transformers: from safetensors only, without running code of its own."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from metrics.detectors.models import ModelUnavailableError

CONFIG = "config.json"
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def load_network(
    kind: str, model: str, network_class: Any, preparer_class: Any, half: bool = False
) -> tuple[Any, Any]:
    """Return the network, ready to predict on the GPU where there is one, and its preparer.

    `network_class` and `preparer_class` are classes of transformers, `kind` names the model in
    errors. With `half`, weights on a GPU have half the precision, for networks that are large.
    Raises ModelUnavailableError if one of them is missing, cannot be fetched, or does not fit: a
    network whose weights are not all in the file would answer at random.
    """
    if Path(model).suffix in _PICKLES:
        raise _unusable(kind, model, "pickled weights can run code")
    from transformers import AutoConfig

    safe: dict[str, Any] = {"trust_remote_code": False}
    dtype = torch.bfloat16 if half and device().type == "cuda" else torch.float32
    try:
        with quiet_hub():
            config = AutoConfig.from_pretrained(model, **safe)
            _require_kind(config, network_class)
            preparer = preparer_class.from_pretrained(model, **safe)
            network, loading = network_class.from_pretrained(
                model,
                config=config,
                use_safetensors=True,
                dtype=dtype,
                output_loading_info=True,
                **safe,
            )
    except Exception as error:  # a foreign file may fail in any way
        raise _unusable(kind, model, " ".join(str(error).split())[:200]) from error
    if lacking := sorted(loading["missing_keys"]):
        raise _unusable(kind, model, f"it lacks the weights {', '.join(lacking[:3])}")
    return network.eval().to(device()), preparer


def device() -> torch.device:
    """Return the GPU where there is one, else the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _require_kind(config: Any, network_class: Any) -> None:
    """Raise ValueError for the configuration of another kind of network than this class.

    transformers would build the class at its full size, and only then miss every weight.
    """
    wanted = getattr(network_class, "config_class", None)  # the Auto classes take several kinds
    if wanted is not None and not isinstance(config, wanted):
        raise ValueError(f"it is a {config.model_type}, not a {wanted.model_type}")


@contextlib.contextmanager
def quiet_hub() -> Iterator[None]:
    """Silence the hub's log of its retries and transformers' progress bars."""
    from transformers.utils import logging as transformers_logging

    before, bars = logging.root.manager.disable, transformers_logging.is_progress_bar_enabled()
    logging.disable(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.disable(before)
        if bars:
            transformers_logging.enable_progress_bar()


def _unusable(kind: str, model: str, reason: str) -> ModelUnavailableError:
    return ModelUnavailableError(
        f"{kind} {model!r} could not be loaded ({reason}); give a hub id OWNER/NAME, or a folder "
        f"with {CONFIG} and .safetensors"
    )
