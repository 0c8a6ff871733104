"""What the control plane itself costs: calls counted in the emulated account, times Amazon's list prices.

`count` takes them from an account that has run for a while, `bill` prices them, `tables` writes them as Markdown. Free
allowances of an account are not subtracted. Two figures are assumed, not counted: how long a function runs (`CPU_MS` and
`CALL_MS`) and what Lambda writes into the log of its own accord (`PLATFORM_LOG_BYTES`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from simulator.account import EmulatedAccount

DAYS_PER_MONTH = 365 / 12
CPU_MS = 50.0
"""Processor time of one warm invocation (assumed: the goal of the design, above what is measured)."""
CALL_MS = 15.0
"""One call of an AWS service from inside the region (assumed)."""
PLATFORM_LOG_BYTES = 900
"""Start, end and report line of one invocation in Lambda's JSON format (assumed)."""
SHARED_FUNCTIONS = ("ReconcileFunction",)
"""Functions that run once for all components of a stack."""
LISTED = "List prices of us-east-1 in November 2026, without tax, discounts and free allowances; a month is 30.4 days."


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for `per` units of something; `source` says where the price is published."""

    what: str
    usd: float
    per: float
    unit: str
    source: str


CLOUDWATCH = "aws.amazon.com/cloudwatch/pricing"
LAMBDA = "aws.amazon.com/lambda/pricing"
DYNAMODB = "aws.amazon.com/dynamodb/pricing/on-demand"
PRICES = {
    "fast_alarm_months": Price("alarms with 10-s periods", 0.30, 1, "alarm-month", CLOUDWATCH),
    "slow_alarm_months": Price("alarms with periods of a minute or more", 0.10, 1, "alarm-month", CLOUDWATCH),
    "metric_months": Price("metrics of its own", 0.30, 1, "metric-month", CLOUDWATCH),
    "cloudwatch_requests": Price("CloudWatch requests (DescribeAlarms, …)", 0.01, 1e3, "requests", CLOUDWATCH),
    "metrics_read": Price("metrics read with GetMetricData", 0.01, 1e3, "metrics", CLOUDWATCH),
    "log_gb": Price("logs taken in", 0.50, 1, "GB", CLOUDWATCH),
    "invocations": Price("Lambda invocations", 0.20, 1e6, "invocations", LAMBDA),
    "gb_seconds": Price("Lambda duration, arm64", 0.0000133334, 1, "GB-s", LAMBDA),
    "transitions": Price("state transitions", 0.025, 1e3, "transitions", "aws.amazon.com/step-functions/pricing"),
    "reads": Price("DynamoDB read request units", 0.125, 1e6, "units", DYNAMODB),
    "writes": Price("DynamoDB write request units", 0.625, 1e6, "units", DYNAMODB),
    "traces": Price("X-Ray traces", 5.00, 1e6, "traces", "aws.amazon.com/xray/pricing"),
    "events": Price("events put on a bus", 1.00, 1e6, "events", "aws.amazon.com/eventbridge/pricing"),
}
PER_MONTH = ("fast_alarm_months", "slow_alarm_months")
"""Counted once, not per day: they are there the whole month."""

_READS = {"GetItem": 1, "Query": 1, "Scan": 1, "BatchGetItem": 1, "TransactGetItems": 2}
_WRITES = {"PutItem": 1, "UpdateItem": 1, "DeleteItem": 1, "BatchWriteItem": 1, "TransactWriteItems": 2}


def count(account: EmulatedAccount) -> dict[str, dict[str, float]]:
    """Units of everything with a price that `account` has used since its start: for `shared` and for `component`.

    `shared` is what a stack uses whatever it scales; `component` what its one scalable target caused. DynamoDB items are
    taken to fit into one unit of their kind; a transaction costs two.
    """
    found = {part: dict.fromkeys(PRICES, 0.0) for part in ("shared", "component")}
    for (function, service, operation), times in sorted(account.calls.items(), key=str):
        if function is None:
            continue  # the account's owner, not the control plane
        used = found[_part(function)]
        if service == "dynamodb":
            used["reads"] += _READS.get(operation, 0) * times
            used["writes"] += _WRITES.get(operation, 0) * times
        elif service == "cloudwatch" and operation not in ("GetMetricData", "GetMetricStatistics"):
            used["cloudwatch_requests"] += times
        elif service == "events" and operation == "PutEvents":
            used["events"] += times
        used["gb_seconds"] += times * CALL_MS / 1e3 * _memory_gb(account, function)
    _count_invocations(account, found)
    # Reconcile reads no metric (a test sees to that), so all that are read are read for a component.
    read = account.cloudwatch.billable
    found["component"]["metrics_read"] += read["GetMetricData.metrics"] + read["GetMetricStatistics.metrics"]
    _count_logs(account, found)
    for alarm in account.stack.of_type("AWS::CloudWatch::Alarm"):
        mine = any(dimension.get("Name") in _TARGET_DIMENSIONS for dimension in alarm.properties.get("Dimensions", []))
        kind = "fast_alarm_months" if float(alarm.properties.get("Period", 60)) < 60 else "slow_alarm_months"
        found["component" if mine else "shared"][kind] += _metrics_of(alarm.properties)
    return found


_TARGET_DIMENSIONS = ("InferenceComponentName", "EndpointName")


def bill(daily: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """(units, dollars) a month of every kind, from units a day."""
    found = {}
    for kind, price in PRICES.items():
        units = daily[kind] * (1.0 if kind in PER_MONTH else DAYS_PER_MONTH)
        found[kind] = (units, units / price.per * price.usd)
    return found


def dollars(parts: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Dollars a month of each part, from what `count` gave for 24 hours."""
    return {name: sum(usd for _, usd in bill(daily).values()) for name, daily in parts.items()}


