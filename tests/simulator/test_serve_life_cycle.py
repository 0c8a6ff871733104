"""The real AWS CLI and boto3 against `quickstep serve` in a process of its own: what people do, from first to last call."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from quickstep import clients
from tests.simulator.serve_process import COPIES, Served, serving

INSTANCES = "sagemaker:variant:DesiredInstanceCount"
SCENARIO = """\
endpoint: {mode: managed, managed_min_instances: 4, initial_instances: 4}
component: {max_copies: 3}
delays: {launch_median_s: 60, launch_p95_s: 80, copy_median_s: 30}
"""
HIGH_RESOLUTION = {"PredefinedMetricType": "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution"}


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    scenario = folder / "scenario.yaml"
    scenario.write_text(SCENARIO)
    with serving(folder / "facts.json", "--speed", "10", "--scenario", str(scenario)) as server:
        server.advance(20)
        # The API's first call enters the template's own target into its lists.
        server.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="sagemaker")
        yield server


def component(name: str) -> dict[str, str]:
    return {"ServiceNamespace": "sagemaker", "ResourceId": f"inference-component/{name}", "ScalableDimension": COPIES}


def as_options(target: dict[str, str]) -> list[str]:
    return [
        "--service-namespace", target["ServiceNamespace"],
        "--resource-id", target["ResourceId"],
        "--scalable-dimension", target["ScalableDimension"],
    ]  # fmt: skip


@pytest.fixture
def made(served, request) -> Iterator[dict[str, str]]:
    """A component of its own for a test, made over the API and taken away after it."""
    name = request.node.name.removeprefix("test_").replace("_", "-")[:40].strip("-")
    sagemaker = served.client("sagemaker")
    sagemaker.create_inference_component(
        InferenceComponentName=name,
        EndpointName="llm",
        VariantName="AllTraffic",
        Specification={
            "Container": {"Image": "111122223333.dkr.ecr.eu-west-1.amazonaws.com/llm:1"},
            "ComputeResourceRequirements": {"NumberOfAcceleratorDevicesRequired": 1, "MinMemoryRequiredInMb": 1024},
        },
        RuntimeConfig={"CopyCount": 1},
    )
    served.advance(60)
    found = sagemaker.describe_inference_component(InferenceComponentName=name)
    assert found["InferenceComponentStatus"] == "InService"
    yield component(name)
    served.load(0, f"inference-component/{name}")
    served.advance(30)
    sagemaker.delete_inference_component(InferenceComponentName=name)
    served.advance(30)


def left(served: Served) -> dict[str, Any]:
    """Everything that a registration may leave in the account, but for the history of what was done."""
    tables = served.client("dynamodb")
    (table,) = tables.list_tables()["TableNames"]
    items = [
        (item["pk"]["S"], item["sk"]["S"])
        for page in tables.get_paginator("scan").paginate(TableName=table)
        for item in page["Items"]
    ]
    autoscaling = served.client("application-autoscaling")
    cloudwatch, events = served.client("cloudwatch"), served.client("events")
    everything = {"ServiceNamespace": "sagemaker"}
    return {
        "items": sorted(one for one in items if not one[0].startswith(("ACTIVITY#", "BUDGET"))),
        "alarms": sorted(one["AlarmName"] for one in cloudwatch.describe_alarms()["MetricAlarms"]),
        "rules": sorted(one["Name"] for one in events.list_rules()["Rules"]),
        "schedules": sorted(one["Name"] for one in served.client("scheduler").list_schedules()["Schedules"]),
        "targets": [
            one["ResourceId"] for one in autoscaling.describe_scalable_targets(**everything)["ScalableTargets"]
        ],
        "policies": [
            one["PolicyName"] for one in autoscaling.describe_scaling_policies(**everything)["ScalingPolicies"]
        ],
        "actions": autoscaling.describe_scheduled_actions(**everything)["ScheduledActions"],
    }


def test_people_and_programs_are_told_the_same_url_and_environment(served):
    lines = served.told.splitlines()
    exports = dict(line.removeprefix("export ").split("=", 1) for line in lines if line.startswith("export "))
    assert exports == served.facts["environment"]
    assert set(exports) == {"AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert served.url in lines[0] and "111122223333" in lines[0]
    assert "signatures are not checked" in lines[1]
    assert served.state()["speed"] == served.facts["speed"] == 10


def test_the_aws_cli_takes_a_component_through_its_whole_life_and_nothing_is_left_behind(served, made):
    before = left(served)
    target, name = as_options(made), made["ResourceId"].rpartition("/")[2]
    autoscaling = "application-autoscaling"
    registered = served.aws(
        autoscaling, "register-scalable-target", *target, "--min-capacity", "1", "--max-capacity", "6"
    )
    assert ":scalable-target/" in registered["ScalableTargetARN"]
    configuration = {
        "TargetValue": 5.0,
        "PredefinedMetricSpecification": HIGH_RESOLUTION,
        "ScaleInCooldown": 60,
        "ScaleOutCooldown": 30,
    }
    put = served.aws(
        autoscaling, "put-scaling-policy", *target, "--policy-name", "busy", "--policy-type", "TargetTrackingScaling",
        "--target-tracking-scaling-policy-configuration", json.dumps(configuration),
    )  # fmt: skip
    assert len(put["Alarms"]) == 2
    served.aws(
        autoscaling, "put-scheduled-action", *target, "--scheduled-action-name", "night", "--schedule",
        "cron(0 22 * * ? *)", "--timezone", "Europe/Berlin", "--scalable-target-action", "MinCapacity=0,MaxCapacity=2",
    )  # fmt: skip
    during = left(served)
    # Two of the policy, and the one that wakes a component whose minimum may be 0.
    assert len(during["alarms"]) == len(before["alarms"]) + 3
    assert len(during["schedules"]) == 1

    served.load(24, made["ResourceId"])
    served.advance(180)
    runtime = served.aws("sagemaker", "describe-inference-component", "--inference-component-name", name)[
        "RuntimeConfig"
    ]
    assert runtime["DesiredCopyCount"] == runtime["CurrentCopyCount"] == 5
    done = served.aws(autoscaling, "describe-scaling-activities", *target)["ScalingActivities"]
    assert {one["StatusCode"] for one in done} == {"Successful"}
    assert "Setting desired copies to 5." in {one["Description"] for one in done}
    (high, _) = served.client("cloudwatch").describe_alarms(AlarmNames=[one["AlarmName"] for one in put["Alarms"]])[
        "MetricAlarms"
    ]
    assert (high["Period"], high["StateValue"]) == (10, "OK")

    served.aws(autoscaling, "deregister-scalable-target", *target)
    after = left(served)
    assert set(after["items"]) - set(before["items"]) == set()
    assert {**after, "items": None} == {**before, "items": None}
    ours = served.client(autoscaling)
    with pytest.raises(ours.exceptions.ObjectNotFoundException):
        ours.deregister_scalable_target(**made)
    assert served.state()["problems"] == []


def test_copies_follow_users_out_and_in_again_with_a_short_low_alarm(served, made):
    """Quickstep's own client brings its options over the same URL; boto3 sees the rest."""
    ours = clients.control(url=served.url, session=boto3.Session("test", "test", region_name="eu-west-1"))
    autoscaling = served.client("application-autoscaling")
    ours.register_scalable_target(**made, MinCapacity=1, MaxCapacity=6, QuickstepOptions={"Priority": 7})
    ours.put_scaling_policy(
        **made, PolicyName="busy", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0, "PredefinedMetricSpecification": HIGH_RESOLUTION, "ScaleInCooldown": 60,
        },
        QuickstepOptions={"LowAlarmEvaluationPeriods": 12},
    )  # fmt: skip
    (found,) = ours.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[made["ResourceId"]])[
        "ScalableTargets"
    ]
    assert found["QuickstepOptions"]["Priority"] == 7
    served.load(18, made["ResourceId"])
    assert served.advance(180)["resources"][made["ResourceId"]]["copies_current"] == 4
    served.load(0, made["ResourceId"])
    assert served.advance(480)["resources"][made["ResourceId"]]["copies_current"] == 1
    (policy,) = autoscaling.describe_scaling_policies(**made)["ScalingPolicies"]
    autoscaling.delete_scaling_policy(**made, PolicyName="busy")
    alarms = [alarm["AlarmName"] for alarm in policy["Alarms"]]
    assert len(alarms) == 2
    assert served.client("cloudwatch").describe_alarms(AlarmNames=alarms)["MetricAlarms"] == []
    autoscaling.deregister_scalable_target(**made)


