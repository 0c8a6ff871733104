"""What operators are shown and told: every metric exists, every alarm says what to do, and the bill at rest stays small."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from simulator.aws.log_queries import run_query, source_of
from simulator.aws.metric_search import parse_search
from simulator.template import Stack, load_stack
from tests.contract.reach import handlers, sources
from tests.contract.translated import MODES, PARAMETERS, ROOT, TEMPLATE, changed, stack

OURS = "Quickstep"
AWS_METRICS = {
    ("AWS/SageMaker", "ConcurrentRequestsPerCopy"): {"InferenceComponentName"},
    ("AWS/SageMaker", "ConcurrentRequestsPerModel"): {"EndpointName", "VariantName"},
    ("AWS/SageMaker", "Invocations"): {"InferenceComponentName", "EndpointName", "VariantName"},
    ("AWS/SageMaker", "InvocationsPerCopy"): {"InferenceComponentName"},
    ("AWS/SageMaker", "InvocationsPerInstance"): {"EndpointName", "VariantName"},
    ("AWS/SageMaker", "NoCapacityInvocationFailures"): {"InferenceComponentName"},
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): {"QueueName"},
    ("AWS/Lambda", "Invocations"): {"FunctionName"},
    ("AWS/Lambda", "Errors"): {"FunctionName"},
    ("AWS/States", "ExecutionsStarted"): {"StateMachineArn"},
}
"""Metrics that AWS documents, with the dimensions that they come with (monitoring pages of the four services)."""

BUDGET = {**PARAMETERS, "BudgetUsdPerHour": "25", "InstanceUsdPerHour": "7.09"}


# -- metrics: what is shown is published, and the other way round ---------------------------------------------------------


def published() -> set[str]:
    """Names of the metrics that the package's code publishes."""
    found: set[str] = set()
    for text in [*sources().values(), *handlers().values()]:
        tree = ast.parse(text)
        for call in [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Attribute)]:
            if ast.unparse(call.func) == "telemetry.count":
                if isinstance(call.args[0], ast.Constant):
                    found.add(call.args[0].value)
                else:
                    # Times are collected first, by name, and published together.
                    words = [
                        n.value for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)
                    ]
                    found |= {one for one in words if re.fullmatch(r"[A-Z]\w+Seconds", one)}
            elif ast.unparse(call.func) == "telemetry.gauges":
                assert isinstance(call.args[0], ast.Dict), "gauges are written out"
                found |= {key.value for key in call.args[0].keys}
    return found


def read_metrics(deployed: Stack) -> Iterator[tuple[str, str, set[str]]]:
    """(namespace, metric, dimension names) of everything that dashboard and alarms read."""
    for alarm in deployed.of_type("AWS::CloudWatch::Alarm"):
        for metric in [
            alarm.properties,
            *(q["MetricStat"]["Metric"] for q in alarm.properties.get("Metrics", []) if "MetricStat" in q),
        ]:
            if "MetricName" in metric:
                yield metric["Namespace"], metric["MetricName"], {one["Name"] for one in metric["Dimensions"]}
    for widget in body(deployed)["widgets"]:
        for entry in widget["properties"].get("metrics", []):
            options = entry[-1] if isinstance(entry[-1], dict) else {}
            words = [one for one in entry if isinstance(one, str)]
            search = parse_search(options.get("expression", ""))
            if search is not None:
                yield search.namespace, dict(search.terms)["MetricName"], set(search.dimensions)
            elif words:
                yield words[0], words[1], set(words[2::2])


def body(deployed: Stack) -> Mapping[str, Any]:
    return json.loads(deployed["Dashboard"].properties["DashboardBody"])


def metric_findings(path: Path, parameters: Mapping[str, str]) -> list[str]:
    """Metrics that are read and never published, published and never read, or read under other dimensions."""
    read = list(read_metrics(load_stack(path, parameters)))
    ours = {name for namespace, name, _ in read if namespace == OURS}
    known = published()
    found = [f"{name} is shown or alarmed on, and no code publishes it" for name in sorted(ours - known)]
    hidden = known - ours - ({"BudgetUsedPercent"} if "BudgetUsdPerHour" not in parameters else set())
    found += [f"{name} is published, and nobody is shown it" for name in sorted(hidden)]
    for namespace, name, dimensions in read:
        if namespace == OURS and not {"Stack"} <= dimensions <= {"Stack", "Target", "Endpoint"}:
            found.append(f"{name} is read under {sorted(dimensions)}")
        if namespace != OURS and not dimensions <= AWS_METRICS.get((namespace, name), set()):
            found.append(f"AWS publishes no {namespace} {name} with {sorted(dimensions)}")
    return found


@pytest.mark.parametrize("parameters", [*MODES.values(), BUDGET], ids=[*MODES, "budget"])
def test_what_is_shown_is_published_and_what_is_published_is_shown(parameters):
    assert metric_findings(TEMPLATE, parameters) == []


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (('"LookFailed"', '"LooksFailed"'), ["LooksFailed is shown", "LookFailed is published"]),
        (("MetricName: StuckUpdates", "MetricName: StuckUpdate"), ["StuckUpdate is shown"]),
        (
            ('MetricName=\\"DesiredCopies\\"', 'MetricName=\\"Copies\\"'),
            ["Copies is shown", "DesiredCopies is published"],
        ),
        (('"FunctionName", "${OnAlarmFunction}"', '"Function", "${OnAlarmFunction}"'), ["AWS publishes no AWS/Lambda"]),
        (("{Quickstep,Endpoint,Stack}", "{Quickstep,Variant,Stack}"), ["is read under ['Stack', 'Variant']"]),
    ],
)
def test_a_metric_that_is_renamed_on_one_side_is_noticed(tmp_path, edit, said):
    found = "\n".join(metric_findings(changed(tmp_path, edit), PARAMETERS))
    assert [one for one in said if one not in found] == []


