"""Write the cost of the control plane into docs/install.md: a quiet and a busy day in the emulated account, at list prices.

python benchmarks/control_plane_cost.py            count again (minutes), keep the counts, write the document
python benchmarks/control_plane_cost.py --render   only write the document from the kept counts
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from simulator.report.control_plane_cost import count, dollars, tables
from simulator.run import staged
from simulator.scenario import Scenario
from simulator.traffic.load import load_traffic

ROOT = Path(__file__).resolve().parent.parent
COUNTS = ROOT / "benchmarks" / "results" / "control_plane_cost.json"
DOCUMENT = ROOT / "docs" / "install.md"
BEGIN, END = "<!-- cost:begin -->", "<!-- cost:end -->"
DAY_S = 86400.0
DAYS = {
    "quiet day: one request in flight all day, nothing to scale": "1x8640",
    "busy day: twelve times out from 1 to 4 copies and back": " ".join(["1x360 7x360"] * 12),
}


def main(words: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 unusable input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--render", action="store_true", help="write the document from the counts that are kept")
    parser.add_argument("--counts", type=Path, default=COUNTS)
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    parser.add_argument(
        "--json", nargs="?", const="-", metavar="OUT", help="counts and dollars, to a file or standard output"
    )
    given = parser.parse_args(words)
    try:
        if not given.render:
            counted = {name: a_day_of(pattern) for name, pattern in DAYS.items()}
            given.counts.parent.mkdir(parents=True, exist_ok=True)
            given.counts.write_text(json.dumps(counted, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        kept = json.loads(given.counts.read_text(encoding="utf-8"))
        document = given.document.read_text(encoding="utf-8")
        days = {name: kept[name] for name in DAYS}
        given.document.write_text(with_cost(document, days), encoding="utf-8")
        if given.json is not None:
            found = {name: {"units_per_day": parts, "usd_per_month": dollars(parts)} for name, parts in days.items()}
            text = json.dumps(found, indent=1, sort_keys=True)
            if given.json == "-":
                print(text)
                return 0
            Path(given.json).write_text(text + "\n", encoding="utf-8")
    except KeyError as error:
        print(f"cost: {given.counts} has no {error}; run it without --render to count again", file=sys.stderr)
        return 2
    except FileNotFoundError as error:
        print(
            f"cost: there is no {error.filename}; without --render the counts are made, the document must exist",
            file=sys.stderr,
        )
        return 2
    except (OSError, ValueError) as error:
        print(f"cost: {error}", file=sys.stderr)
        return 2
    print(f"cost: {given.document}")
    return 0


def a_day_of(pattern: str, duration_s: float = DAY_S) -> dict[str, dict[str, float]]:
    """What `pattern` makes a stack with one component use in `duration_s`, with instances that Quickstep moves."""
    scenario = Scenario(name="cost", component={"target_per_copy": 2, "max_copies": 10})
    traffic = load_traffic(pattern, profile=scenario.profile)
    with staged(traffic, scenario, template=ROOT / "template.yaml") as stage:
        stage.run_until(duration_s)
        return count(stage.account)


def with_cost(document: str, days: dict[str, dict[str, dict[str, float]]]) -> str:
    """`document` with the tables of `days` between its two markers. ValueError if they are not there, in this order."""
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document lacks the lines {BEGIN} and {END}, in this order")
    return f"{before}{BEGIN}\n{tables(days)}\n{END}{after}"


if __name__ == "__main__":
    sys.exit(main())
