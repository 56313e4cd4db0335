"""Read from the words of a prompt whether it names a woman or a man, a framing, clothes.

This is for prompts of other tools; the prompts of a suite have these fields. Prompts are tags or
sentences in English; a field stays empty if the words are ambiguous.
"""

from __future__ import annotations

import re

from metrics.contract import Framing, Prompt, Sex

_FEMALE = r"1 ?girl|girl|woman|female|lady"
_MALE = r"1 ?boy|boy|man(?!-made)|male|gentleman"
_SEVERAL = (
    r"[2-9]\+? ?(?:girl|boy|woman|man|person|people|other)s?|girls(?!')|boys(?!')|women(?!')"
    r"|men(?!')|females|males|ladies|gentlemen|couple|crowd|people|persons|no humans"
    r"|(?:two|three|four|five|six|several|many|multiple|group of) (?:girl|boy|wom[ae]n|m[ae]n)s?"
)
_FULL = r"full[- ]body|full[- ]length"
_HALF = r"upper[- ]body|half[- ]body|half[- ]length"

CLOTHES = (
    "apron|armou?r|bathrobe|bikini|blazer|blouse|bodysuit|bra|camisole|cardigan|chemise"
    "|cheongsam|cloak|clothed|clothes|clothing|coat|corset|costume|crop top|cuirass|dress|dressed"
    "|gown|hakama|halter top|hanbok|hoodie|jacket|jeans|jersey|joggers|jumper|jumpsuit|kilt"
    "|kimono|leggings|leotard|lingerie|miniskirt|negligee|nightgown|outfit|overalls|overcoat|panties|pants"
    "|parka|plugsuit|polo shirt|poncho|pullover|pyjamas|pajamas|qipao|raincoat|robe|romper|saree"
    "|sari|serafuku|shirt|shorts|singlet|skirt|slacks|spacesuit|suit|sundress|sweater|sweatpants"
    "|sweatshirt|swimsuit|swimwear|t-shirt|tabard|tank top|toga|tracksuit|trench coat|trousers"
    "|trunks|tube top|tunic|turtleneck|tuxedo|underpants|undershirt|underwear|uniform|vest"
    "|waistcoat|wetsuit|windbreaker|yukata"
)
"""Clothes that cover the torso or the hips, singular; hats, shoes and jewellery dress nobody."""

UNDRESS = "bare[- ]chested|naked|nude|nudity|shirtless|topless|unclothed|undressed"
"""Words for no clothes. They too decide what the figure wears, so the model's habit is untested."""

_NETWORKS = re.compile(r"<[^<>]*>")
"""`<lora:NAME:0.8>`: the name of a file, not a word of the prompt."""


def _words(alternatives: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)")


_SEXES: dict[Sex, re.Pattern[str]] = {"female": _words(_FEMALE), "male": _words(_MALE)}
_SEVERAL_PERSONS = _words(_SEVERAL)
_FRAMINGS: dict[Framing, re.Pattern[str]] = {"full": _words(_FULL), "half": _words(_HALF)}
_ABOUT_CLOTHES = _words(f"(?:{CLOTHES})(?:s|es)?|{UNDRESS}")


def read_prompt(text: str) -> Prompt:
    """Return the prompt with the sex, framing and clothes that its words name.

    `sex` is None if they name both sexes, several persons or neither; `framing` if they name both
    or neither. Case, underscores and attention weights (`(1girl:1.2)`) make no difference.
    """
    plain = _NETWORKS.sub(" ", text).casefold().replace("_", " ")
    sexes = [sex for sex, words in _SEXES.items() if words.search(plain)]
    framings = [framing for framing, words in _FRAMINGS.items() if words.search(plain)]
    one_person = len(sexes) == 1 and not _SEVERAL_PERSONS.search(plain)
    return Prompt(
        text,
        sex=sexes[0] if one_person else None,
        framing=framings[0] if len(framings) == 1 else None,
        names_clothes=bool(_ABOUT_CLOTHES.search(plain)),
    )
