"""Tags that rate a picture instead of describing it, as bases with booru captions know them.

Illustrious, NoobAI, Animagine and Pony were trained with such tags beside those of the content:
quality, score, year, resolution, source, rating. `old` and `late` are not among them, because they
are said of people and things too.
"""

from __future__ import annotations

import re

from tuner.data.tags import plain_tag

_QUALITY = re.compile(
    r"masterpiece|(?:best|amazing|great|high|good|normal|average|medium|low|bad|worst) quality"
    r"|(?:very |not )?(?:aesthetic|displeasing)|worst aesthetic|very awa"
    r"|(?:incredibly )?absurdres|highres|lowres"
    r"|newest|recent|mid|early|oldest|year \d{4}"
    r"|score \d(?: up)?|source (?:anime|cartoon|furry|pony)"
    r"|(?:rating ?:? ?)?(?:general|sensitive|safe|questionable|explicit)|n?sfw"
)


def is_quality(tag: str) -> bool:
    """Return True for a tag of quality, score, year, resolution, source or rating."""
    return _QUALITY.fullmatch(plain_tag(tag)) is not None