# -- the forms of AWS's public notebooks --------------------------------------------------------------------------------


def test_the_notebooks_scale_to_zero_and_its_step_policy_with_an_alarm_of_its_own_wake_a_component(served, made):
    """aws-samples/sagemaker-genai-hosting-examples, scale to zero: the calls, one after the other."""
    autoscaling, cloudwatch = served.client("application-autoscaling"), served.client("cloudwatch")
    name = made["ResourceId"].rpartition("/")[2]
    autoscaling.register_scalable_target(**made, MinCapacity=0, MaxCapacity=4)
    autoscaling.put_scaling_policy(
        **made, PolicyName="target", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "PredefinedMetricSpecification": HIGH_RESOLUTION,
            "TargetValue": 5,
            "ScaleInCooldown": 60,
            "ScaleOutCooldown": 60,
        },
    )  # fmt: skip
    autoscaling.put_scaling_policy(
        **made, PolicyName="step", PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "MetricAggregationType": "Maximum",
            "Cooldown": 60,
            "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
        },
    )  # fmt: skip
    (step,) = autoscaling.describe_scaling_policies(ServiceNamespace="sagemaker", PolicyNames=["step"])[
        "ScalingPolicies"
    ]
    cloudwatch.put_metric_alarm(
        AlarmName="ic-step-scaling-alarm",
        AlarmActions=[step["PolicyARN"]],
        MetricName="NoCapacityInvocationFailures",
        Namespace="AWS/SageMaker",
        Statistic="Maximum",
        Dimensions=[{"Name": "InferenceComponentName", "Value": name}],
        Period=30,
        EvaluationPeriods=1,
        DatapointsToAlarm=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="missing",
    )
    asleep = served.advance(1200)["resources"][made["ResourceId"]]
    assert (asleep["copies_desired"], asleep["copies_current"]) == (0, 0)
    served.load(2, made["ResourceId"])
    awake = served.advance(150)["resources"][made["ResourceId"]]
    assert awake["copies_current"] >= 1
    (alarm,) = cloudwatch.describe_alarms(AlarmNames=["ic-step-scaling-alarm"])["MetricAlarms"]
    assert alarm["AlarmActions"] == [step["PolicyARN"]]
    history = cloudwatch.describe_alarm_history(AlarmName="ic-step-scaling-alarm", HistoryItemType="StateUpdate")
    assert any("to ALARM" in one["HistorySummary"] for one in history["AlarmHistoryItems"])
    autoscaling.deregister_scalable_target(**made)
    cloudwatch.delete_alarms(AlarmNames=["ic-step-scaling-alarm"])


