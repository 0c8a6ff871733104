"""What a log line and a metric line contain, and what never gets into one."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from quickstep import clock, telemetry
from quickstep.model.decision import Step
from quickstep.model.observation import ServingChange
from quickstep.reasons import Reason

SECRET = "kindly-summarise-my-letter"


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    for name in (
        "LOG_LEVEL",
        "POWERTOOLS_LOG_LEVEL",
        "POWERTOOLS_METRICS_NAMESPACE",
        "POWERTOOLS_DEV",
        "_X_AMZN_TRACE_ID",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", "prod")
    before = clock.use(lambda: 1_767_225_600.5)
    telemetry.forget()
    yield
    telemetry.forget()
    clock.use(before)


def lines(capsys):
    """Everything printed so far, each line read as strict JSON."""
    out = capsys.readouterr().out
    return [json.loads(line, parse_constant=pytest.fail) for line in out.splitlines()]


# -- logs -------------------------------------------------------------------------------------------------------------


def test_a_decision_is_one_json_line_with_the_clocks_time(capsys):
    telemetry.record_decision({"target": "inference-component/chat", "desired": 5})
    (line,) = lines(capsys)
    assert line["decision"] == {"target": "inference-component/chat", "desired": 5}
    assert (line["level"], line["message"], line["service"]) == ("INFO", "decision", "prod")
    assert line["timestamp"] == "2026-01-01T00:00:00.500+00:00"


def test_a_note_is_one_json_line_of_its_own_kind(capsys):
    telemetry.record_note({"subject": "inference-component/chat", "what": "reached", "failed": False})
    (line,) = lines(capsys)
    assert (line["message"], line["note"]["what"]) == ("note", "reached")
    assert "decision" not in line


def test_the_same_decision_gives_the_same_bytes_whatever_order_it_was_built_in(capsys):
    telemetry.record_decision({"a": 1, "b": {"x": 1, "y": 2}, "c": {3, 1, 2}})
    telemetry.record_decision({"c": {2, 3, 1}, "b": {"y": 2, "x": 1}, "a": 1})
    first, second = capsys.readouterr().out.splitlines()
    assert first == second


@dataclass(frozen=True)
class Holder:
    step: Step


# value, what is written
VALUES = [
    (Reason.DEMAND, "Demand"),
    ((1, 2.5), [1, 2.5]),
    (float("nan"), None),
    (float("inf"), "inf"),
    (float("-inf"), "-inf"),
    (None, None),
    (True, True),
    (ServingChange(1.0, None), {"at_s": 1.0, "copies": None}),
    ({Reason.DEMAND: 1, 7: 2}, {"Demand": 1, "7": 2}),
    ({"b", "a"}, ["a", "b"]),
    (ValueError("x"), "x"),
    ("Grüße", "Grüße"),
]


@pytest.mark.parametrize(("value", "written"), VALUES, ids=[json.dumps(written)[:30] for _, written in VALUES])
def test_whatever_a_record_holds_becomes_valid_json(capsys, value, written):
    telemetry.record_decision({"value": value})
    assert lines(capsys)[0]["decision"]["value"] == written


def test_the_inputs_of_a_step_are_kept_since_they_are_numbers_of_ours(capsys):
    step = Step("demand", 5, Reason.DEMAND, "47 in flight", inputs={"demand": 47.0})
    telemetry.record_decision({"steps": [step], "held": Holder(step)})
    decision = lines(capsys)[0]["decision"]
    assert decision["steps"][0]["inputs"] == decision["held"]["step"]["inputs"] == {"demand": 47.0}


@pytest.mark.parametrize(("level", "logged"), [("DEBUG", 1), ("INFO", 1), ("WARNING", 0)])
def test_the_level_comes_from_the_environment(capsys, monkeypatch, level, logged):
    monkeypatch.setenv("LOG_LEVEL", level)
    telemetry.forget()
    telemetry.logger().info("hello")
    assert len(lines(capsys)) == logged


def test_one_logger_serves_the_process_and_writes_each_line_once(capsys):
    assert telemetry.logger() is telemetry.logger()
    telemetry.forget()
    telemetry.logger().info("hello")
    assert len(lines(capsys)) == 1


# -- what is never written --------------------------------------------------------------------------------------------

# how a client's text might get into a line
LEAKS = {
    **{f"extra {key}": lambda log, key=key: log.info("x", extra={"data": {key: SECRET}}) for key in sorted(telemetry.REDACTED_KEYS)},
    "extra in capitals": lambda log: log.info("x", extra={"data": {"Authorization": SECRET, "BODY": SECRET}}),
    "extra at the top": lambda log: log.info("x", extra={"prompt": SECRET}),
    "appended key": lambda log: log.append_keys(payload=SECRET) or log.info("x") or log.remove_keys(["payload"]),
    "deep inside": lambda log: log.info("x", extra={"data": [{"a": ({"messages": [{"role": "user", "content": SECRET}]},)}]}),
    "message as object": lambda log: log.info({"prompt": SECRET}),
    "message as JSON": lambda log: log.info(json.dumps({"inputs": SECRET, "parameters": {}})),
    "message as whole event": lambda log: log.info({"event": {"x": SECRET}}),
    "bearer token": lambda log: log.info(f"Authorization: Bearer {SECRET}"),
    "bearer token as argument": lambda log: log.info("sent %s", f"Bearer {SECRET}"),
    "signed URL": lambda log: log.info(f"https://x/?X-Amz-Signature={SECRET}&X-Amz-Credential={SECRET}&X-Amz-Security-Token={SECRET}"),
    "decision": lambda log: telemetry.record_decision({"wish": {"body": SECRET}, "prompt": SECRET}),
}  # fmt: skip


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS)
def test_nothing_that_a_client_sent_reaches_a_line(capsys, leak):
    leak(telemetry.logger())
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert SECRET not in out
    assert telemetry.REDACTED in out


INNOCENT = st.sampled_from(["a", "desired", "reason", "steps"])
TREES = st.recursive(
    st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(INNOCENT, inner, max_size=3),
    max_leaves=6,
)
PATHS = st.lists(st.sampled_from(["list", "tuple", "a", "steps"]), max_size=5)


@given(tree=TREES, path=PATHS, key=st.sampled_from(sorted(telemetry.REDACTED_KEYS)), upper=st.booleans())
@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_a_hidden_key_is_hidden_at_any_depth_beside_anything(capsys, tree, path, key, upper):
    value = {key.upper() if upper else key: {"deeper": [SECRET]}, "beside": tree}
    for step in path:
        value = {"list": [value], "tuple": (value, 1)}.get(step, {step: value})
    telemetry.logger().info("x", extra={"data": value})
    out = capsys.readouterr().out
    assert SECRET not in out
    assert telemetry.REDACTED in out


# -- metrics ----------------------------------------------------------------------------------------------------------


def test_a_metric_is_one_line_of_the_embedded_metric_format(capsys, monkeypatch):
    monkeypatch.setenv("STACK_NAME", "prod-eu")
    telemetry.count("Refusals", "Count", 2, {"Reason": "QuotaExceeded", "Endpoint": "llm"})
    (line,) = lines(capsys)
    assert line["_aws"]["Timestamp"] == 1_767_225_600_500
    (directive,) = line["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "Quickstep"
    assert directive["Metrics"] == [{"Name": "Refusals", "Unit": "Count"}]
    assert [sorted(names) for names in directive["Dimensions"]] == [["Endpoint", "Reason", "Stack"]]
    assert (line["Endpoint"], line["Reason"], line["Stack"]) == ("llm", "QuotaExceeded", "prod-eu")
    assert line["Refusals"] == 2


def test_a_metrics_namespace_is_the_stacks(capsys, monkeypatch):
    monkeypatch.setenv("POWERTOOLS_METRICS_NAMESPACE", "Team/Quickstep")
    telemetry.count("Decisions")
    (line,) = lines(capsys)
    assert line["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "Team/Quickstep"
    assert line["Decisions"] == 1.0


def test_two_metrics_are_two_lines_that_share_nothing(capsys):
    telemetry.count("A", "Seconds", 1.5, {"Endpoint": "llm"})
    telemetry.count("B", "Milliseconds", 7)
    first, second = lines(capsys)
    assert "Endpoint" in first
    assert "Endpoint" not in second
    assert second["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [{"Name": "B", "Unit": "Milliseconds"}]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_an_unknown_value_is_not_published(capsys, value):
    telemetry.count("A", "Seconds", value)
    assert capsys.readouterr().out == ""


def test_gauges_of_one_thing_share_a_line_and_what_is_not_known_is_left_out(capsys):
    telemetry.gauges({"DesiredInstances": (3, "Count"), "CostPerHourUsd": (None, "None")}, {"Endpoint": "llm"})
    telemetry.gauges({"CostPerHourUsd": (None, "None")}, {"Endpoint": "llm"})
    (line,) = lines(capsys)
    assert line["_aws"]["CloudWatchMetrics"][0]["Metrics"] == [{"Name": "DesiredInstances", "Unit": "Count"}]
    assert (line["DesiredInstances"], line["Endpoint"], "CostPerHourUsd" in line) == (3, "llm", False)


def test_units_are_cloudwatchs_own():
    import botocore.session

    model = botocore.session.get_session().get_service_model("cloudwatch")
    assert set(model.shape_for("StandardUnit").enum) > telemetry.UNITS


def test_an_unknown_unit_is_an_error():
    with pytest.raises(ValueError, match="Furlongs"):
        telemetry.count("A", "Furlongs", 1)


def test_importing_telemetry_does_not_import_powertools():
    import subprocess
    import sys

    code = (
        "import sys; import quickstep.telemetry, quickstep.gateways.aws, quickstep.gateways.refusals, "
        "quickstep.gateways.sagemaker, quickstep.gateways.cloudwatch, quickstep.gateways.loops, quickstep.gateways.autoscaling; "
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'botocore', 'boto3', 'pydantic', 'aws_lambda_powertools'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
