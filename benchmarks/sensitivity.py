"""Run the benchmark with one constant changed at a time, and keep a summary of each in benchmarks/results.

    python benchmarks/sensitivity.py --traces DIR --slices P2,P3,P5 --policies quickstep,aas-tt-10s,k8s-hpa

Finished runs are kept in out/bench; the same command goes on where it stopped. --only KIND runs one kind.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulator.report.bench_tables import SENSITIVITIES, USUAL, summary_of

RESULTS = Path(__file__).resolve().parent / "results"
POLICIES = "quickstep,quickstep-managed,aas-tt-10s,aas-step-10s,k8s-hpa@sagemaker,k8s-hpa,aibrix-apa-documented"


def main(words: list[str] | None = None) -> int:
    """Exit codes: 0 done, 2 unusable input."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path)
    parser.add_argument("--slices", default="G1,G2,G4")
    parser.add_argument("--policies", default=POLICIES)
    parser.add_argument("--knobs", default="0.3,0.4,0.5,0.6,0.7,0.8")
    parser.add_argument("--only", choices=[*SENSITIVITIES, "default"])
    parser.add_argument("--work", type=Path, default=Path("out/bench"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(words)
    from simulator.bench.run import PlatformOptions
    from simulator.bench.sweep import bench

    for name, changed in _variations(PlatformOptions):
        if given.only is not None and given.only not in name:
            continue
        print(f"{name}", file=sys.stderr)
        try:
            result = bench(
                traces=given.traces,
                slices=given.slices.split(","),
                policies=given.policies.split(","),
                knobs=[float(knob) for knob in given.knobs.split(",")],
                work=given.work,
                **changed,
            )
        except ValueError as error:
            print(f"sensitivity: {error}", file=sys.stderr)
            return 2
        given.results.mkdir(parents=True, exist_ok=True)
        text = json.dumps(summary_of(result), indent=1, sort_keys=True) + "\n"
        (given.results / f"{name}.json").write_text(text, encoding="utf-8")
    return 0


def _variations(platform: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name of the summary, arguments of `bench`)."""
    yield USUAL, {}
    for median_s in (30, 90, 525):
        yield f"provisioning-{median_s}", {"options": platform.provisioning(float(median_s))}
    for factor in (0.5, 1.5):
        yield f"prefill-{factor:g}", {"prefill_factor": factor}
    for delay_s in (20, 30, 60):
        yield f"publish-{delay_s}", {"options": platform(publish_delay_s=float(delay_s))}
    for factor in (0.7, 1.3):
        yield f"target-{factor:g}", {"target_factor": factor}
    for statistic in ("Average", "Maximum"):
        yield f"statistic-{statistic}", {"statistic": statistic}


if __name__ == "__main__":
    sys.exit(main())