def test_a_variant_is_tracked_stepped_and_scheduled_in_the_notebooks_forms(served):
    """aws/amazon-sagemaker-examples, autoscaling of a single-model endpoint, made with the notebooks' own calls too."""
    sagemaker, autoscaling = served.client("sagemaker"), served.client("application-autoscaling")
    role = "arn:aws:iam::111122223333:role/service-role/SageMaker"
    sagemaker.create_model(
        ModelName="one", ExecutionRoleArn=role, PrimaryContainer={"Image": "one", "ModelDataUrl": "s3://a/b"}
    )
    sagemaker.create_endpoint_config(
        EndpointConfigName="single-1",
        ProductionVariants=[
            {"VariantName": "AllTraffic", "ModelName": "one", "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
        ],
    )
    sagemaker.create_endpoint(EndpointName="single", EndpointConfigName="single-1")
    served.advance(200)
    assert sagemaker.describe_endpoint(EndpointName="single")["EndpointStatus"] == "InService"
    resource_id = "endpoint/single/variant/AllTraffic"
    target = {"ServiceNamespace": "sagemaker", "ResourceId": resource_id, "ScalableDimension": INSTANCES}
    autoscaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=4)
    autoscaling.put_scaling_policy(
        **target, PolicyName="concurrency", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 5.0,
            "PredefinedMetricSpecification": {
                "PredefinedMetricType": "SageMakerVariantConcurrentRequestsPerModelHighResolution"
            },
            "ScaleInCooldown": 180,
            "ScaleOutCooldown": 60,
        },
    )  # fmt: skip
    autoscaling.put_scaling_policy(
        **target, PolicyName="invocations", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 700.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "DisableScaleIn": True,
        },
    )  # fmt: skip
    autoscaling.put_scaling_policy(
        **target, PolicyName="gpu", PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 70.0,
            "CustomizedMetricSpecification": {
                "MetricName": "GPUUtilization",
                "Namespace": "/aws/sagemaker/Endpoints",
                "Dimensions": [
                    {"Name": "EndpointName", "Value": "single"},
                    {"Name": "VariantName", "Value": "AllTraffic"},
                ],
                "Statistic": "Average",
                "Unit": "Percent",
            },
        },
    )  # fmt: skip
    out = autoscaling.put_scaling_policy(
        **target, PolicyName="steps", PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity",
            "StepAdjustments": [
                {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": 20.0, "ScalingAdjustment": 1},
                {"MetricIntervalLowerBound": 20.0, "ScalingAdjustment": 2},
            ],
            "MetricAggregationType": "Average",
            "Cooldown": 300,
        },
    )  # fmt: skip
    assert out["Alarms"] == []
    autoscaling.put_scheduled_action(
        **target, ScheduledActionName="morning", Schedule="cron(0 6 ? * MON-FRI *)", Timezone="UTC",
        ScalableTargetAction={"MinCapacity": 2, "MaxCapacity": 4},
    )  # fmt: skip
    pages = autoscaling.get_paginator("describe_scaling_policies").paginate(
        **target, PaginationConfig={"PageSize": 2}
    )  # fmt: skip
    found = [policy["PolicyName"] for page in pages for policy in page["ScalingPolicies"]]
    assert sorted(found) == ["concurrency", "gpu", "invocations", "steps"]
    served.load(14, resource_id)
    served.advance(240)
    variant = sagemaker.describe_endpoint(EndpointName="single")["ProductionVariants"][0]
    assert variant["DesiredInstanceCount"] >= 3
    autoscaling.deregister_scalable_target(**target)
    assert served.client("scheduler").list_schedules()["Schedules"] == []
    served.load(0, resource_id)
    sagemaker.delete_endpoint(EndpointName="single")


