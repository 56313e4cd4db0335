"""The refusal list: words for children and ages under 18, in the languages that taggers use.

The people in the data are adults. The booru count tags (`1girl`, `2boys`) and the words girl and
boy alone mean adults there and pass; everything below is refused. A false alarm costs one picture,
a miss costs more: doubtful words are refused too, except in the phrases of `_HARMLESS`, which are
about clothes, colours, hair and the like.
"""

# ruff: noqa: RUF001  letters of other alphabets that look like Latin ones are intended
from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_HARMLESS = (
    r"baby (?:blue|pink|doll|dolls|bangs|hairs?|tees?|oil|powder|grand|bump)",
    r"baby's breath",
    r"kid (?:gloves?|leather|skin)",
    r"child(?:'?s)? pose",
    r"(?:gothic|sweet|classic|wa|qi|casual|punk) lolita",
    r"lolita (?:fashion|dress|hairband|style|clothes|skirt|shoes|boots)",
    r"(?:ice|new|golden|space|stone|bronze|iron|middle) ages?",
)

_WORDS = {
    "tags": r"loli(?:s|con|cons)?|lolitas?|shota(?:s|con|cons)?|mesugaki|toddlercon|cunny"
    r"|jailbait|aged down|age regression|josh?i ?kou?sei|youjo|youji",
    "en": r"child|children|childlike|child like|kids?|kiddos?|kiddies?|bab(?:y|ies)|infants?"
    r"|newborns?|toddlers?|tykes?|preschool(?:ers?)?|kindergart[en]+(?:ers?)?|youngsters?"
    r"|tweens?|preteens?|teens?|teenaged?|teenagers?|adolescents?|juveniles?|(?:pre)?pubescent"
    r"|underaged?|under age|under (?:18|eighteen)|minors|school ?(?:girl|boy|child|kid)s?"
    r"|school ?children|elementary school(?:ers?)?|primary school(?:ers?)?|grade schoolers?"
    r"|middle school(?:ers?)?|junior high(?: school(?:ers?)?)?|high schoolers?"
    r"|high school (?:student|girl|boy|kid)s?|(?:little|young|younger|small|tiny) (?:girl|boy)s?"
    r"|(?:girl|boy|cub) scouts?",
    "de": r"kinder[ns]?|kindes|kleinkind(?:er)?|schulkind(?:er)?|s(?:ä|ae|a)ugling(?:e|s)?"
    r"|teenagerin|jugendliche[rnms]?|minderj(?:ä|ae|a)hrige?[rnms]?|schulm(?:ä|ae|a)dchen"
    r"|grundsch(?:ü|ue|u)ler(?:in|innen)?|kleine[ns]? m(?:ä|ae|a)dchen|kleine[rn]? jungen?"
    r"|(?:ein|das|dem|jedes|kleines|junges|dieses|mein|ihr|sein) kind",
    "fr": r"enfants?|b(?:é|e)b(?:é|e)s?|fillettes?|gar(?:ç|c)onnets?|gamine?s?|mineure?s?"
    r"|nourrissons?|bambins?|(?:é|e)coli(?:er|ère|ere)s?|coll(?:é|e)gien(?:ne)?s?"
    r"|lyc(?:é|e)en(?:ne)?s?|adolescente?s?|petite?s? (?:filles?|gar(?:ç|c)ons?)",
    "es_pt": r"niñ[oa]s?|ninas|beb(?:é|ê)s?|infantes?|menor(?:es)? de (?:edad|idade)"
    r"|chiquill[oa]s?|colegial(?:a|as|es)?|crian(?:ç|c)as?",
    "it": r"bambin[oaie]|neonat[oaie]|ragazzin[oaie]|minorenn[ei]|adolescenti|fanciull[oaie]"
    r"|bimb[ai]|scolarett[aei]",
    "ru": r"реб(?:е|ё)н(?:ок|ка|ку|ком|ке)|дет(?:и|ей|ям|ьми|ях)|детка|детск\w*|младен\w*|малыш\w*"
    r"|девоч\w*|мальчи\w*|подрост\w*|несовершеннолетн\w*|школьни\w*|лоли(?:та)?|лоликон|шота(?:кон)?",
}

