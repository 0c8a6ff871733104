"""Putting assets and data into one HTML file, so that nothing in the data can be taken for markup or code."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

ASSETS = Path(__file__).parent / "assets"


def fill_page(
    template: str, *, styles: Sequence[str], scripts: Sequence[str], data: str, values: Mapping[str, str]
) -> str:
    """The template of that name with its `{{name}}` places filled: the given HTML `values`, the styles, scripts and `data`.

    The page's content security policy allows exactly these styles and scripts, by hash, and no request of any kind. Each
    place is filled once: a value that itself contains `{{name}}` stays as it is. Raises KeyError for a place without value.
    """
    style = "\n".join(_asset(name) for name in styles)
    script = '"use strict";\n' + "\n".join(_asset(name) for name in scripts)
    policy = (
        f"default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; "
        f"style-src {_hash(style)}; script-src {_hash(script)}"
    )
    filled = {**values, "policy": policy, "style": style, "script": script, "data": data}
    return re.sub(r"\{\{(\w+)\}\}", lambda place: filled[place.group(1)], _asset(template))


def json_for_script(value: object) -> str:
    """JSON that is safe inside `<script type="application/json">`: no "<", ">", "&" and no line separators, keys sorted.

    Raises ValueError for NaN and infinity, which are not JSON.
    """
    dumped = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return dumped.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def keep_units_together(html: str) -> str:
    """No line break between a number and its unit, nor inside "copy-hours"."""
    html = re.sub(r"(?<=\d) (?=(?:%|×|s|ms|min|h|d|copy-hours|instance-hours)(?!\w))", "\u00a0", html)
    return html.replace("-hours", "\u2011hours")


@cache
def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8").strip()


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