def test_a_scheduled_action_fires_at_its_time_and_takes_the_copies_with_it(served, made):
    autoscaling = served.client("application-autoscaling")
    autoscaling.register_scalable_target(**made, MinCapacity=1, MaxCapacity=4)
    autoscaling.put_scheduled_action(
        **made, ScheduledActionName="more", Schedule="rate(2 minutes)", ScalableTargetAction={"MinCapacity": 3}
    )
    after = served.advance(240)["resources"][made["ResourceId"]]
    assert after["copies_current"] == 3
    told = autoscaling.describe_scaling_activities(**made)["ScalingActivities"]
    assert any("scheduled action name more was triggered" in one["Cause"] for one in told)
    autoscaling.deregister_scalable_target(**made)


# -- other ways to look at the account ------------------------------------------------------------------------------------


def test_the_cli_invokes_a_function_with_a_payload_and_writes_its_answer(served, tmp_path):
    functions = served.client("lambda").list_functions()["Functions"]
    (control,) = [one["FunctionName"] for one in functions if "ControlFunction" in one["FunctionName"]]
    answer = tmp_path / "answer.json"
    event = {"operation": "describe-scalable-targets", "parameters": {"ServiceNamespace": "sagemaker"}}
    told = served.aws("lambda", "invoke", "--function-name", control, "--payload", json.dumps(event), str(answer))
    assert (told["StatusCode"], told["ExecutedVersion"]) == (200, "$LATEST")
    (target,) = json.loads(answer.read_text())["ScalableTargets"]
    assert target["ResourceId"] == "inference-component/chat"