# Scripts without spaces between words: matched anywhere. 女孩子 and 男孩子 only mean girl and boy.
_ANYWHERE = (
    r"幼女|ロリ|ショタ|子供|子ども|こども|赤ちゃん|赤ん坊|児童|幼児|園児|少女|少年|[小中高]学生|高校生"
    r"|女子高生|女子中学生|未成年|儿童|兒童|小孩|(?<![女男])孩子|婴儿|嬰兒|幼童|萝莉|蘿莉|正太|[初高]中生"
    r"|小[學学]生|中學生|小女孩|小男孩|어린이|아동|유아|아기|꼬마|미성년|초등학생|중학생|고등학생|여고생"
    r"|여중생|로리|쇼타|소녀|소년|(?<![가-힣])아이(?:들|가|는|를|의|와)?(?![가-힣])"
)

# `minor` and German `kind` are also harmless words: refused only as a whole tag.
_TAG = r"(?:(?<=^)|(?<=[,;\n(\[{]))\s*(?:a |the )?(?:minor|kind)(?=\s*(?:[,;.\n:)\]}]|$))"
_A_MINOR = r"(?<![a-z])(?:a|the|is) minor(?=\s*(?:[,;.\n]|$))"

_UNDER_18 = r"(?<![\d.,])(?:1[0-7]|\d)(?![.,]?\d)"
_SPELLED = (
    r"(?<![a-z])(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thirteen"
    r"|fourteen|fifteen|sixteen|seventeen)"
)
_YEARS_OLD = r"(?:\s*(?:years?|yrs?)\s*(?:old|of age)|\s*y\s?[/.]?\s?o)(?![a-z])"
_AGES = (
    rf"{_UNDER_18}{_YEARS_OLD}",
    rf"{_SPELLED}{_YEARS_OLD}",
    rf"(?<![a-z])age[ds]?\s*[:=]?\s*(?:of\s+)?(?:{_UNDER_18}|{_SPELLED}(?![a-z]))",
    r"(?<![a-z])(?:days?|weeks?|months?) old(?![a-z])",
    rf"{_UNDER_18}\s*(?:jahre?n? alt|j(?:ä|ae|a)hrige?[rnms]?|ans|años|anos|anni)(?![a-zà-ÿ])",
    rf"{_UNDER_18}\s*(?:лет\w*|год(?:а|ик\w*)?)(?![а-я])(?! назад)",
    rf"{_UNDER_18}\s*(?:歳|才|さい|岁|歲|살|세(?![기대]))",
)


def _whole_words(alternatives: Iterable[str]) -> str:
    """Return a pattern bounded by letters only: digits (`2kids`) and signs hide no word."""
    letter = r"[a-zà-ÿœа-яё]"
    return rf"(?<!{letter})(?:{'|'.join(alternatives)})(?!{letter})"


_EXEMPT = re.compile(_whole_words(_HARMLESS))
_LINE_ENDS = re.compile(r"[\r\v\f\x85\u2028\u2029、､]")
"""Other ends of a tag than comma, semicolon and line feed."""

_FORBIDDEN = re.compile(
    "|".join((_whole_words(_WORDS.values()), _ANYWHERE, _TAG, _A_MINOR, *_AGES))
)


def forbidden_words(text: str) -> tuple[str, ...]:
    """Return the words of `text` that name a child or an age under 18, each once, in lower case.

    Case, width, underscores, hyphens and repeated spaces make no difference. An empty result means
    that nothing matched, not that the text is harmless.
    """
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    plain = _LINE_ENDS.sub("\n", plain)
    plain = re.sub(r"[_\-‐-―]+", " ", plain)
    # Long runs of white space would cost the square of their length.
    plain = re.sub(r"\s+", lambda run: "\n" if "\n" in run[0] else " ", plain)
    plain = _EXEMPT.sub(" ", plain)
    words = (match.group().strip() for match in _FORBIDDEN.finditer(plain))
    return tuple(dict.fromkeys(words))
