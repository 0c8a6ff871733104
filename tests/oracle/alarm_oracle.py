"""Our alarm evaluation against LocalStack's on seeded random series and on CloudWatch's documented table.

Run by `tests/oracle/run.sh` in an environment of its own. Exit code 1 if the two differ in a way that is not one of the
named classes below, or if we miss a row of the documented table. Where they differ, the class says what the CloudWatch
User Guide ("How alarm state is evaluated when data is missing") says about it.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from pathlib import Path

import localstack.services.cloudwatch.alarm_scheduler as localstack_alarms

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from documented_table import COLUMNS, DOCUMENTED  # noqa: E402

from simulator.aws.alarm_evaluation import TREATMENTS, AlarmRule, AlarmState, evaluate  # noqa: E402

NEWEST_N = "at least N real datapoints: LocalStack counts older ones too. Guide: extra datapoints are ignored -> ours"
AT_LEAST_AS_OLD = "oldest breach older than M periods: LocalStack wants exactly M. Guide: 'at least as old' -> ours"
IGNORE_KEEPS = "ignore, only young breaches: LocalStack says OK, we keep the state. Guide: silent (no row of its table)"
ENOUGH_BREACHES = (
    "ignore, M real breaches: LocalStack keeps the state. Guide: M of the N newest breach is ALARM -> ours"
)


class OneAlarm:
    """The CloudWatch client that LocalStack's evaluator is given: one alarm, one series."""

    def __init__(self, values: list[float | None], rule: AlarmRule, state: AlarmState) -> None:
        self.newest_first = list(reversed(values))
        self.state = str(state)
        self.alarm = {
            "AlarmName": "a",
            "MetricName": "m",
            "Namespace": "n",
            "Statistic": "Maximum",
            "Period": 10,
            "EvaluationPeriods": rule.evaluation_periods,
            "DatapointsToAlarm": rule.datapoints_to_alarm,
            "Threshold": rule.threshold,
            "ComparisonOperator": rule.comparison,
            "TreatMissingData": rule.treat_missing_data,
            "StateValue": str(state),
        }

    def describe_alarms(self, **_: object) -> dict:
        return {"MetricAlarms": [self.alarm]}

    def get_metric_data(self, **_: object) -> dict:
        value = self.newest_first.pop(0) if self.newest_first else None
        return {"MetricDataResults": [{"Values": [] if value is None else [value]}]}

    def set_alarm_state(self, *, StateValue: str, **_: object) -> None:
        self.state = str(StateValue)


def their_state(values: list[float | None], rule: AlarmRule, state: AlarmState) -> str:
    client = OneAlarm(values, rule, state)
    localstack_alarms.connect_to = lambda **_: type("Clients", (), {"cloudwatch": client})()
    localstack_alarms.calculate_alarm_state("arn:aws:cloudwatch:eu-west-1:111122223333:alarm:a")
    return client.state


def difference_class(values: list[float | None], rule: AlarmRule, ours: str, theirs: str) -> str | None:
    """Which named difference explains `ours` != `theirs`; None if none does."""
    real = [position for position, value in enumerate(values) if value is not None]
    breaching = [position for position in real if rule.breaches(values[position])]  # type: ignore[arg-type]
    m = rule.datapoints_to_alarm
    if len(real) > rule.evaluation_periods and ours == "OK" and theirs == "ALARM" and len(breaching) >= m:
        return NEWEST_N
    all_breach = len(real) < rule.evaluation_periods and breaching == real and bool(real)
    age = len(values) - real[0] if real else 0
    if all_breach and age > m and rule.treat_missing_data in ("missing", "ignore"):
        return AT_LEAST_AS_OLD
    if all_breach and age < m and rule.treat_missing_data == "ignore" and theirs == "OK":
        return IGNORE_KEEPS
    if ours == "ALARM" and rule.treat_missing_data == "ignore" and len(breaching) >= m and breaching == real:
        return ENOUGH_BREACHES
    return None


def compare(series: int, seed: int) -> int:
    rng = random.Random(seed)
    same = 0
    classes: Counter[str] = Counter()
    unexplained: list[str] = []
    for number in range(series):
        n = rng.randint(1, 12)
        rule = AlarmRule(
            evaluation_periods=n,
            datapoints_to_alarm=rng.randint(1, n),
            threshold=20.0,
            comparison=rng.choice(["GreaterThanThreshold", "GreaterThanOrEqualToThreshold", "LessThanThreshold"]),
            treat_missing_data=TREATMENTS[number % len(TREATMENTS)],
        )
        gap, high = rng.choice([0.0, 0.3, 0.6, 0.9]), rng.choice([0.1, 0.5, 0.9, 1.0])
        length = n + max(n // 3, 2)  # the range LocalStack reads
        values = [None if rng.random() < gap else (30.0 if rng.random() < high else 5.0) for _ in range(length)]
        state = rng.choice(list(AlarmState))
        ours, theirs = str(evaluate(values, rule, state).state), their_state(values, rule, state)
        if ours == theirs:
            same += 1
            continue
        name = difference_class(values, rule, ours, theirs)
        if name is None:
            unexplained.append(f"{values} {rule} from {state}: ours {ours}, LocalStack {theirs}")
        else:
            classes[name] += 1
    print(f"alarm oracle: {series} series, seed {seed}: {same} agree ({100 * same / series:.1f} %)")
    for name, count in sorted(classes.items()):
        print(f"  {count:5d} differ: {name}")
    print(f"  {len(unexplained):5d} differ without explanation")
    for line in unexplained[:10]:
        print("     ", line)
    return 1 if unexplained else 0


def check_documented_table() -> int:
    missed = 0
    theirs_right = 0
    for text, m, *expected in DOCUMENTED:
        values = [{"0": 5.0, "X": 30.0, "-": None}[mark] for mark in text]
        for treatment, want in zip(COLUMNS, expected, strict=True):
            for state in AlarmState:
                rule = AlarmRule(3, m, 20.0, "GreaterThanThreshold", treatment)
                wanted = str(state) if want == "K" else want
                ours = str(evaluate(values, rule, state).state)
                theirs_right += their_state(values, rule, state) == wanted
                if ours != wanted:
                    missed += 1
                    print(f"documented table: {text} M={m} {treatment} from {state}: {wanted}, ours {ours}")
    cells = len(DOCUMENTED) * len(TREATMENTS) * len(AlarmState)
    print(f"documented table: ours {cells - missed} of {cells}, LocalStack {theirs_right} of {cells}")
    return 1 if missed else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--series", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    return max(compare(options.series, options.seed), check_documented_table())


if __name__ == "__main__":
    sys.exit(main())
