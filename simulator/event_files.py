"""Event files: complete events with placeholders, so that the same file works here and in any account.

Placeholders are `${AccountId}`, `${Region}`, `${StackName}`, `${EndpointName}`, `${InferenceComponentName}`,
`${ResourceId}`, `${Time}` (2026-01-01T00:00:00Z) and `${TimeCompact}` (2026-01-01T00:00:00.000+0000).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PLACEHOLDER = re.compile(r"\$\{([^{}]*)\}")


class EventFileError(ValueError):
    """The event file cannot be used; the message says which, where, and what is expected."""


def event_values(
    *, account: str, region: str, stack: str, endpoint: str, component: str, resource_id: str, now_s: float
) -> dict[str, str]:
    """The values of all placeholders for one stack at one time; `component` is empty where a variant is scaled."""
    now = datetime.fromtimestamp(now_s, UTC)
    return {
        "AccountId": account,
        "Region": region,
        "StackName": stack,
        "EndpointName": endpoint,
        "InferenceComponentName": component,
        "ResourceId": resource_id,
        "Time": f"{now:%Y-%m-%dT%H:%M:%SZ}",
        "TimeCompact": f"{now:%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}+0000",
    }


def render_event(path_or_text: Path | str, values: Mapping[str, str]) -> dict[str, Any]:
    """The event of a file (a `Path`) or of a text (a `str`), with its placeholders filled in.

    Raises EventFileError for a file that is missing or unreadable, a placeholder that `values` does not have, and text
    that is no JSON object once they are filled in.
    """
    name = str(path_or_text) if isinstance(path_or_text, Path) else "the event"
    text = _read(path_or_text) if isinstance(path_or_text, Path) else path_or_text
    unknown = sorted(set(_PLACEHOLDER.findall(text)) - values.keys())
    if unknown:
        known = ", ".join("${" + one + "}" for one in sorted(values))
        raise EventFileError(f"{name}: unknown placeholder ${{{unknown[0]}}}; known are {known}")
    filled = _PLACEHOLDER.sub(lambda match: json.dumps(values[match.group(1)])[1:-1], text)
    try:
        event = json.loads(filled)
    except json.JSONDecodeError as error:
        raise EventFileError(f"{name} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
    if not isinstance(event, dict):
        raise EventFileError(f"{name} holds a JSON {type(event).__name__}; expected an object")
    return event


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EventFileError(f"there is no event file {path}; the events directory holds examples") from None
    except (OSError, UnicodeDecodeError) as error:
        raise EventFileError(f"cannot read event file {path}: {error}") from error
