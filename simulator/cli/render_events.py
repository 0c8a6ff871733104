"""Fill in the event files for one account, region and stack: `make events`. The results go to `sam remote invoke`."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path

from quickstep.model.targets import TargetId
from simulator.cli.failures import UsageProblem, project_root, write_text
from simulator.event_files import EventFileError, event_values, render_event

EXAMPLE = {"region": "eu-west-1", "account": "111122223333", "endpoint": "my-endpoint"}
EXAMPLE_COMPONENT = "my-component"


def main(arguments: list[str] | None = None) -> int:
    """Write every events/*.json with its placeholders filled in; return 2 for unusable input.

    What is left out is made up, and said: such events can be looked at, but a deployed stack refuses them.
    """
    given = _arguments(arguments)
    made_up = sorted(name for name in EXAMPLE if not getattr(given, name))
    values = {name: getattr(given, name) or EXAMPLE[name] for name in EXAMPLE}
    component = given.component or ("" if given.endpoint or given.variant else EXAMPLE_COMPONENT)
    target = (
        TargetId.of_component(component)
        if component
        else TargetId.of_variant(values["endpoint"], given.variant or "AllTraffic")
    )
    try:
        _check(values)
        filled_in = event_values(
            **values, stack=given.stack, component=component, resource_id=target.resource_id, now_s=time.time()
        )
        for path in sorted((project_root() / "events").glob("*.json")):
            out = Path(given.out) / path.name
            write_text(out, json.dumps(render_event(path, filled_in), indent=2) + "\n")
            print(out)
    except (EventFileError, UsageProblem) as problem:
        print(f"make events: {problem}", file=sys.stderr)
        return 2
    if made_up:
        named = ", ".join(f"{name.upper()}={values[name]}" for name in made_up)
        print(f"made up: {named}; give your own before sending these to a deployed stack", file=sys.stderr)
    return 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make events", description=__doc__)
    parser.add_argument("--out", required=True)
    parser.add_argument("--stack", default="quickstep")
    for name in ("region", "account", "endpoint", "component", "variant"):
        parser.add_argument(f"--{name}", default="")
    return parser.parse_args(arguments)


def _check(values: dict[str, str]) -> None:
    if not re.fullmatch(r"[0-9]{12}", values["account"]):
        raise UsageProblem(f"ACCOUNT is {values['account']!r}; expected the twelve digits of an account id")
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-[0-9]", values["region"]):
        raise UsageProblem(f"REGION is {values['region']!r}; expected one like eu-west-1")


if __name__ == "__main__":
    raise SystemExit(main())
