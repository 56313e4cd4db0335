"""The page of `tuner label`: one picture at a time, and a key for each label.

Style and script are inside the page; it loads nothing but pictures and labels from its own server.
"""

from __future__ import annotations

import base64
import hashlib

import jinja2
from markupsafe import Markup


def _source(text: str) -> str:
    """Return the name of an inline text in a content security policy."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("tuner.judging"), autoescape=True, undefined=jinja2.StrictUndefined
)
_STYLE = _TEMPLATES.get_template("label.css").render()
_SCRIPT = _TEMPLATES.get_template("label.js").render()

PAGE = _TEMPLATES.get_template("label.html").render(style=Markup(_STYLE), script=Markup(_SCRIPT))

POLICY = (
    f"default-src 'none'; script-src {_source(_SCRIPT)}; style-src {_source(_STYLE)}; "
    "img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""Nothing but the page's own script and style runs, and nothing is fetched from elsewhere."""