def test_what_functions_wrote_is_in_their_log_group_page_by_page(served):
    served.advance(120)
    logs = served.client("logs")
    groups = [one["logGroupName"] for one in logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/")["logGroups"]]
    (group,) = [one for one in groups if "OnAlarmFunction" in one]
    pages = logs.get_paginator("filter_log_events").paginate(logGroupName=group, PaginationConfig={"PageSize": 1})
    events = [event for page in pages for event in page["events"]]
    assert len(events) >= 2
    assert [one["timestamp"] for one in events] == sorted(one["timestamp"] for one in events)
    assert all(json.loads(one["message"]) for one in events)
    (stream,) = logs.describe_log_streams(logGroupName=group)["logStreams"]
    last = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], limit=1)["events"]
    assert [one["message"] for one in last] == [events[-1]["message"]]
    logs.create_log_group(logGroupName="/mine")
    assert {"/mine", group} <= {one["logGroupName"] for one in logs.describe_log_groups()["logGroups"]}
    nothing = logs.filter_log_events(logGroupName=group, filterPattern='"no such words"')["events"]
    assert nothing == []


def test_one_client_of_every_service_of_the_account_gets_an_answer_in_shape(served):
    stack = {
        one["OutputKey"]: one["OutputValue"]
        for one in served.client("cloudformation").describe_stacks()["Stacks"][0]["Outputs"]
    }
    machine = served.client("stepfunctions").describe_state_machine(stateMachineArn=stack["ScalingLoopArn"])
    assert machine["name"] == "quickstep-scaling-loop"
    put = served.client("events").put_events(Entries=[{"Source": "mine", "DetailType": "t", "Detail": "{}"}])
    assert put["FailedEntryCount"] == 0
    assert served.client("sts").get_caller_identity()["Account"] == "111122223333"
    assert stack["DeadLetterQueueUrl"] in served.client("sqs").list_queues()["QueueUrls"]
    assert served.client("service-quotas").list_service_quotas(ServiceCode="sagemaker")["Quotas"] == []
    (topic,) = served.client("sns").list_topics()["Topics"]
    assert "OperatorsTopic" in topic["TopicArn"]
    cloudwatch = served.client("cloudwatch")
    cloudwatch.put_metric_data(Namespace="mine", MetricData=[{"MetricName": "m", "Value": 2.0}] * 200)
    served.advance(60)
    assert cloudwatch.list_metrics(Namespace="mine")["Metrics"] == [
        {"Namespace": "mine", "MetricName": "m", "Dimensions": []}
    ]
    with pytest.raises(cloudwatch.exceptions.ResourceNotFound):
        cloudwatch.set_alarm_state(AlarmName="nope", StateValue="OK", StateReason="test")
    tables = served.client("dynamodb")
    item = {"pk": {"S": "mine"}, "sk": {"S": "1"}, "bytes": {"B": b"\x00\xff"}}
    tables.put_item(TableName=stack["RegistryTableName"], Item=item)
    with pytest.raises(tables.exceptions.ConditionalCheckFailedException) as failed:
        tables.put_item(
            TableName=stack["RegistryTableName"], Item=item, ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure="ALL_OLD",
        )  # fmt: skip
    assert failed.value.response["Item"] == item
    tables.delete_item(TableName=stack["RegistryTableName"], Key={name: item[name] for name in ("pk", "sk")})


def test_services_that_the_account_lacks_are_motos_in_the_same_account(served):
    served.client("ssm").put_parameter(Name="/mine", Value="1", Type="String")
    assert served.client("ssm").get_parameter(Name="/mine")["Parameter"]["Value"] == "1"
    served.client("s3").create_bucket(Bucket="mine", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    served.client("s3").put_object(Bucket="mine", Key="a/b c", Body=b"\x00hello")
    assert served.client("s3").get_object(Bucket="mine", Key="a/b c")["Body"].read() == b"\x00hello"
    assert served.client("s3").head_object(Bucket="mine", Key="a/b c")["ContentLength"] == 6
    role = served.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    assert role == "arn:aws:iam::111122223333:role/r"
    with pytest.raises(ClientError) as gap:
        served.client("braket").search_devices(filters=[])
    assert gap.value.response["Error"]["Code"] == "NotImplemented"
    assert gap.value.response["ResponseMetadata"]["RetryAttempts"] == 0
