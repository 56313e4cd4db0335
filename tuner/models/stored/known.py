"""Tell the family of a base from its files, before it is checked or opened."""

from __future__ import annotations

from safetensors import SafetensorError

from tuner.errors import TunerError
from tuner.models.stored.contents import layout_in
from tuner.models.stored.families import LAYOUTS, STABLE_DIFFUSION, Layout
from tuner.models.stored.hub import cached_folder
from tuner.models.stored.index import read_index
from tuner.models.stored.weight_files import read_header
from tuner.space.base_name import parse_base
from tuner.space.sizes import native_size


def layout_of(base: str) -> Layout:
    """Return the family of the base that `base` names; of one that is not here, the likely one.

    That is the one with the native size that its name tells, else Stable Diffusion 1.x.
    """
    if (known := known_layout(base)) is not None:
        return known
    side = native_size(base)
    return next((layout for layout in LAYOUTS if layout.side == side), STABLE_DIFFUSION)


def known_layout(base: str) -> Layout | None:
    """Return the family of a base by its files; None if they are not here or are of no family.

    A folder and a hub id in the cache are known by model_index.json, a file by the names of its
    tensors. Names of bases are never taken for a sign.
    """
    try:
        parsed = parse_base(base)
        if parsed.kind == "mannequin":
            return STABLE_DIFFUSION
        if parsed.kind == "file" and parsed.path is not None:
            return layout_in(read_header(parsed.path).tensors)
        folder = parsed.path or cached_folder(parsed)
        return None if folder is None else read_index(base, folder).layout
    except (TunerError, SafetensorError, OSError, ValueError, RecursionError):
        return None  # reported when the base is checked
