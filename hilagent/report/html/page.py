# SPDX-License-Identifier: Apache-2.0
"""Fills a template in: everything is escaped, and what came from a board scrubbed before.

A content-security policy allows the page's own style and script by their hashes, and
nothing from anywhere else.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hilagent.text import scrub, scrub_line

if TYPE_CHECKING:
    import jinja2

_HERE = Path(__file__).parent
_MOST = 20_000
"""Characters of one text; results.json has all."""


def page(template: str, **values: Any) -> str:
    """Return a page; raises jinja2.UndefinedError where its template wants more values."""
    style, script = _text("style.css"), _text("script.js")
    policy = "; ".join((
        "default-src 'none'", "img-src data:", f"style-src '{_hash(style)}'",
        f"script-src '{_hash(script)}'", "base-uri 'none'", "form-action 'none'",
    ))  # fmt: skip
    made = _templates().get_template(template)
    return made.render(style=style, script=script, policy=policy, **values)


@cache
def _templates() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_scrubbed,
    )
    environment.filters["line"] = _line
    return environment


def _scrubbed(value: object) -> object:
    """Return what is put on the page, scrubbed; the page's own style and script are no text."""
    return scrub(value, limit=_MOST) if type(value) is str else value


def _line(value: object) -> str:
    return scrub_line(str(value), limit=400)


def _text(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
