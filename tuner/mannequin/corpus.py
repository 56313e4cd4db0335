"""The training pictures of all small models: faults like on the web, captions that name some.

The faults of the base come only from here. Captions of dressed, well-formed figures have all kinds
of tags; those of undressed figures, and of figures with a wrong number of limbs, have few. So a
bare prompt may mean any of them, and a prompt with pose and clothes tags means a sound, dressed
figure. A LoRA that binds sound figures to the bare words repairs the same faults as the LoRAs that
people train for Stable Diffusion.

The autoencoder and the judges' models learn from another mixture, in every pose of the renderer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tuner.mannequin.figure import Figure, Limbs, common_figure, random_figure
from tuner.mannequin.render import draw

BARE_SHARE = 0.35  # of sound, dressed figures: their captions name no pose, hair or clothes
HIDDEN_TAG_SHARE = 0.5  # of faulty figures: their captions name the fault
EMPTY_SHARE = 0.12
ODD_WORD_SHARE = 0.05  # the base meets made-up words, because LoRAs use them as aliases

_LIMB_FAULTS: tuple[tuple[Limbs, float], ...] = (
    ("extra arm", 0.4),
    ("missing arm", 0.25),
    ("extra leg", 0.15),
    ("missing leg", 0.2),
)
ODD_WORDS = ("mi_cv", "sks", "zwx", "ohwx", "vnl_q", "tok_a", "kbx", "pt1")


@dataclass(frozen=True)
class Mixture:
    """Shares of figures with a wrong number of limbs and of undressed ones; `common`: in common
    poses only, else in every pose of the renderer."""

    malformed: float
    undressed: float
    common: bool


EVERY_POSE = Mixture(malformed=0.13, undressed=0.12, common=False)
WEB = Mixture(malformed=0.18, undressed=0.16, common=True)


@dataclass(frozen=True)
class Corpus:
    """Pictures (N, size, size, 3) uint8 with their figures and captions, index by index."""

    images: npt.NDArray[np.uint8]
    figures: tuple[Figure, ...]
    captions: tuple[str, ...]


def make_corpus(count: int, seed: int, mixture: Mixture = WEB, size: int = 64) -> Corpus:
    """Draw training pictures; equal arguments give equal pictures."""
    figures, captions = captioned_figures(count, seed, mixture)
    images = np.stack([draw(figure, size) for figure in figures])
    return Corpus(images, figures, captions)


def captioned_figures(
    count: int, seed: int, mixture: Mixture
) -> tuple[tuple[Figure, ...], tuple[str, ...]]:
    """Return the figures of `make_corpus` with their captions, without drawing them."""
    rng = np.random.default_rng(seed)
    figures = tuple(_figure(mixture, rng) for _ in range(count))
    return figures, tuple(web_caption(figure, rng) for figure in figures)


def _figure(mixture: Mixture, rng: np.random.Generator) -> Figure:
    figure = common_figure(rng) if mixture.common else random_figure(rng)
    fate = rng.random()
    if fate < mixture.malformed:
        names, weights = zip(*_LIMB_FAULTS, strict=True)
        fault = names[int(rng.choice(len(names), p=weights))]
        framing = "full" if "leg" in fault else figure.framing
        return replace(figure, limbs=fault, framing=framing)
    return replace(figure, clothed=fate >= mixture.malformed + mixture.undressed)


def web_caption(figure: Figure, rng: np.random.Generator) -> str:
    """Draw a random caption as the web would give this figure: see the module's docstring."""
    if rng.random() < EMPTY_SHARE:
        return ""
    sound = figure.limbs == "normal" and figure.clothed
    tags = ["1girl" if figure.sex == "female" else "1boy"]
    tags += _some(("solo",), 0.6, rng) + _some((figure.framing_tag,), 0.5, rng)
    if sound and rng.random() >= BARE_SHARE:
        tags += _some(figure.pose_tags, 0.8, rng) + _some(figure.hair_tags, 0.5, rng)
        tags += _some(figure.clothes_tags, 0.85, rng)
        tags += _some((figure.tags[-1],), 0.5, rng)
    elif not sound:
        hidden = "malformed" if figure.limbs != "normal" else "undressed"
        tags += _some((hidden,), HIDDEN_TAG_SHARE, rng)
    if rng.random() < ODD_WORD_SHARE:
        tags.insert(0, ODD_WORDS[int(rng.integers(len(ODD_WORDS)))])
    return ", ".join(tags)


def _some(tags: tuple[str, ...], keep: float, rng: np.random.Generator) -> list[str]:
    return [tag for tag in tags if rng.random() < keep]
