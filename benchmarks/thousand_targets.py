"""A thousand scalable targets in one emulated account: what a decision costs, what Reconcile costs, and how Describe pages.

    make scale-bench            # or: python benchmarks/thousand_targets.py --targets 1000 --json out/scale.json

Every component is on an endpoint of its own, which is the dearest case for Reconcile. The look at one target is measured
alone and again among all the others, in the same run. API calls are counted exactly; each takes `--call-ms` of virtual
time, so the duration of Reconcile is what it would be in Lambda with calls of that length. CPU is that of the functions
with botocore; what the emulated services take to answer is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from quickstep.control.api import handle
from quickstep.control.context import ControlContext
from quickstep.gateways.registry import Registry
from quickstep.settings import Settings
from simulator.account import AccountDelays, EmulatedAccount
from simulator.aws.sagemaker_scenario import ComponentSpec, EndpointSpec, VariantSpec

ROOT = Path(__file__).resolve().parents[1]
COPIES = "sagemaker:inference-component:DesiredCopyCount"
TRACKING = {
    "PolicyName": "busy",
    "PolicyType": "TargetTrackingScaling",
    "TargetTrackingScalingPolicyConfiguration": {
        "TargetValue": 5.0,
        "PredefinedMetricSpecification": {
            "PredefinedMetricType": "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"
        },
    },
}
LOOKS = 20
CROWDED_MIN = 3
RECONCILE_TIMEOUT_S = 20.0


def measure(targets: int, *, minutes: int, call_ms: float, say: Any = print) -> dict[str, Any]:
    """The figures of one run with `targets` targets, watched for three virtual minutes after the last is registered.

    `minutes` more are watched when the last alarm is made, which takes an hour of virtual time for a thousand; 0 = none.
    """
    parameters = {"EndpointName": "e0000", "InferenceComponentName": "", "ScalableTargetsLimit": "10000"}
    parameters["InferenceComponentName"] = "c0000"
    delays = AccountDelays(call_s=call_ms / 1000)
    with EmulatedAccount(ROOT / "template.yaml", parameters, delays=delays) as account:
        fleet = _Fleet(account)
        fleet.register(0)
        account.run_for(1800)
        alone = fleet.looks()
        say(f"1 target: {alone['calls']} calls and {alone['cpu_ms']:.2f} ms of CPU a look")
        began = time.process_time()
        for number in range(1, targets):
            fleet.register(number)
        registering_s = time.process_time() - began
        say(f"{targets} targets registered: {1000 * registering_s / max(1, targets - 1):.1f} ms of CPU each")
        many = fleet.looks()
        # Everything is due at once now: the hardest minutes that Reconcile can have.
        crowded = fleet.watch(CROWDED_MIN)
        say(f"while everything is due: {crowded}")
        drained = fleet.drain() if minutes else None
        quiet = fleet.watch(minutes) if minutes else None
        pages = fleet.pages()
        overdue = fleet.overdue()
    return {
        "targets": targets,
        "call_ms": call_ms,
        "look_alone": alone,
        "look_among_all": many,
        "look_calls_ratio": many["calls"] / alone["calls"],
        "look_cpu_ratio": round(many["cpu_ms"] / alone["cpu_ms"], 3),
        "register_cpu_ms": round(1000 * registering_s / max(1, targets - 1), 2),
        "reconcile_while_all_are_due": crowded,
        "alarms_made_after_min": drained,
        "reconcile_at_rest": quiet,
        "describe": pages,
        "endpoints_overdue_by_more_than_a_minute": overdue,
    }


class _Fleet:
    """The account with its endpoints, and what is done to it."""

    def __init__(self, account: EmulatedAccount) -> None:
        self.account = account
        variables = account.stack["ControlFunction"].properties["Environment"]["Variables"]
        self.settings = Settings.from_environment({name: str(value) for name, value in variables.items()})

    def call(self, operation: str, **params: Any) -> dict[str, Any]:
        context = ControlContext.of(self.settings, "bench")
        return handle(operation, {"ServiceNamespace": "sagemaker", **params}, context=context)

    def register(self, number: int) -> None:
        name = f"c{number:04d}"
        variant = VariantSpec("ml.g5.2xlarge", 1, name="AllTraffic")
        component = ComponentSpec(name, 1, accelerators=1, memory_mb=1024, variant="AllTraffic")
        self.account.sagemaker.scenario_endpoint(EndpointSpec(f"e{number:04d}", (variant,), (component,)))
        target = {"ResourceId": f"inference-component/{name}", "ScalableDimension": COPIES}
        self.call("RegisterScalableTarget", **target, MinCapacity=1, MaxCapacity=4)
        self.call("PutScalingPolicy", **target, **TRACKING)

    def looks(self) -> dict[str, Any]:
        """Calls and CPU of one look at the first target through OnAlarm: the least of several, which is the work itself.

        The emulated services' own time is left out: it is not the functions'.
        """
        cpu, counts, services_s = [], [], [0.0]

        def note(call: Any, proceed: Any) -> Any:
            began = time.process_time()
            try:
                return proceed()
            finally:
                services_s[0] += time.process_time() - began

        self.account.interceptors.append(note)
        for number in range(LOOKS):
            services_s[0] = 0.0
            before, began = Counter(self.account.calls), time.process_time()
            self.account.lambdas.call("Invoke", {"FunctionName": self.on_alarm, "Payload": _wake(self.account, number)})
            cpu.append(1000 * (time.process_time() - began - services_s[0]))
            made = self.account.calls - before
            counts.append(sum(count for (who, _, _), count in made.items() if who == "OnAlarmFunction"))
        self.account.interceptors.remove(note)
        return {"calls": max(counts), "cpu_ms": round(min(cpu), 3)}

    @property
    def on_alarm(self) -> str:
        return self.account.stack["OnAlarmFunction"].name

    def drain(self) -> int:
        """Let Reconcile make the alarms that wait; the minutes that it took."""
        wanted = 2 * len(list(self.account.sagemaker.world.components))
        for minute in range(600):
            made = len(self.account.cloudwatch.alarms.alarms)
            if made >= wanted + 3:
                return minute
            self.account.run_for(60)
        raise RuntimeError("the alarms are not made after ten hours")

    def watch(self, minutes: int) -> dict[str, Any]:
        """What the reconciliations of the next `minutes` minutes did, as their schedule ran them."""
        runs: dict[float, list[float]] = {}

        def note(call: Any, proceed: Any) -> Any:
            # The clock stands still while a function runs, so the moment names the run.
            if call.function != "ReconcileFunction":
                return proceed()
            run = runs.setdefault(call.at_s, [0, time.process_time(), 0.0, 0])
            began = time.process_time()
            answer = proceed()
            # As if the service had answered at once.
            run[1] += time.process_time() - began
            run[0], run[2], run[3] = run[0] + 1, time.process_time(), run[3] + (call.operation == "StartExecution")
            return answer

        self.account.interceptors.append(note)
        self.account.run_for(60 * minutes)
        self.account.interceptors.remove(note)
        calls = [run[0] for run in runs.values()]
        longest_s = max(calls) * self.account.delays.call_s
        return {
            "runs": len(runs),
            "most_calls": max(calls),
            "longest_s": round(longest_s, 2),
            "timeout_s": RECONCILE_TIMEOUT_S,
            "most_cpu_ms": round(1000 * max(run[2] - run[1] for run in runs.values()), 1),
            "loops_started": sum(run[3] for run in runs.values()),
            "most_loops_started": max(run[3] for run in runs.values()),
        }

    def pages(self) -> dict[str, Any]:
        """Whether paging shows every target and policy once and in order."""
        found = {}
        for operation, key, name in (
            ("DescribeScalableTargets", "ScalableTargets", "ResourceId"),
            ("DescribeScalingPolicies", "ScalingPolicies", "ResourceId"),
        ):
            rows, count, token = [], 0, {}
            began = time.process_time()
            while True:
                answer = self.call(operation, **token)
                rows += [row[name] for row in answer[key] if row.get("PolicyName", "busy") == "busy"]
                count += 1
                if "NextToken" not in answer:
                    break
                token = {"NextToken": answer["NextToken"]}
            cpu_ms = round(1000 * (time.process_time() - began) / count, 1)
            whole = rows == sorted(set(rows))
            found[operation] = {
                "rows": len(rows),
                "pages": count,
                "once_and_in_order": whole,
                "cpu_ms_per_page": cpu_ms,
            }
        return found

    def overdue(self) -> int:
        """Endpoints whose look has been due for more than a minute."""
        now_s = self.account.clock.now_s
        return len(Registry(self.settings.table_name).due(now_s - 60, limit=10_000))


def _wake(account: EmulatedAccount, number: int) -> bytes:
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(account.clock.now_s))
    event = {
        "source": "quickstep", "detail-type": "Quickstep Look Requested", "version": "0", "id": str(number),
        "account": account.stack.account_id, "region": account.stack.region, "time": at, "resources": [],
        "detail": {"endpointName": "e0000"},
    }  # fmt: skip
    return json.dumps(event).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure one emulated account with very many scalable targets.")
    parser.add_argument("--targets", type=int, default=1000)
    parser.add_argument("--minutes", type=int, default=0, help="virtual minutes that Reconcile is watched at rest too")
    parser.add_argument("--call-ms", type=float, default=20.0, help="virtual time of one API call")
    parser.add_argument("--json", default=None, help="where the figures go; standard output without it")
    given = parser.parse_args()
    if given.targets < 2 or given.minutes < 0:
        parser.error("--targets must be 2 or more, --minutes 0 or more")
    figures = measure(
        given.targets, minutes=given.minutes, call_ms=given.call_ms, say=lambda text: print(text, file=sys.stderr)
    )
    text = json.dumps(figures, indent=1, sort_keys=True) + "\n"
    if given.json is None:
        sys.stdout.write(text)
    else:
        Path(given.json).parent.mkdir(parents=True, exist_ok=True)
        Path(given.json).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
