"""Event files: complete events with placeholders, so that the same file works locally and in any account.

Placeholders are `${AccountId}`, `${Region}`, `${StackName}`, `${EndpointName}`, `${InferenceComponentName}`,
`${ResourceId}`, `${Time}` (2026-01-01T00:00:00Z) and `${TimeCompact}` (2026-01-01T00:00:00.000+0000).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z]+)\}")


class EventFileError(ValueError):
    """The event file cannot be used; the message says which, where, and what is expected."""


def event_values(
    *, account: str, region: str, stack: str, endpoint: str, component: str, resource_id: str, now_s: float
) -> dict[str, str]:
    """The values of all placeholders for one stack at one time."""
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


def render_event(path: Path | str, values: dict[str, str]) -> Any:
    """The event in the file with its placeholders filled in.

    Raises EventFileError for a missing file, an unknown placeholder and text that is not JSON.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise EventFileError(f"there is no event file {path}; the events directory holds examples") from None
    except (OSError, UnicodeDecodeError) as error:
        raise EventFileError(f"cannot read event file {path}: {error}") from error
    unknown = sorted(set(_PLACEHOLDER.findall(text)) - values.keys())
    if unknown:
        known = ", ".join("${" + name + "}" for name in sorted(values))
        raise EventFileError(f"{path}: unknown placeholder {unknown[0]}; known are {known}")
    filled = _PLACEHOLDER.sub(lambda m: json.dumps(values[m.group(1)])[1:-1], text)
    try:
        return json.loads(filled)
    except json.JSONDecodeError as error:
        raise EventFileError(f"{path} is not JSON: line {error.lineno}, column {error.colno}: {error.msg}") from None
