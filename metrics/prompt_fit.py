"""Does the picture show the traits that the prompt names: colours, hair, background, pose words?

Each trait in the prompt is asked by itself, as in GenEval (Ghosh et al. 2023): the phrase as it
stands against the same phrase with another word, by the open_clip model on the figure's crop.

A model can be asked only what it can tell. On 150 sound renders the mannequin's own tells clothes'
colours (0.95 of tops, 0.86 of what is worn below), hair length (0.91) and background (0.99); it
does not tell hair colours (0.4 to 0.6 of seven) nor pose words (arms 0.4 of eight, `standing` from
`walking` 0.57), so that there only the first three are asked. ViT-L/14 is asked all of them, and
was not measured here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from metrics.contract import TRAITS_NOT_ASKED, Judge, Prompt, Sample, Score
from metrics.evidence import Evidence
from metrics.framing import seen_class

NAME = "prompt_fit"

COLOURS = ("black", "white", "red", "blue", "green", "yellow", "orange", "purple")
"""What a named colour is held against. More words that mean nearly the same would only confuse."""

_ALSO = ("grey", "gray", "pink", "brown", "beige")
_UPPER: tuple[str, ...] = (
    *("shirt", "t-shirt", "blouse", "sweater", "hoodie", "jacket", "coat", "cardigan", "vest"),
    *("tank top", "crop top", "dress", "gown", "robe", "kimono", "suit", "uniform"),
)
_LOWER = ("trousers", "pants", "jeans", "shorts", "skirt", "leggings")
_HAIR = tuple(f"{word} hair" for word in ("black", "brown", "blonde", "red", "grey", "white"))
_ARMS: tuple[str, ...] = (
    *("arms at sides", "arms spread", "arms up", "hands on hips", "waving", "one arm up"),
    *("arm bent", "t-pose", "crossed arms", "arms behind back", "hands in pockets"),
)
_LEGS = ("standing", "walking", "running", "sitting", "kneeling", "lying")

_CHOICES: dict[str, tuple[str, ...]] = {
    "hair length": ("long hair", "short hair"),
    "hair colour": _HAIR,
    "background": ("plain background", "cluttered background"),
    "arms": _ARMS,
    "legs": _LEGS,
}
_CLOTHES = "clothes colour"
TRAITS = (_CLOTHES, *_CHOICES)
"""Everything that can be asked about; JudgeSettings.tells names some of it."""

_COLOURED = re.compile(rf"\b({'|'.join(COLOURS + _ALSO)}) ({'|'.join(_UPPER + _LOWER)})\b")
_LEGS_SHOWN = ("full", "knee-up")


@dataclass(frozen=True)
class Question:
    """One trait of a prompt: the phrase that it names, among those that it might have named.

    `legs` says that only a picture with legs in the frame can answer.
    """

    trait: str
    phrase: str
    phrases: tuple[str, ...]
    legs: bool = False


def questions(prompt: Prompt, tells: tuple[str, ...] | None = None) -> tuple[Question, ...]:
    """What a prompt names, of the traits in `tells` (None: of all)."""
    found = _all_questions(prompt.text.casefold().replace("_", " "))
    return tuple(one for one in found if tells is None or one.trait in tells)


def score(sample: Sample, evidence: Evidence) -> Score:
    """Share of the prompt's traits for which its own phrase is the likeliest.

    Abstains where the prompt names none that is asked about, where no figure is found, where no
    model is set, and where the frame shows none of what is asked about. The evidence is the
    probability of each phrase.
    """
    asked = questions(sample.prompt, evidence.settings.tells)
    if not asked:
        return Score(NAME, None, TRAITS_NOT_ASKED)
    if evidence.person is None:
        return Score(NAME, None, "no figure found")
    shows_legs = seen_class(evidence) in _LEGS_SHOWN
    shown = [one for one in asked if shows_legs or not one.legs]
    if not shown:
        return Score(NAME, None, "the frame shows nothing of what is asked about")
    right, seen = 0, {}
    for one in shown:
        found = evidence.sentence_probabilities(
            {phrase: _sentences(sample.prompt, phrase) for phrase in one.phrases}
        )
        if found is None:
            return Score(NAME, None, "no open_clip model set")
        right += max(found, key=lambda phrase: found[phrase]) == one.phrase
        seen[one.phrase] = float(found[one.phrase])
    return Score(NAME, right / len(shown), None, seen)


def _all_questions(text: str) -> Iterator[Question]:
    for colour, garment in _COLOURED.findall(text):
        colours = dict.fromkeys((colour, *COLOURS))
        phrases = tuple(f"{word} {garment}" for word in colours)
        yield Question(_CLOTHES, phrases[0], phrases, legs=garment in _LOWER)
    for trait, phrases in _CHOICES.items():
        named = [one for one in phrases if re.search(rf"(?<!\w){re.escape(one)}(?!\w)", text)]
        if len(named) == 1:  # two of them leave open which is meant
            yield Question(trait, named[0], phrases, legs=trait == "legs")


def _sentences(prompt: Prompt, phrase: str) -> tuple[str, ...]:
    """The phrase with the prompt's subject, as a tagger would write it and in plain English."""
    tag, noun = {"female": ("1girl", "woman"), "male": ("1boy", "man")}.get(
        prompt.sex or "", ("solo", "person")
    )
    return f"{tag}, {phrase}", f"a photo of a {noun}, {phrase}"


JUDGE = Judge(NAME, "prompt_fit", score, models=("gender_model",))
