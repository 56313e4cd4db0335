"""Families of bases that tuner trains. Everything outside asks the family, never a class."""

from __future__ import annotations

from tuner.models.families import stable_diffusion, stable_diffusion_xl
from tuner.models.families.family import Family

FAMILIES: tuple[Family, ...] = (stable_diffusion, stable_diffusion_xl)


def family_of(pipeline: str) -> Family:
    """Return the family of the pipelines of the class `pipeline`. Raises KeyError for others."""
    return {family.LAYOUT.pipeline: family for family in FAMILIES}[pipeline]
