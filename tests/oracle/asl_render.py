"""Prints the deployed state machine as JSON, with its functions' ARNs filled in, for linters that read only JSON.

With an argument `STATE=TARGET` that state's Next is replaced: a broken machine that a linter has to refuse.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from simulator.aws.asl_source import read_definition

SCALING_LOOP_FILE = Path(__file__).parents[2] / "statemachine" / "scaling_loop.asl.yaml"


def main(arguments: list[str]) -> None:
    names = sorted(set(re.findall(r"\$\{(\w+)\}", SCALING_LOOP_FILE.read_text(encoding="utf-8"))))
    arn = "arn:aws:lambda:us-east-1:111122223333:function:"
    definition = read_definition(SCALING_LOOP_FILE, {name: arn + name.removesuffix("FunctionArn") for name in names})
    for argument in arguments:
        state, target = argument.split("=")
        definition["States"][state]["Next"] = target
    print(json.dumps(definition, indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