def test_every_log_query_names_fields_that_a_log_line_has():
    lines = ROOT / "layers" / "core" / "quickstep" / "usecases" / "history.py"
    written = set(re.findall(r'"(\w+)":', lines.read_text(encoding="utf-8")))
    written |= {"what", "detail", "failed", "reason"}  # a note's own
    deployed = stack()
    queries = [q.properties["QueryString"] for q in deployed.of_type("AWS::Logs::QueryDefinition")]
    queries += [source_of(w["properties"]["query"])[1] for w in body(deployed)["widgets"] if w["type"] == "log"]
    assert len(queries) == 10
    for query in queries:
        run_query(query, [])
        fields = set(re.findall(r"\b(?:decision|note)\.(\w+)", query))
        assert fields - written == set(), query


# -- alarms: written for the person who is paged ------------------------------------------------------------------------------


def alarm_findings(path: Path) -> list[str]:
    """Alarms on Quickstep itself that reach nobody, explain nothing, or would be taken for a signal to scale."""
    deployed = load_stack(path, BUDGET)
    topic, manual = deployed["OperatorsTopic"].ref, (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    found = []
    for alarm in deployed.of_type("AWS::CloudWatch::Alarm"):
        properties = alarm.properties
        name, told = properties["AlarmName"], properties["AlarmDescription"]
        if name.startswith(f"{deployed.name}--"):
            continue
        kind = name.removeprefix(f"{deployed.name}-operator-")
        if properties.get("AlarmActions") != [topic] or properties.get("OKActions") != [topic]:
            found.append(f"{name} does not tell the topic when it begins and ends")
        if not 150 <= len(told) <= 1024 or deployed.name not in told:
            found.append(f"{name} does not say what is wrong where, and what to do")
        if f"docs/operations.md, {kind}" not in told or f"### {kind}" not in manual:
            found.append(f"{name} has no section of that name in docs/operations.md")
        if "TreatMissingData" not in properties or int(properties.get("Period", 60)) < 60:
            found.append(f"{name} must say what a gap means, and be of standard resolution")
    return found


def test_every_alarm_on_quickstep_itself_tells_a_person_what_to_do():
    assert alarm_findings(TEMPLATE) == []


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("      OKActions: [!Ref OperatorsTopic]\n", ""), "does not tell the topic"),
        (("More: docs/operations.md, stuck-update.", "Good luck."), "has no section of that name"),
        (("      TreatMissingData: ignore\n", ""), "must say what a gap means"),
    ],
)
def test_an_alarm_that_is_changed_alone_is_noticed(tmp_path, edit, said):
    assert any(said in one for one in alarm_findings(changed(tmp_path, edit)))


def test_only_alarms_of_this_stack_may_publish_to_the_topic_and_mail_is_sent_only_if_asked():
    deployed = load_stack(TEMPLATE, {**PARAMETERS, "OperatorEmail": "night@example.com"})
    (policy,) = deployed.of_type("AWS::SNS::TopicPolicy")
    allow, deny = policy.properties["PolicyDocument"]["Statement"]
    assert allow["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
    assert allow["Condition"]["ArnLike"]["aws:SourceArn"].endswith(":alarm:quickstep-operator-*")
    assert (deny["Effect"], deny["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})
    (mail,) = deployed.of_type("AWS::SNS::Subscription")
    assert (mail.properties["Protocol"], mail.properties["Endpoint"]) == ("email", "night@example.com")
    assert stack().of_type("AWS::SNS::Subscription") == []


# -- the bill -----------------------------------------------------------------------------------------------------------------

STANDARD_USD, HIGH_RESOLUTION_USD, METRIC_USD = 0.10, 0.30, 0.30
"""A month of one metric of an alarm, and of one custom metric (CloudWatch's price list, first tier)."""


def alarm_usd(alarm: Mapping[str, Any]) -> float:
    metrics = sum("MetricStat" in one for one in alarm.get("Metrics", [])) or 1
    return metrics * (HIGH_RESOLUTION_USD if int(alarm.get("Period", 60)) < 60 else STANDARD_USD)


def test_alarms_cost_90_cents_a_component_and_at_most_half_a_dollar_a_stack():
    alarms = [one.properties for one in load_stack(TEMPLATE, BUDGET).of_type("AWS::CloudWatch::Alarm")]
    signals = [alarm_usd(one) for one in alarms if "-operator-" not in one["AlarmName"]]
    own = [alarm_usd(one) for one in alarms if "-operator-" in one["AlarmName"]]
    assert round(sum(signals), 2) == 0.90
    assert (len(own), round(sum(own), 2)) == (4, 0.50)


def test_few_custom_metrics_two_a_component_one_a_forecast_three_an_endpoint_the_rest_a_stack():
    per = {
        frozenset(dimensions): set()
        for namespace, _, dimensions in read_metrics(load_stack(TEMPLATE, BUDGET))
        if namespace == OURS
    }
    for namespace, name, dimensions in read_metrics(load_stack(TEMPLATE, BUDGET)):
        if namespace == OURS:
            per[frozenset(dimensions)].add(name)
    counts = {"+".join(sorted(dimensions)): len(names) for dimensions, names in per.items()}
    assert counts == {"Stack+Target": 3, "Endpoint+Stack": 3, "Stack": 12}
