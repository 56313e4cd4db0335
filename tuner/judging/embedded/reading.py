"""The result of reading one text, and the words that mark a negative prompt."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """The prompt in a text, empty if none can be read, and its other texts.

    `others` has what may have been requested too: texts of which nothing says that they are
    negative prompts. The refusal rules apply to them.
    """

    prompt: str = ""
    others: tuple[str, ...] = ()


_NEGATIVE = re.compile(r"neg(?!l)|uncond|unwanted|undesired|^uc$")


def is_negative(name: str) -> bool:
    """Return True if a key, an input or a title is that of a negative prompt."""
    return bool(_NEGATIVE.search(name.casefold()))
