"""Render the event files for an account: `make events`. The rendered files go to sam remote invoke."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

from quickstep.model.targets import TargetId
from simulator.cli.failures import UsageProblem, project_root, write_text
from simulator.event_files import EventFileError, event_values, render_event


def main() -> int:
    """Write every events/*.json with its placeholders filled in; exit code 2 for unusable input."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("out", "stack", "region", "account", "endpoint"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--component", default="")
    parser.add_argument("--variant", default="AllTraffic")
    given = parser.parse_args()
    if not given.endpoint:
        print("make events: say which endpoint, e.g. make events ENDPOINT=llm COMPONENT=chat", file=sys.stderr)
        return 2
    target = (
        TargetId.of_component(given.component)
        if given.component
        else TargetId.of_variant(given.endpoint, given.variant)
    )
    values = event_values(
        account=given.account,
        region=given.region,
        stack=given.stack,
        endpoint=given.endpoint,
        component=given.component,
        resource_id=target.resource_id,
        now_s=time.time(),
    )
    try:
        for path in sorted((project_root() / "events").glob("*.json")):
            out = Path(given.out) / path.name
            write_text(out, json.dumps(render_event(path, values), indent=2) + "\n")
            print(out)
    except (EventFileError, UsageProblem) as problem:
        print(f"make events: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
