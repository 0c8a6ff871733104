"""The emulated account as a whole: a deployed application runs in it, is checked by IAM, and can be disturbed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.account import AccountDelays, EmulatedAccount
from simulator.aws.lambda_runtime import EnvironmentKilled
from simulator.aws.sagemaker_scenario import ComponentSpec, EndpointSpec, VariantSpec
from simulator.clock import EPOCH_S
from simulator.errors import ServiceError
from tests.simulator.sample_app import ON_ALARM, TEMPLATE, write_sample

HIGH_ALARM = "quickstep--chat-high"


@pytest.fixture
def account(tmp_path: Path):
    with EmulatedAccount(write_sample(tmp_path)) as made:
        yield made


def run(account: EmulatedAccount, seconds: float) -> None:
    account.run_until(account.clock.now_s + seconds)


def fire(account: EmulatedAccount, state: str = "ALARM") -> None:
    request = {"AlarmName": HIGH_ALARM, "StateValue": state, "StateReason": "a test"}
    account.call("cloudwatch", "SetAlarmState", request)


def lines(account: EmulatedAccount, function: str = "OnAlarm") -> list[dict]:
    return [line.fields for line in account.logs if line.function == function and line.fields]


def test_load_becomes_an_alarm_an_event_a_function_and_an_item_in_the_table(account):
    account.sagemaker.scenario_endpoint(
        EndpointSpec("ep", (VariantSpec("ml.g5.12xlarge", 1),), (ComponentSpec("chat", 1, 1, memory_mb=1024),))
    )
    for n in range(12):
        account.run_until(EPOCH_S + 10 * (n + 1))
        account.cloudwatch.publish(
            "AWS/SageMaker", "ConcurrentRequestsPerCopy", {"InferenceComponentName": "chat"}, EPOCH_S + 10 * n,
            period_s=10, minimum=0.0, maximum=50.0, total=100.0, samples=4.0,
        )  # fmt: skip
    run(account, 10)
    assert [(one.alarm_name, str(one.after)) for one in account.alarm_transitions()] == [
        (HIGH_ALARM, "OK"),
        (HIGH_ALARM, "ALARM"),
    ]
    assert lines(account) == [
        {"alarm": HIGH_ALARM, "state": "OK", "seen": 1},
        {"alarm": HIGH_ALARM, "state": "ALARM", "seen": 2},
    ]
    table = account.stack["StateTable"].name
    item = account.call("dynamodb", "GetItem", {"TableName": table, "Key": {"pk": {"S": HIGH_ALARM}}})["Item"]
    assert item["seen"] == {"N": "2"}
    assert account.calls[("OnAlarm", "dynamodb", "UpdateItem")] == 2


def test_the_schedule_of_the_template_invokes_its_function_every_minute(account):
    run(account, 600)
    assert account.lambdas.invocations[account.stack["Reconcile"].name] in (9, 10)


def test_events_of_other_stacks_do_not_reach_the_rule(account):
    other = {
        "AlarmName": "quickstep2--high", "Namespace": "N", "MetricName": "M", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
    }  # fmt: skip
    run(account, 20)
    before = len(lines(account))
    account.call("cloudwatch", "PutMetricAlarm", other)
    account.call(
        "cloudwatch", "SetAlarmState", {"AlarmName": "quickstep2--high", "StateValue": "ALARM", "StateReason": "x"}
    )
    run(account, 20)
    assert len(lines(account)) == before


def test_the_loop_of_the_template_runs_on_the_clock_with_the_substituted_function(account):
    machine = account.stack["Loop"].arn
    account.call("stepfunctions", "StartExecution", {"stateMachineArn": machine, "name": "one"})
    run(account, 30)
    (execution,) = account.executions()
    assert (execution.identity.name, execution.status) == ("one", "SUCCEEDED")
    assert 10 < execution.stop_s - execution.start_s < 12  # one look and a tick of 10 s


def test_the_same_seed_gives_the_same_run_and_another_one_another(tmp_path):
    path = write_sample(tmp_path)

    def history(seed: int) -> str:
        with EmulatedAccount(path, seed=seed, delays=AccountDelays(schedule_precision_s=60.0)) as account:
            for _ in range(5):
                fire(account)
                run(account, 95)
            return json.dumps([account.eventbridge.events, [(one.at_s, one.text) for one in account.logs]])

    assert history(1) == history(1) != history(2)


def test_what_the_role_does_not_allow_is_denied_in_aws_s_words(tmp_path):
    code = "import boto3\ndef handler(event, context):\n    boto3.client('dynamodb').delete_item(TableName='other', Key={'pk': {'S': 'a'}})\n"
    with EmulatedAccount(write_sample(tmp_path, on_alarm=code)) as account:
        fire(account)
        run(account, 5)
        name = account.stack["OnAlarm"].name
        assert account.lambdas.invocations[name] == 2
        answer = account.call("lambda", "Invoke", {"FunctionName": name})
    error = json.loads(answer["Payload"])
    role = account.stack["OnAlarmRole"].name
    assert error["errorType"] == "ClientError"
    assert error["errorMessage"] == (
        "An error occurred (AccessDeniedException) when calling the DeleteItem operation: User: "
        f"arn:aws:sts::111122223333:assumed-role/{role}/{name} is not authorized to perform: dynamodb:DeleteItem on resource: "
        "arn:aws:dynamodb:eu-west-1:111122223333:table/other because no identity-based policy allows the "
        "dynamodb:DeleteItem action"
    )


@pytest.mark.parametrize(("namespace", "allowed"), [("Quickstep", True), ("Other", False)])
def test_a_condition_of_the_role_is_asked(tmp_path, namespace, allowed):
    code = (
        "import boto3\ndef handler(event, context):\n"
        f"    boto3.client('cloudwatch').put_metric_data(Namespace='{namespace}', MetricData=[{{'MetricName': 'A', 'Value': 1.0}}])\n"
    )
    with EmulatedAccount(write_sample(tmp_path, on_alarm=code)) as account:
        answer = account.call("lambda", "Invoke", {"FunctionName": account.stack["OnAlarm"].name})
        assert ("FunctionError" not in answer) is allowed
    with EmulatedAccount(write_sample(tmp_path, on_alarm=code), check_iam=False) as account:
        assert "FunctionError" not in account.call("lambda", "Invoke", {"FunctionName": account.stack["OnAlarm"].name})


TAGGED = TEMPLATE.replace(
    "{Effect: Allow, Action: states:StartExecution, Resource: !Ref Loop}",
    "{Effect: Allow, Action: 'sagemaker:*', Resource: '*', Condition: {StringEquals: {'aws:ResourceTag/managed': 'yes'}}}",
)


@pytest.mark.parametrize(("tags", "allowed"), [([{"Key": "managed", "Value": "yes"}], True), ([], False)])
def test_the_tags_of_the_resource_decide_where_the_policy_says_so(tmp_path, tags, allowed):
    code = "import boto3\ndef handler(event, context):\n    boto3.client('sagemaker').describe_inference_component(InferenceComponentName='chat')\n"
    with EmulatedAccount(write_sample(tmp_path, on_alarm=code, template=TAGGED)) as account:
        account.sagemaker.scenario_endpoint(
            EndpointSpec("ep", (VariantSpec("ml.g5.12xlarge", 1),), (ComponentSpec("chat", 1, 1, memory_mb=1024),))
        )
        arn = account.call("sagemaker", "DescribeInferenceComponent", {"InferenceComponentName": "chat"})[
            "InferenceComponentArn"
        ]
        if tags:
            account.call("sagemaker", "AddTags", {"ResourceArn": arn, "Tags": tags})
        answer = account.call("lambda", "Invoke", {"FunctionName": account.stack["OnAlarm"].name})
        assert ("FunctionError" not in answer) is allowed


@pytest.mark.parametrize(
    ("taken_away", "code"),
    [
        ("OnAlarmAlarmPermission", "NO_PERMISSIONS"),  # the rule may not invoke the function
        (None, None),
    ],
)
def test_a_rule_without_permission_ends_in_the_dead_letter_queue(account, taken_away, code):
    account.roles._function_permissions = [
        one for one in account.roles._function_permissions if one.logical_id != taken_away
    ]
    fire(account)
    run(account, 5)
    assert {letter.attributes["ERROR_CODE"] for letter in account.dead_letters} == ({code} if code else set())


def test_a_queue_whose_policy_does_not_let_the_rule_send_gets_nothing(tmp_path):
    template = TEMPLATE.replace("Principal: {Service: events.amazonaws.com}", "Principal: {Service: sns.amazonaws.com}")
    with EmulatedAccount(write_sample(tmp_path, template=template)) as account:
        account.deliverer.fail = lambda delivery, attempt: ServiceError("AccessDeniedException", "no")
        fire(account)
        run(account, 5)
        assert account.dead_letters == []
        assert any("dead-letter queue: AccessDeniedException" in why for _, why in account.deliverer.undelivered)


def test_a_state_machine_whose_role_may_not_invoke_fails_with_lambda_s_error(tmp_path):
    template = TEMPLATE.replace("Action: lambda:InvokeFunction", "Action: lambda:GetFunction")
    with EmulatedAccount(write_sample(tmp_path, template=template)) as account:
        account.call("stepfunctions", "StartExecution", {"stateMachineArn": account.stack["Loop"].arn, "name": "one"})
        run(account, 30)
        (execution,) = account.executions()
        assert execution.status == "FAILED"


def test_an_interceptor_sees_every_call_with_its_caller_and_can_refuse_it(account):
    seen = []

    def refuse(call, proceed):
        seen.append((call.caller.logical_id if call.caller else None, call.service, call.operation))
        if call.operation == "UpdateItem":
            raise ServiceError("ProvisionedThroughputExceededException", "slow down")
        return proceed()

    account.interceptors.append(refuse)
    answer = account.call(
        "lambda",
        "Invoke",
        {"FunctionName": account.stack["OnAlarm"].name, "Payload": b'{"detail": {"alarmName": "a"}}'},
    )
    assert json.loads(answer["Payload"])["errorType"] == "ProvisionedThroughputExceededException"
    assert seen[0] == (None, "lambda", "Invoke") and set(seen[1:]) == {("OnAlarm", "dynamodb", "UpdateItem")}


EVENT = {"detail": {"alarmName": "a", "state": {"value": "ALARM"}}}


@pytest.mark.parametrize(("before", "applied"), [(True, False), (False, True)])
def test_a_function_killed_around_a_call_leaves_the_effect_only_if_the_call_was_made(account, before, applied):
    def kill(call, proceed):
        if call.operation == "UpdateItem":
            if not before:
                proceed()
            raise EnvironmentKilled
        return proceed()

    account.interceptors.append(kill)
    answer = account.call(
        "lambda", "Invoke", {"FunctionName": account.stack["OnAlarm"].name, "Payload": json.dumps(EVENT).encode()}
    )
    assert json.loads(answer["Payload"])["errorType"] == "Runtime.ExitError"
    table = account.stack["StateTable"].name
    assert ("Item" in account.call("dynamodb", "GetItem", {"TableName": table, "Key": {"pk": {"S": "a"}}})) is applied


def test_a_function_whose_calls_take_too_long_is_cut_off(account):
    def slow(call, proceed):
        call.latency_s += 12 if call.caller is not None else 0
        return proceed()

    account.interceptors.append(slow)
    answer = account.call(
        "lambda", "Invoke", {"FunctionName": account.stack["OnAlarm"].name, "Payload": json.dumps(EVENT).encode()}
    )
    assert json.loads(answer["Payload"])["errorType"] == "Sandbox.Timedout"  # the template says 10 s


def test_metrics_in_the_log_become_metrics_in_cloudwatch(tmp_path):
    code = """