def tables(days: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Markdown: a table per day of `days` (name -> what `count` gave for 24 hours), and one of the sums."""
    blocks, sums = [], ["| $ a month | shared by a stack | per component | one component alone |", "|---|---|---|---|"]
    for name, parts in days.items():
        shared, component = bill(parts["shared"]), bill(parts["component"])
        blocks.append(f"**{name}**\n\n{_table(shared, component)}")
        fixed, own = (dollars(parts)[part] for part in ("shared", "component"))
        sums.append(f"| {name} | {fixed:.2f} | {own:.2f} | **{fixed + own:.2f}** |")
    sources = ", ".join(sorted({price.source for price in PRICES.values()}))
    return "\n\n".join(["\n".join(sums), *blocks, f"{LISTED} Sources: {sources}."])


def _table(shared: Mapping[str, tuple[float, float]], component: Mapping[str, tuple[float, float]]) -> str:
    rows = [
        "| what | units a month, shared | per component | price | $ shared | $ per component |",
        "|---|---|---|---|---|---|",
    ]
    for kind, price in PRICES.items():
        (units, usd), (own_units, own_usd) = shared[kind], component[kind]
        if units or own_units:
            per = f"{price.per:,.0f} " if price.per > 1 else ""
            rate = f"${price.usd:.10f}".rstrip("0").rstrip(".") if price.usd < 0.001 else f"${price.usd:.3f}"
            rows.append(
                f"| {price.what} | {units:,.{_digits(units)}f} | {own_units:,.{_digits(own_units)}f} | "
                f"{rate} per {per}{price.unit} | {usd:.3f} | {own_usd:.3f} |"
            )
    return "\n".join(rows)


def _digits(units: float) -> int:
    return 0 if units >= 100 or units == int(units) else 2 if units >= 0.01 else 4


def _part(function: str) -> str:
    return "shared" if function in SHARED_FUNCTIONS else "component"


def _memory_gb(account: EmulatedAccount, function: str) -> float:
    return float(account.stack[function].properties["MemorySize"]) / 1024


def _count_invocations(account: EmulatedAccount, found: Mapping[str, dict[str, float]]) -> None:
    """Invocations, their processor time and Lambda's own log lines; traces begin with what no traced caller invoked."""
    machines = json.dumps([one.properties["Definition"] for one in account.stack.of_type(_MACHINE)])
    for function in account.stack.of_type("AWS::Lambda::Function"):
        times, used = account.lambdas.invocations[function.name], found[_part(function.logical_id)]
        used["invocations"] += times
        used["gb_seconds"] += times * CPU_MS / 1e3 * _memory_gb(account, function.logical_id)
        used["log_gb"] += times * PLATFORM_LOG_BYTES / 1e9
        if f"{function.arn}" not in machines:
            used["traces"] += times
    executions = account.executions()
    found["component"]["traces"] += len(executions)
    found["component"]["transitions"] += sum(one.transitions for one in executions)


_MACHINE = "AWS::StepFunctions::StateMachine"


def _count_logs(account: EmulatedAccount, found: Mapping[str, dict[str, float]]) -> None:
    """Bytes of log lines, and metrics embedded in them: a metric costs for the hours in which it has a value."""
    hours: dict[str, set[tuple[str, ...]]] = {part: set() for part in found}
    for line in account.logs:
        part = _part(line.function)
        found[part]["log_gb"] += len(line.text.encode()) / 1e9
        for directive in (line.fields or {}).get("_aws", {}).get("CloudWatchMetrics", []):
            for names in directive["Dimensions"]:
                where = tuple(f"{name}={line.fields[name]}" for name in names)
                for metric in directive["Metrics"]:
                    hour = str(int(line.at_s // 3600))
                    hours[part].add((directive["Namespace"], metric["Name"], *where, hour))
    for part, seen in hours.items():
        found[part]["metric_months"] += len(seen) / (DAYS_PER_MONTH * 24)


def _metrics_of(properties: Mapping[str, Any]) -> int:
    """Metrics that an alarm reads: each is billed."""
    queries = [one for one in properties.get("Metrics", []) if "MetricStat" in one]
    return len(queries) or 1
