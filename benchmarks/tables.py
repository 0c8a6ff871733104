"""Write the tables of docs/benchmark.md from the summaries in benchmarks/results.

python benchmarks/tables.py                                     only render
python benchmarks/tables.py --result out/bench.json             take in a result as the main one first
python benchmarks/tables.py --result out/p30.json --name provisioning-30
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from simulator.report.bench_tables import MAIN, SENSITIVITIES, USUAL, summary_of, write_tables

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
DOCUMENT = HERE.parent / "docs" / "benchmark.md"


def main(words: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 unusable input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--result", type=Path, help="what `quickstep bench --json` wrote")
    parser.add_argument(
        "--name", default=MAIN, help=f"{MAIN}, {USUAL}, or KIND-VALUE with KIND {', '.join(SENSITIVITIES)}"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the summaries")
    parser.add_argument("--document", type=Path, default=DOCUMENT)
    given = parser.parse_args(words)
    kind, _, value = given.name.partition("-")
    if given.name not in (MAIN, USUAL) and (kind not in SENSITIVITIES or not value):
        parser.error(f"--name is {given.name!r}; give {MAIN}, {USUAL}, or such as provisioning-30")
    try:
        if given.result is not None:
            summary = summary_of(json.loads(given.result.read_text(encoding="utf-8")))
            given.results.mkdir(parents=True, exist_ok=True)
            text = json.dumps(summary, indent=1, sort_keys=True) + "\n"
            (given.results / f"{given.name}.json").write_text(text, encoding="utf-8")
        files = sorted(given.results.glob("*.json"))
        summaries = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in files}
        write_tables(given.document, summaries)
    except (OSError, ValueError, KeyError) as error:
        what = f"{given.result} is not a result of `quickstep bench --json`: no {error}"
        print(f"tables: {what if isinstance(error, KeyError) else error}", file=sys.stderr)
        return 2
    print(f"{given.document}: {', '.join(summaries) or 'no results'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
