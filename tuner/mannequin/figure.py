"""One figure as plain parameters, and the tags that a tagger would give it.

This vocabulary is the whole language of the mannequin; suites and captions use it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from metrics.contract import Framing, Sex

CLOTH_COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (200, 32, 40),
    "blue": (36, 72, 190),
    "green": (34, 140, 62),
    "yellow": (236, 210, 40),
    "black": (36, 36, 42),
    "white": (236, 238, 242),
    "purple": (128, 46, 160),
    "orange": (240, 118, 16),
}
HAIR_COLOURS: dict[str, tuple[int, int, int]] = {
    "black hair": (28, 24, 26),
    "brown hair": (92, 56, 32),
    "blonde hair": (216, 176, 84),
    "red hair": (156, 60, 28),
    "grey hair": (150, 150, 156),
}
SKINS: tuple[tuple[int, int, int], ...] = (
    (244, 208, 182),
    (232, 188, 156),
    (214, 164, 128),
    (186, 132, 96),
    (150, 102, 72),
    (116, 78, 56),
)
ARM_POSES = (
    "arms at sides",
    "arms spread",
    "arms up",
    "hands on hips",
    "waving",
    "one arm up",
    "arm bent",
    "t-pose",
)
COMMON_ARM_POSES: Mapping[str, float] = {
    "arms at sides": 0.4,
    "hands on hips": 0.2,
    "arms up": 0.2,
    "t-pose": 0.2,
}
"""Arm poses of the base's and the data's figures, with their shares. A network this small that was
trained on all eight poses draws arms between them, whatever its data: a fault that no LoRA can
repair. The other four are for the judges' models, which must know them all."""
CLUTTERED_SHARE = 0.3
LEG_POSES = ("standing", "walking")
TOPS = ("shirt", "sweater", "tank top", "dress")
BOTTOMS = ("trousers", "shorts", "skirt")

Ground = Literal["plain", "cluttered"]
Style = Literal["first", "second"]
"""Drawing style. Everything is trained on the first style and nothing on the second, which has
other shading, proportions, faces, hair, cuts, shades and grounds."""
Limbs = Literal["normal", "extra arm", "missing arm", "extra leg", "missing leg"]


@dataclass(frozen=True)
class Figure:
    """Parameters of one figure and its ground.

    `top` "dress" leaves `bottom` unused. `blur` is a Gaussian sigma and `block` the side of a
    block of wrong colour, both as a share of the picture's side; 0 is none. `jitter` seeds small
    deviations, which make two pictures of otherwise equal parameters differ.
    """

    sex: Sex
    framing: Framing = "full"
    arm_pose: str = "arms at sides"
    leg_pose: str = "standing"
    hair: str = "black hair"
    long_hair: bool = True
    beard: bool = False
    skin: int = 1
    build: float = 1.0
    clothed: bool = True
    top: str = "shirt"
    top_colour: str = "red"
    bottom: str = "trousers"
    bottom_colour: str = "blue"
    ground: Ground = "plain"
    limbs: Limbs = "normal"
    blur: float = 0.0
    block: float = 0.0
    red_eyes: bool = False
    jitter: int = 0
    style: Style = "first"

    @property
    def corruption(self) -> str | None:
        """The figure's first fault; None for a sound picture."""
        if self.limbs != "normal":
            return self.limbs
        if self.blur:
            return "blur"
        if self.block:
            return "colour block"
        return "red eyes" if self.red_eyes else None

    @property
    def arms(self) -> int:
        """Number of arms drawn."""
        return 2 + (self.limbs == "extra arm") - (self.limbs == "missing arm")

    @property
    def legs(self) -> int:
        """Number of legs drawn (outside the frame on half-body pictures)."""
        return 2 + (self.limbs == "extra leg") - (self.limbs == "missing leg")

    @property
    def clothes_tags(self) -> tuple[str, ...]:
        """Tags of the clothes in the frame, colour first; none for an undressed figure."""
        if not self.clothed:
            return ()
        top = f"{self.top_colour} {self.top}"
        if self.top == "dress":
            return (top,)
        return (top, f"{self.bottom_colour} {self.bottom}")

    @property
    def framing_tag(self) -> str:
        """`full body` or `upper body`."""
        return "full body" if self.framing == "full" else "upper body"

    @property
    def pose_tags(self) -> tuple[str, ...]:
        """Tag of the arms, then of the legs if the frame shows them."""
        return (self.arm_pose, self.leg_pose) if self.framing == "full" else (self.arm_pose,)

    @property
    def hair_tags(self) -> tuple[str, ...]:
        """Tags of hair colour and length."""
        return (self.hair, "long hair" if self.long_hair else "short hair")

    @property
    def tags(self) -> tuple[str, ...]:
        """All tags, sex first, as a careful tagger would write them."""
        sex = "1girl" if self.sex == "female" else "1boy"
        ground = "plain background" if self.ground == "plain" else "cluttered background"
        head = (sex, "solo", self.framing_tag)
        return head + self.pose_tags + self.hair_tags + self.clothes_tags + (ground,)


def random_figure(rng: np.random.Generator, **fixed: Any) -> Figure:
    """Draw random parameters of a sound, dressed figure; `fixed` ones are used unchanged.

    Men get short hair and no skirts or dresses, so that every picture shows its sex.
    """

    def pick(options: Any) -> Any:
        return options[int(rng.integers(len(options)))]

    sex: Sex = fixed.get("sex") or pick(("female", "male"))
    female = sex == "female"
    drawn: dict[str, Any] = {
        "sex": sex,
        "framing": "full" if rng.random() < 0.6 else "half",
        "arm_pose": pick(ARM_POSES),
        "leg_pose": pick(LEG_POSES),
        "hair": pick(tuple(HAIR_COLOURS)),
        "long_hair": female and rng.random() < 0.85,
        "beard": not female and rng.random() < 0.4,
        "skin": int(rng.integers(len(SKINS))),
        "build": float(rng.uniform(0.88, 1.14)),
        "top": pick(TOPS if female else TOPS[:3]),
        "top_colour": pick(tuple(CLOTH_COLOURS)),
        "bottom": pick(BOTTOMS if female else BOTTOMS[:2]),
        "bottom_colour": pick(tuple(CLOTH_COLOURS)),
        "ground": "plain" if rng.random() < 0.5 else "cluttered",
        "jitter": int(rng.integers(2**31)),
    }
    return Figure(**(drawn | fixed))


def common_figure(rng: np.random.Generator, **fixed: Any) -> Figure:
    """Draw like `random_figure`, but in a common pose and mostly on plain ground."""
    figure = random_figure(rng, **fixed)
    poses, shares = zip(*COMMON_ARM_POSES.items(), strict=True)
    drawn = {
        "arm_pose": poses[int(rng.choice(len(poses), p=shares))],
        "ground": "cluttered" if rng.random() < CLUTTERED_SHARE else "plain",
    }
    return replace(figure, **(drawn | fixed))