import json
def handler(event, context):
    directive = {"Namespace": "Quickstep", "Dimensions": [["service"]], "Metrics": [{"Name": "Looks", "Unit": "Count"}]}
    print(json.dumps({"_aws": {"Timestamp": 0, "CloudWatchMetrics": [directive]}, "service": "quickstep", "Looks": [2.0, 3.0]}))
"""
    with EmulatedAccount(write_sample(tmp_path, reconcile=code)) as account:
        account.call("lambda", "Invoke", {"FunctionName": account.stack["Reconcile"].name})
        run(account, 50)
        (metric,) = account.call("cloudwatch", "ListMetrics", {"Namespace": "Quickstep"})["Metrics"]
        assert metric["Dimensions"] == [{"Name": "service", "Value": "quickstep"}]
        request = {
            **metric, "StartTime": EPOCH_S, "EndTime": EPOCH_S + 60, "Period": 60, "Statistics": ["Sum", "SampleCount"],
        }  # fmt: skip
        (point,) = account.call("cloudwatch", "GetMetricStatistics", request)["Datapoints"]
        assert (point["Sum"], point["SampleCount"]) == (5.0, 2.0)


def test_services_report_themselves_so_that_an_alarm_on_a_failure_can_fire(account):
    account.deliverer.fail = lambda delivery, attempt: ServiceError("AccessDeniedException", "no")
    fire(account)
    account.call("stepfunctions", "StartExecution", {"stateMachineArn": account.stack["Loop"].arn, "name": "one"})
    run(account, 200)
    found = {(one["Namespace"], one["MetricName"]) for one in account.call("cloudwatch", "ListMetrics", {})["Metrics"]}
    assert {
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible"),
        ("AWS/States", "ExecutionsSucceeded"),
        ("AWS/Lambda", "Errors"),
    } <= found


def test_an_alarm_action_notifies_the_stack_s_topic(tmp_path):
    template = TEMPLATE.replace(
        "AlarmActions: !If [HasTopic, [!Ref AlarmTopicArn], !Ref AWS::NoValue]", "AlarmActions: [!Ref Pages]"
    ).replace("Resources:\n", "Resources:\n  Pages: {Type: AWS::SNS::Topic}\n", 1)
    with EmulatedAccount(write_sample(tmp_path, template=template)) as account:
        fire(account)
        (page,) = account.sns.notifications
        assert page.subject == f'ALARM: "{HIGH_ALARM}" in eu-west-1'
        message = json.loads(page.message)
        assert (message["OldStateValue"], message["NewStateValue"]) == ("INSUFFICIENT_DATA", "ALARM")


def test_the_stack_can_be_described(account):
    (stack,) = account.call("cloudformation", "DescribeStacks", {"StackName": "quickstep"})["Stacks"]
    assert {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]} == {
        "TableName": account.stack["StateTable"].name
    }
    resources = account.call("cloudformation", "DescribeStackResources", {"StackName": "quickstep"})["StackResources"]
    assert {one["LogicalResourceId"] for one in resources} == set(account.stack.resources)


def test_application_auto_scaling_is_found_suspended_and_listed(account):
    target = {
        "ServiceNamespace": "sagemaker", "ResourceId": "inference-component/chat",
        "ScalableDimension": "sagemaker:inference-component:DesiredCopyCount",
    }  # fmt: skip
    service = "application-autoscaling"
    with pytest.raises(ServiceError, match="MinCapacity is required"):
        account.call(service, "RegisterScalableTarget", target)
    account.call(service, "RegisterScalableTarget", {**target, "MinCapacity": 1, "MaxCapacity": 4})
    suspended = {"DynamicScalingInSuspended": True, "DynamicScalingOutSuspended": True}
    account.call(service, "RegisterScalableTarget", {**target, "SuspendedState": suspended})
    answer = account.call(service, "DescribeScalableTargets", {"ServiceNamespace": "sagemaker"})
    (found,) = answer["ScalableTargets"]
    assert (found["MinCapacity"], found["MaxCapacity"]) == (1, 4)
    assert found["SuspendedState"] == {**suspended, "ScheduledScalingSuspended": False}
    account.call(service, "DeregisterScalableTarget", target)
    with pytest.raises(ServiceError, match="ObjectNotFoundException"):
        account.call(service, "DeregisterScalableTarget", target)


def test_quotas_are_those_of_the_emulated_sagemaker(tmp_path):
    options = {"quotas": {"ml.g5.xlarge": 4}}
    with EmulatedAccount(write_sample(tmp_path), sagemaker_options=options) as account:
        request = {"ServiceCode": "sagemaker", "QuotaCode": "L-1928E07B"}
        assert account.call("service-quotas", "GetServiceQuota", request)["Quota"]["Value"] == 4.0
        account.sagemaker.set_quota("ml.g5.xlarge", 9)
        assert account.call("service-quotas", "GetServiceQuota", request)["Quota"]["Value"] == 9.0


def test_each_function_reads_its_own_variables_although_they_share_the_product_s_modules(tmp_path):
    code = "import os\ndef handler(event, context):\n    return os.environ['STACK_NAME']\n"
    with EmulatedAccount(write_sample(tmp_path, on_alarm=code), stack_name="prod") as account:
        answer = account.call("lambda", "Invoke", {"FunctionName": account.stack["OnAlarm"].name})
        assert json.loads(answer["Payload"]) == "prod"


def test_closing_leaves_no_module_of_a_handler_behind(tmp_path):
    import sys

    with EmulatedAccount(write_sample(tmp_path, on_alarm=ON_ALARM)) as account:
        fire(account)
        run(account, 5)
        assert any(name.startswith("simulator_functions.") for name in sys.modules)
    assert not any(name.startswith("simulator_functions.") for name in sys.modules)
