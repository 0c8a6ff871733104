"""The operator's commands: what they show is what the functions would do, what they change goes through the API."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest

from quickstep.gateways.registry import Registry
from quickstep.gateways.scaling_api import application_auto_scaling, quickstep_control
from quickstep.gateways.stack import StackNotFound, deployed_stack
from quickstep.operate.checkup import checkup
from quickstep.operate.overview import overview, registered
from simulator.cli.failures import UsageProblem
from simulator.cli.main import main
from simulator.cli.operate_commands import duration_s
from tests.functions.control_stage import TRACKING, component, control_stage

CHAT, SUMMARY = component("chat"), component("summary")
CHAT_ARN = "arn:aws:sagemaker:eu-west-1:111122223333:inference-component/chat"
BESIDE_AAS = Path(__file__).parents[2] / "examples" / "scenarios" / "beside_aas.yaml"
QUIET = "component: {initial_copies: 2, max_copies: 8}\nendpoint: {initial_instances: 2}\n"
READS = ("Describe", "Get", "List", "Query", "BatchGet", "Invoke")


@pytest.fixture(scope="module")
def shared():
    with control_stage() as stage:
        yield stage, application_auto_scaling(), quickstep_control(stage.account.stack["ControlFunction"].name)


@pytest.fixture
def operator(shared):
    yield shared
    shared[0].account.call("sagemaker", "DeleteTags", {"ResourceArn": CHAT_ARN, "TagKeys": ["quickstep:managed"]})
    shared[0].clear()


def standings(operator, *names: str):
    stage, aas, quickstep = operator
    rows = registered(quickstep, [f"inference-component/{name}" for name in names])
    return list(overview(rows, aas=aas, registry=Registry(stage.settings.table_name), settings=stage.settings))


def checks(operator) -> dict[tuple[str, str], tuple[bool, str]]:
    stage, aas, quickstep = operator
    found = checkup(
        deployed_stack("quickstep"), aas=aas, quickstep=quickstep, registry=Registry(stage.settings.table_name)
    )
    return {(one.subject, one.name): (one.is_ok, one.detail) for one in found}


# -- reading -------------------------------------------------------------------------------------------------------------


def test_what_is_shown_is_what_the_next_look_decides_and_showing_it_changes_nothing(operator):
    stage = operator[0]
    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=5)
    stage.call("PutScalingPolicy", **CHAT, PolicyName="busy", **TRACKING)
    stage.account.run_for(65)
    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=3)
    items, calls, logs = stage.items(), Counter(stage.account.calls), len(stage.account.logs)
    (shown,) = standings(operator, "chat")
    made = {operation for _, _, operation in stage.account.calls - calls}
    assert all(operation.startswith(READS) for operation in made), made
    assert stage.items() == items
    (target,) = shown.targets
    assert (target.would, target.asked, target.reason) == (3, 1, "RaisedToMinCapacity")
    assert shown.asks == ("set chat from 1 to 3 copies",)
    stage.account.run_for(5)
    taken = next(
        line.fields["decision"]
        for line in stage.account.logs[logs:]
        if line.fields and line.fields.get("decision", {}).get("target") == CHAT["ResourceId"]
    )
    assert (taken["desired"], taken["reason"]) == (target.would, target.reason)
    assert [(s["stage"], s["recommended"]) for s in taken["steps"]] == [
        (s["stage"], s["recommended"]) for s in target.decision["steps"]
    ]


def test_a_component_that_is_gone_is_shown_as_such_beside_the_others(operator):
    stage = operator[0]
    for target in (CHAT, SUMMARY):
        stage.call("RegisterScalableTarget", **target, MinCapacity=1, MaxCapacity=2)
    stage.account.interceptors.append(missing("summary"))
    (shown,) = standings(operator, "chat", "summary")
    stage.account.interceptors.clear()
    by_name = {one.resource_id.split("/")[1]: one for one in shown.targets}
    assert by_name["chat"].attention == "" and by_name["chat"].current == 1
    assert by_name["summary"].current is None and "does not exist" in by_name["summary"].attention


def missing(name: str):
    from simulator.errors import ServiceError

    def intercept(call, proceed):
        if call.operation == "DescribeInferenceComponent" and call.params["InferenceComponentName"] == name:
            raise ServiceError("ValidationException", f'Could not find inference component "{name}".')
        return proceed()

    return intercept


def test_what_an_operator_has_set_is_shown(operator):
    stage = operator[0]
    options = {"Paused": True, "PausedForSeconds": 600, "Pinned": True, "PinnedCapacity": 2, "Shadow": True}
    suspended = {"DynamicScalingInSuspended": True}
    stage.call(
        "RegisterScalableTarget",
        **CHAT,
        MinCapacity=1,
        MaxCapacity=2,
        QuickstepOptions=options,
        SuspendedState=suspended,
    )
    (shown,) = standings(operator, "chat")
    assert shown.targets[0].hand == ("paused for 600 s more", "pinned at 2", "shadowed", "scale-in suspended")


def break_nothing(stage):
    return None


def break_alarm(stage):
    stage.account.call("cloudwatch", "DeleteAlarms", {"AlarmNames": [next(iter(stage.alarms()))]})
    return (CHAT["ResourceId"], "alarms"), "put the policy, or deploy the stack, again"


def break_tag(stage):
    stage.account.call("sagemaker", "DeleteTags", {"ResourceArn": CHAT_ARN, "TagKeys": ["quickstep:managed"]})
    return (CHAT["ResourceId"], "tag"), "register it again"


def break_claim(stage):
    stage.account.call(
        "sagemaker", "AddTags", {"ResourceArn": CHAT_ARN, "Tags": [{"Key": "quickstep:managed", "Value": "prod"}]}
    )
    return (CHAT["ResourceId"], "tag"), "managed by prod: two stacks claim it"


def break_aas(stage):
    stage.account.call(
        "application-autoscaling", "RegisterScalableTarget", {**CHAT, "MinCapacity": 1, "MaxCapacity": 2}
    )
    return (CHAT["ResourceId"], "scaling"), "Application Auto Scaling target inference-component/chat"


def break_policy(stage):
    stage.call("DeleteScalingPolicy", **CHAT, PolicyName="busy")
    return (CHAT["ResourceId"], "policies"), "put a scaling policy"


def leave_a_forecast_alone(stage):
    pair = {"PredefinedMetricType": "SageMakerInferenceComponentInvocationsPerCopy"}
    configuration = {"MetricSpecifications": [{"TargetValue": 60, "PredefinedMetricPairSpecification": pair}]}
    stage.call(
        "PutScalingPolicy", **CHAT, PolicyName="ahead", PolicyType="PredictiveScaling",
        PredictiveScalingPolicyConfiguration={"Mode": "ForecastAndScale", **configuration},
    )  # fmt: skip
    stage.call("DeleteScalingPolicy", **CHAT, PolicyName="busy")
    return (CHAT["ResourceId"], "policies"), "answer no load; put a policy that does"


def break_range(stage):
    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=1)
    return (CHAT["ResourceId"], "policies"), "nothing can be scaled"


def break_reconcile(stage):
    stage.account.run_for(65)
    stage.account.interceptors.append(no_reconcile)
    stage.account.run_for(240)
    return ("quickstep", "reconcile"), "look into the log of ReconcileFunction"


def no_reconcile(call, proceed):
    from simulator.errors import ServiceError

    if call.function == "ReconcileFunction":
        raise ServiceError("ThrottlingException", "slow down")
    return proceed()


@pytest.mark.parametrize(
    "damage",
    [
        break_nothing,
        break_alarm,
        break_tag,
        break_claim,
        break_aas,
        break_policy,
        leave_a_forecast_alone,
        break_range,
        break_reconcile,
    ],
    ids=lambda one: one.__name__.removeprefix("break_"),
)
def test_the_doctor_finds_what_is_broken_and_says_what_to_do(operator, damage):
    stage = operator[0]
    stage.call("RegisterScalableTarget", **CHAT, MinCapacity=1, MaxCapacity=2)
    stage.call("PutScalingPolicy", **CHAT, PolicyName="busy", **TRACKING)
    stage.account.run_for(65)
    healthy = {key for key, (is_ok, _) in checks(operator).items() if not is_ok}
    broken = damage(stage)
    found = checks(operator)
    stage.account.interceptors.clear()
    bad = {key: detail for key, (is_ok, detail) in found.items() if not is_ok and key not in healthy}
    if broken is None:
        assert bad == {} and all(subject != CHAT["ResourceId"] for subject, _ in healthy)
        return
    assert broken[0] in bad and broken[1] in bad[broken[0]], bad


def test_a_stack_that_is_none_is_told_by_its_name(operator):
    with pytest.raises(StackNotFound, match="there is no stack nowhere"):
        deployed_stack("nowhere")


# -- the commands ----------------------------------------------------------------------------------------------------------


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["quickstep", *words])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@pytest.fixture
def scenario(tmp_path):
    path = tmp_path / "quiet.yaml"
    path.write_text(QUIET, encoding="utf-8")
    return ["--emulate", str(path), "--after", "70"]


@pytest.mark.parametrize(
    ("words", "hand"),
    [
        (["pause", "chat", "--for", "2h"], ["paused for 7200 s more"]),
        (["pin", "inference-component/chat", "3"], ["pinned at 3"]),
        (["resume", "chat"], []),
    ],
    ids=lambda one: one[0] if one else "nothing",
)
def test_a_command_that_sets_something_shows_it_set(monkeypatch, capsys, scenario, words, hand):
    assert run(monkeypatch, *words, *scenario, "--json") == 0
    (endpoint,) = json.loads(capsys.readouterr().out)
    assert endpoint["targets"][0]["hand"] == hand


def test_explain_and_history_show_the_stages_and_the_causes(monkeypatch, capsys, scenario):
    assert run(monkeypatch, "explain", "chat", *scenario) == 0
    told = capsys.readouterr().out
    assert "inference-component/chat on llm (InService)" in told and "  bounds " in told and "next move: " in told
    assert run(monkeypatch, "history", "chat", *scenario, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows and all({"ActivityId", "Cause", "StartTime", "StatusCode"} <= set(row) for row in rows)


@pytest.mark.parametrize(
    ("words", "readings"), [(["plan"], 0), (["watch", "--count", "2", "--every", "5"], 2), (["wake", "chat"], 0)]
)
def test_every_command_that_reads_shows_the_same_standing_as_json(monkeypatch, capsys, scenario, words, readings):
    assert run(monkeypatch, *words, *scenario, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    for reading in found if readings else [found]:
        (endpoint,) = reading
        assert (endpoint["endpoint"], endpoint["word"]) == ("llm", "SETTLED")
        assert endpoint["targets"][0]["decision"]["target"] == "inference-component/chat"
    assert len(found) == (readings or 1)


def test_status_and_doctor_end_with_1_where_somebody_else_scales(monkeypatch, capsys):
    emulated = ["--emulate", str(BESIDE_AAS), "--after", "70"]
    assert run(monkeypatch, "status", *emulated) == 1
    assert "Quickstep changes nothing while that is so" in capsys.readouterr().out
    assert run(monkeypatch, "doctor", *emulated, "--json") == 1
    found = {(one["subject"], one["name"]): one["is_ok"] for one in json.loads(capsys.readouterr().out)}
    assert found[("inference-component/chat", "scaling")] is False and found[("quickstep", "stack")] is True


def test_migrate_on_the_emulated_account_keeps_its_plan_and_goes_on_from_it(monkeypatch, capsys, tmp_path):
    words = ["migrate", "--emulate", str(BESIDE_AAS), "--after", "70", "--plan", str(tmp_path / "plan.json")]
    only = ["--resource-id", "inference-component/chat", "--json"]
    # One target names a component that is gone: a finding of the plan.
    assert run(monkeypatch, *words, "--json") == 1
    assert "inference-component/retired: cannot be registered" in json.loads(capsys.readouterr().out)["findings"][0]
    for mode, progress in (("swap", "swapped"), ("rollback", "rolled-back")):
        assert run(monkeypatch, *words, "--mode", mode, *only) == 0, capsys.readouterr()
        document = json.loads(capsys.readouterr().out)
        assert [one["result"] for one in document["outcomes"]] == ["done"]
        assert {one["resource_id"]: one["progress"] for one in document["targets"]}[only[1]] == progress


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["status", "nobody"], "inference-component/nobody is not registered with stack quickstep; it has inference-component/chat"),
        (["pin", "chat", "99"], "PinnedCapacity is 99; it must lie between"),
        (["pause", "chat", "--for", "soon"], "'soon' is no duration; write 90s, 30m, 2h or 1d"),
        (["migrate", "--mode", "swap", "--plan", "nowhere.json"], "there is no plan nowhere.json"),
    ],
    ids=["unknown target", "outside the range", "no duration", "no plan"],
)  # fmt: skip
def test_what_cannot_be_done_is_exit_code_2_and_one_line(monkeypatch, capsys, scenario, words, says):
    assert run(monkeypatch, *words, *scenario) == 2
    printed = capsys.readouterr()
    assert says in printed.err and printed.err.count("\n") == 1 and printed.out == ""


def test_a_file_that_is_no_plan_is_left_alone(monkeypatch, capsys, tmp_path, scenario):
    path = tmp_path / "plan.json"
    path.write_text("[]", encoding="utf-8")
    assert run(monkeypatch, "migrate", "--plan", str(path), *scenario) == 2
    assert "is no plan of a migration" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "[]"


@pytest.mark.parametrize(("text", "want"), [("90s", 90), ("30m", 1800), ("2h", 7200), ("1d", 86_400)])
def test_durations(text, want):
    assert duration_s(text) == want


@pytest.mark.parametrize("text", ["", "2", "h", "-1h", "0s", "1.5h", "2 h", "1w"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(UsageProblem, match="is no duration"):
        duration_s(text)
