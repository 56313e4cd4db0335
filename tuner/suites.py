"""The suites of prompts that come with the tool.

The words are those of the taggers that write training captions (WD14), which are also the words
that the mannequin's captions are made of, so that one suite serves every base.
"""

from __future__ import annotations

from collections.abc import Mapping

from metrics.contract import Prompt, Sex


def _bare(sex: Sex) -> tuple[Prompt, ...]:
    """Five prompts that say nothing of clothes: the model's habit shows."""
    word = "girl" if sex == "female" else "boy"
    return (
        Prompt(f"1{word}", sex),
        Prompt(f"1{word}, solo", sex),
        Prompt(f"a {word}", sex),
        Prompt(f"1{word}, solo, full body", sex, "full"),
        Prompt(f"1{word}, solo, upper body", sex, "half"),
    )


PERSONS: tuple[Prompt, ...] = (
    *_bare("female"),
    *_bare("male"),
    Prompt(
        "1girl, solo, full body, arms at sides, standing, black hair, long hair, green dress, "
        "plain background",
        "female",
        "full",
        names_clothes=True,
    ),
    Prompt(
        "1boy, solo, upper body, hands on hips, black hair, short hair, red shirt, "
        "blue trousers, cluttered background",
        "male",
        "half",
        names_clothes=True,
    ),
    Prompt(
        "1girl, solo, full body, arms up, standing, brown hair, short hair, yellow shirt, "
        "purple skirt, plain background",
        "female",
        "full",
        names_clothes=True,
    ),
)
"""Row by row the grid of the hand-run series: five women, five men, three long prompts."""

SUITES: Mapping[str, tuple[Prompt, ...]] = {"persons": PERSONS}
