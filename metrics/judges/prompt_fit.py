"""Does the picture show the traits that the prompt names: colours, hair, background, pose words?

Each trait in the prompt is tested by itself, as in GenEval (Ghosh et al. 2023): its phrase against
the same phrase with another word, by the open_clip model on the figure's crop.

A model is tested only on traits that it recognises. On 150 sound renders the mannequin's own
recognises clothes' colours (0.95 of tops, 0.86 of what is worn below), hair length (0.91) and
background (0.99); it does not recognise hair colours (0.4 to 0.6 of seven) nor pose words (arms 0.4
of eight, `standing` from `walking` 0.57), so that there only the first three are tested. ViT-L/14
is tested on all of them, and was not measured here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from metrics.contract import NO_TRAITS, Prompt, Sample, Score
from metrics.evidence import Evidence, Judge

NAME = "prompt_fit"

COLOURS = ("black", "white", "red", "blue", "green", "yellow", "orange", "purple")
"""The colours that a named one is compared with. More words of nearly the same meaning would
only confuse."""

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
"""Every trait that can be tested; JudgeSettings.traits names some of them."""

_COLOURED = re.compile(rf"\b({'|'.join(COLOURS + _ALSO)}) ({'|'.join(_UPPER + _LOWER)})\b")
_LEGS_SHOWN = ("full", "knee-up")


@dataclass(frozen=True)
class Question:
    """One trait of a prompt: its phrase in the prompt, among the phrases that could replace it.

    `legs` is true where only a picture with legs in the frame can answer.
    """

    trait: str
    phrase: str
    phrases: tuple[str, ...]
    legs: bool = False


def questions(prompt: Prompt, traits: tuple[str, ...] | None = None) -> tuple[Question, ...]:
    """Return a question for each trait that the prompt names, of `traits` (None: of all)."""
    every = _all_questions(prompt.text.casefold().replace("_", " "))
    return tuple(question for question in every if traits is None or question.trait in traits)


def score(sample: Sample, evidence: Evidence) -> Score:
    """Return the share of the prompt's traits for which its own phrase is the likeliest.

    Abstains where the prompt names no trait to test, where no figure is found, where no model is
    set, and where the frame shows none of the traits. The evidence is the probability of each
    phrase.
    """
    named = questions(sample.prompt, evidence.settings.traits)
    if not named:
        return Score(NAME, None, NO_TRAITS)
    if evidence.person is None:
        return Score(NAME, None, "no figure found")
    shows_legs = evidence.framing in _LEGS_SHOWN
    shown = [question for question in named if shows_legs or not question.legs]
    if not shown:
        return Score(NAME, None, "the frame shows nothing of what is asked about")
    right, measured = 0, {}
    for question in shown:
        likely = evidence.sentence_probabilities(
            {phrase: _sentences(sample.prompt, phrase) for phrase in question.phrases}
        )
        if likely is None:
            return Score(NAME, None, "no open_clip model set")
        right += max(likely, key=lambda phrase: likely[phrase]) == question.phrase
        measured[question.phrase] = float(likely[question.phrase])
    return Score(NAME, right / len(shown), None, measured)


def _all_questions(text: str) -> Iterator[Question]:
    for colour, garment in _COLOURED.findall(text):
        colours = dict.fromkeys((colour, *COLOURS))
        phrases = tuple(f"{word} {garment}" for word in colours)
        yield Question(_CLOTHES, phrases[0], phrases, legs=garment in _LOWER)
    for trait, phrases in _CHOICES.items():
        named = [phrase for phrase in phrases if _has_words(text, phrase)]
        if len(named) == 1:  # two of them leave the meaning open
            yield Question(trait, named[0], phrases, legs=trait == "legs")


def _has_words(text: str, phrase: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", text) is not None


def _sentences(prompt: Prompt, phrase: str) -> tuple[str, ...]:
    """Return the phrase with the prompt's subject, as booru tags and in plain English."""
    tag, noun = {"female": ("1girl", "woman"), "male": ("1boy", "man")}.get(
        prompt.sex or "", ("solo", "person")
    )
    return f"{tag}, {phrase}", f"a photo of a {noun}, {phrase}"


JUDGE = Judge(NAME, score, models=("gender_model",))
