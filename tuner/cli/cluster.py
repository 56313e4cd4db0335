"""Options of the commands whose workers can be on a Ray cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from tuner.errors import ConfigError

if TYPE_CHECKING:
    from tuner.worker.nodes.address import RayOptions

Ray = Annotated[
    str | None,
    typer.Option(
        "--ray",
        metavar="ADDRESS",
        help="Work on a Ray cluster (extra tuner[ray]): local starts one on this machine, auto is "
        "the one that this machine belongs to; or HOST:PORT of its head, or ray://HOST:10001.",
    ),
]
Shared = Annotated[
    bool,
    typer.Option(
        "--shared",
        help="With --ray: all nodes see the studies, data and models at the same paths; nothing is "
        "sent.",
    ),
]
GpuShare = Annotated[
    float,
    typer.Option(
        metavar="SHARE", help="With --ray: the part of a GPU that a worker takes, such as 0.5."
    ),
]


def ray_options(address: str | None, shared: bool, gpu_share: float = 1.0) -> RayOptions | None:
    """Return the cluster that the options name; None for this machine without Ray.

    Raises ConfigError for a share that is none, and for `--shared` without `--ray`.
    """
    from tuner.worker.nodes.address import RayOptions

    if not 0 < gpu_share <= 1:
        raise ConfigError(
            f"--gpu-share {gpu_share:g}: allowed: above 0, for many workers on a GPU, up to 1"
        )
    if address is None:
        if shared:
            raise ConfigError("--shared says what the nodes of --ray see; give --ray ADDRESS too")
        return None
    return RayOptions(address, shared, gpu_share)
