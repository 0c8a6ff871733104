"""SageMaker's answers become facts, and only the two writes that exist go out; so with loops and foreign scalers.

The SDK's own stub checks every request and answer against the service models.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from botocore.stub import Stubber

from quickstep.errors import (
    AccessDenied,
    ComponentNotFound,
    ComponentUpdating,
    EndpointNotFound,
    EndpointUpdating,
    OutcomeUnknown,
    QuotaExceeded,
    Rejected,
)
from quickstep.gateways import autoscaling, aws, loops, sagemaker
from quickstep.model.observation import ComponentStatus, EndpointStatus, Requirements
from quickstep.model.targets import TargetId

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
COMPONENT_ARN = "arn:aws:sagemaker:us-east-1:111122223333:inference-component/chat"
ENDPOINT_ARN = "arn:aws:sagemaker:us-east-1:111122223333:endpoint/llm"
MACHINE = "arn:aws:states:us-east-1:111122223333:stateMachine:prod-ScalingLoop"


@pytest.fixture(autouse=True)
def account(monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    aws.forget_clients()
    yield
    aws.forget_clients()


@pytest.fixture
def reads():
    with Stubber(aws.client("sagemaker")) as stub:
        yield stub
        stub.assert_no_pending_responses()


@pytest.fixture
def writes():
    with Stubber(aws.write_client("sagemaker")) as stub:
        yield stub
        stub.assert_no_pending_responses()


def endpoint_answer(*variants, status="InService", **more):
    return {
        "EndpointName": "llm",
        "EndpointArn": ENDPOINT_ARN,
        "EndpointConfigName": "llm-7",
        "EndpointStatus": status,
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "ProductionVariants": list(variants),
        **more,
    }


def component_answer(status="Updating", **more):
    return {
        "InferenceComponentName": "chat",
        "InferenceComponentArn": COMPONENT_ARN,
        "EndpointName": "llm",
        "EndpointArn": ENDPOINT_ARN,
        "VariantName": "AllTraffic",
        "CreationTime": NOW,
        "LastModifiedTime": NOW,
        "InferenceComponentStatus": status,
        "RuntimeConfig": {"DesiredCopyCount": 4, "CurrentCopyCount": 2},
        **more,
    }


NEEDS = {
    "NumberOfCpuCoresRequired": 2.0,
    "NumberOfAcceleratorDevicesRequired": 1.0,
    "MinMemoryRequiredInMb": 1024,
    "MaxMemoryRequiredInMb": 4096,
}


def needs(**more):
    return {"ComputeResourceRequirements": {**NEEDS, **more}}


ROLLING = {
    "RollingUpdatePolicy": {"MaximumBatchSize": {"Type": "COPY_COUNT", "Value": 1}, "WaitIntervalInSeconds": 60},
}


# -- endpoints --------------------------------------------------------------------------------------------------------


def test_an_endpoint_is_read_whole(reads):
    variant = {
        "VariantName": "AllTraffic",
        "CurrentInstanceCount": 3,
        "DesiredInstanceCount": 5,
        "VariantStatus": [
            {"Status": "Updating", "StatusMessage": "Scaling out", "StartTime": NOW},
            {"Status": "Baking"},
        ],
        "ManagedInstanceScaling": {"Status": "ENABLED", "MinInstanceCount": 1, "MaxInstanceCount": 8},
        "InstancePools": [{"InstanceType": "ml.g5.xlarge", "CurrentInstanceCount": 3}],
    }
    answer = endpoint_answer(variant, status="Updating", FailureReason="it failed once")
    reads.add_response("describe_endpoint", answer, {"EndpointName": "llm"})

    endpoint = sagemaker.describe_endpoint("llm")

    assert (endpoint.name, endpoint.status, endpoint.config_name) == ("llm", EndpointStatus.UPDATING, "llm-7")
    assert endpoint.failure_reason == "it failed once"
    assert endpoint.last_modified_s == NOW.timestamp()
    (found,) = endpoint.variants
    assert (found.name, found.instance_type) == ("AllTraffic", "ml.g5.xlarge")
    assert (found.current_instances, found.desired_instances) == (3, 5)
    assert (found.managed, found.managed_min, found.managed_max) == (True, 1, 8)
    assert found.statuses == ("Updating", "Baking")


# what one variant answers, what is read of it: (current, desired, type, managed); None = the variant is left out
VARIANTS = [
    ({"CurrentInstanceCount": 1, "DesiredInstanceCount": 0}, (1, 0, None, False)),
    ({"CurrentInstanceCount": 0, "DesiredInstanceCount": 0}, (0, 0, None, False)),
    ({"CurrentInstanceCount": 1, "DesiredInstanceCount": 1, "ManagedInstanceScaling": {"Status": "DISABLED"}}, (1, 1, None, False)),
    ({"CurrentInstanceCount": 1, "DesiredInstanceCount": 1, "ManagedInstanceScaling": {"MinInstanceCount": 1}}, (1, 1, None, False)),
    (
        {
            "DesiredInstanceCount": 3,
            "InstancePools": [
                {"InstanceType": "ml.g5.xlarge", "CurrentInstanceCount": 1},
                {"InstanceType": "ml.g6.xlarge", "CurrentInstanceCount": 2},
            ],
        },
        (3, 3, None, False),
    ),
    ({"DesiredInstanceCount": 3}, None),
    ({"CurrentInstanceCount": 3}, None),
    ({}, None),
    (
        {"CurrentInstanceCount": 0, "DesiredInstanceCount": 0, "CurrentServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}},
        None,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("row", "want"), VARIANTS, ids=range(len(VARIANTS)))
def test_a_variant_is_read_or_left_out_but_its_instances_are_never_made_up(reads, row, want):
    reads.add_response("describe_endpoint", endpoint_answer({"VariantName": "v", **row}))
    found = sagemaker.describe_endpoint("llm").variant("v")
    assert want == (found and (found.current_instances, found.desired_instances, found.instance_type, found.managed))


def test_an_endpoint_being_created_has_no_variants_yet(reads):
    answer = endpoint_answer(status="Creating")
    del answer["ProductionVariants"]
    reads.add_response("describe_endpoint", answer)
    endpoint = sagemaker.describe_endpoint("llm")
    assert (endpoint.status, endpoint.variants) == (EndpointStatus.CREATING, ())


def enum(shape):
    return aws.client("sagemaker").meta.service_model.shape_for(shape).enum


def test_every_status_word_of_the_service_model_is_known_and_a_new_one_is_unknown(reads):
    words = enum("EndpointStatus")
    for word in [*words, "Hibernating"]:
        variant = {"VariantName": "v", "CurrentInstanceCount": 1, "DesiredInstanceCount": 1}
        reads.add_response("describe_endpoint", endpoint_answer(variant, status=word))
    assert [sagemaker.describe_endpoint("llm").status for _ in words] == words
    assert sagemaker.describe_endpoint("llm").status is EndpointStatus.UNKNOWN


def test_instance_types_come_from_the_endpoint_configuration(reads):
    variants = [
        {"VariantName": "a", "InstanceType": "ml.g5.2xlarge"},
        {"VariantName": "b", "InstancePools": [{"InstanceType": "ml.g6.xlarge", "Priority": 1}]},
        {
            "VariantName": "c",
            "InstancePools": [
                {"InstanceType": "ml.g6.xlarge", "Priority": 1},
                {"InstanceType": "ml.g5.xlarge", "Priority": 2},
            ],
        },
        {"VariantName": "d", "ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1}},
    ]
    answer = {
        "EndpointConfigName": "llm-7",
        "EndpointConfigArn": "arn:aws:sagemaker:us-east-1:111122223333:endpoint-config/llm-7",
        "ProductionVariants": variants,
        "CreationTime": NOW,
    }
    reads.add_response("describe_endpoint_config", answer, {"EndpointConfigName": "llm-7"})
    types = sagemaker.describe_instance_types("llm-7")
    assert types == {"a": "ml.g5.2xlarge", "b": "ml.g6.xlarge", "c": None, "d": None}


# -- inference components ---------------------------------------------------------------------------------------------


def test_a_component_is_read_whole(reads):
    specification = {**needs(), "SchedulingConfig": {"PlacementStrategy": "BINPACK"}}
    answer = component_answer(Specification=specification, FailureReason="no room")
    reads.add_response("describe_inference_component", answer, {"InferenceComponentName": "chat"})

    component = sagemaker.describe_component("chat")

    assert (component.name, component.endpoint, component.variant) == ("chat", "llm", "AllTraffic")
    assert (component.status, component.is_stable) == (ComponentStatus.UPDATING, False)
    assert (component.desired_copies, component.current_copies) == (4, 2)
    assert component.requirements == Requirements(accelerators=1.0, cpu_cores=2.0, memory_mb=1024)
    assert (component.placement, component.failure_reason) == ("BINPACK", "no room")
    assert (component.rolling_update, component.base_component) == (False, None)


# specification fields, requirements, placement
SPECIFICATIONS = [
    ({}, None, "SPREAD"),
    ({"Specification": {"ModelName": "m"}}, None, "SPREAD"),
    ({"Specification": {"ComputeResourceRequirements": {"MinMemoryRequiredInMb": 128}}}, Requirements(0.0, 0.0, 128), "SPREAD"),
    ({"Specification": {**needs(), "SchedulingConfig": {"PlacementStrategy": "SPREAD"}}}, Requirements(1.0, 2.0, 1024), "SPREAD"),
    # one specification per instance type: the largest of each resource, and packed only if packed everywhere
    (
        {
            "Specifications": [
                {"InstanceType": "ml.g5.xlarge", **needs(NumberOfAcceleratorDevicesRequired=1.0, MinMemoryRequiredInMb=8192)},
                {
                    "InstanceType": "ml.g6.xlarge",
                    **needs(NumberOfAcceleratorDevicesRequired=2.0),
                    "SchedulingConfig": {"PlacementStrategy": "BINPACK"},
                },
            ]
        },
        Requirements(2.0, 2.0, 8192),
        "SPREAD",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "requirements", "placement"), SPECIFICATIONS, ids=range(len(SPECIFICATIONS)))
def test_requirements_come_from_one_specification_or_from_several(reads, fields, requirements, placement):
    reads.add_response("describe_inference_component", component_answer(**fields))
    component = sagemaker.describe_component("chat")
    assert (component.requirements, component.placement) == (requirements, placement)


def test_an_adapter_names_its_base_and_needs_no_counts(reads):
    answer = component_answer(status="InService", Specification={"BaseInferenceComponentName": "llama"})
    del answer["RuntimeConfig"]
    reads.add_response("describe_inference_component", answer)
    component = sagemaker.describe_component("chat")
    assert (component.base_component, component.requirements) == ("llama", None)
    assert (component.desired_copies, component.current_copies) == (0, 0)


# status, deployment, suspected
ROLLOUTS = [
    ("Updating", ROLLING, True),
    ("Updating", None, False),
    ("InService", ROLLING, False),
    ("Failed", ROLLING, False),
    ("Creating", ROLLING, False),
]


@pytest.mark.parametrize(("status", "deployment", "suspected"), ROLLOUTS)
def test_a_rolling_update_is_suspected_only_while_updating_under_a_rolling_policy(reads, status, deployment, suspected):
    more = {"LastDeploymentConfig": deployment} if deployment else {}
    reads.add_response("describe_inference_component", component_answer(status, **more))
    assert sagemaker.describe_component("chat").rolling_update is suspected


def test_every_component_status_of_the_service_model_is_known_and_a_new_one_forbids_writing(reads):
    words = enum("InferenceComponentStatus")
    for word in [*words, "Hibernating"]:
        reads.add_response("describe_inference_component", component_answer(word))
    assert [sagemaker.describe_component("chat").status for _ in words] == words
    unknown = sagemaker.describe_component("chat")
    assert (unknown.status, unknown.is_stable) == (ComponentStatus.UPDATING, False)


# status, RuntimeConfig, (desired, current) or what the error names
COUNTS = [
    ("InService", {"DesiredCopyCount": 0, "CurrentCopyCount": 0}, (0, 0)),
    ("Creating", {"DesiredCopyCount": 3}, (3, 0)),
    ("Creating", None, "DesiredCopyCount"),
    ("InService", {"DesiredCopyCount": 3}, "CurrentCopyCount"),
    ("Updating", {"CurrentCopyCount": 3}, "DesiredCopyCount"),
    ("InService", None, "DesiredCopyCount"),
]


@pytest.mark.parametrize(("status", "counts", "want"), COUNTS)
def test_a_missing_count_is_an_error_never_a_zero(reads, status, counts, want):
    answer = component_answer(status)
    del answer["RuntimeConfig"]
    reads.add_response("describe_inference_component", answer | ({"RuntimeConfig": counts} if counts else {}))
    if isinstance(want, tuple):
        component = sagemaker.describe_component("chat")
        assert (component.desired_copies, component.current_copies) == want
    else:
        with pytest.raises(OutcomeUnknown, match=f"inference component chat.*RuntimeConfig.{want}"):
            sagemaker.describe_component("chat")


@pytest.mark.parametrize(
    ("value", "want"),
    [(3.0, 3), (0, 0), (3, 3), (2.5, None), (-1, None), (True, None), (float("nan"), None), ("3", None), (None, None)],
)
def test_a_count_may_be_written_as_a_float_and_nothing_else(value, want):
    # Stubber would refuse these values; the emulated account and other SDKs deliver them.
    assert sagemaker._count(value) == want


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (NOW, 1_767_268_800.0),
        (datetime(2026, 1, 1, 12, 0, 0), 1_767_268_800.0),
        (1_767_268_800, 1_767_268_800.0),
        (None, None),
        ("2026-01-01", None),
    ],
)
def test_times_become_seconds_since_the_epoch(value, want):
    assert sagemaker.seconds(value) == want


def summary_row(name, status="InService"):
    return {
        "CreationTime": NOW,
        "InferenceComponentArn": COMPONENT_ARN,
        "InferenceComponentName": name,
        "EndpointArn": ENDPOINT_ARN,
        "EndpointName": "llm",
        "VariantName": "AllTraffic",
        "InferenceComponentStatus": status,
        "LastModifiedTime": NOW,
    }


def test_all_components_of_an_endpoint_are_listed_over_pages_whatever_their_status(reads):
    first = {"MaxResults": 100, "SortBy": "Name", "SortOrder": "Ascending", "EndpointNameEquals": "llm"}
    page = {"InferenceComponents": [summary_row("chat"), summary_row("embed", "Deleting")], "NextToken": "more"}
    reads.add_response("list_inference_components", page, first)
    last = {"InferenceComponents": [summary_row("draft", "Failed")]}
    reads.add_response("list_inference_components", last, {**first, "NextToken": "more"})
    assert sagemaker.list_components("llm") == ("chat", "draft", "embed")


def test_the_whole_account_can_be_listed_for_what_changed(reads):
    expected = {"MaxResults": 100, "SortBy": "Name", "SortOrder": "Ascending", "LastModifiedTimeAfter": NOW}
    reads.add_response(
        "list_inference_components", {"InferenceComponents": [summary_row("chat", "Updating")]}, expected
    )
    (found,) = sagemaker.component_summaries(changed_after_s=NOW.timestamp())
    assert (found.name, found.endpoint, found.variant) == ("chat", "llm", "AllTraffic")
    assert (found.status, found.last_modified_s) == (ComponentStatus.UPDATING, NOW.timestamp())


# -- writes -----------------------------------------------------------------------------------------------------------


def test_setting_copies_sends_exactly_the_count(writes):
    expected = {"InferenceComponentName": "chat", "DesiredRuntimeConfig": {"CopyCount": 5}}
    answer = {"InferenceComponentArn": COMPONENT_ARN}
    writes.add_response("update_inference_component_runtime_config", answer, expected)
    assert sagemaker.set_copies("chat", 5) is None


def test_setting_instances_leaves_the_weight_alone(writes):
    expected = {
        "EndpointName": "llm",
        "DesiredWeightsAndCapacities": [{"VariantName": "AllTraffic", "DesiredInstanceCount": 7}],
    }
    writes.add_response("update_endpoint_weights_and_capacities", {"EndpointArn": ENDPOINT_ARN}, expected)
    assert sagemaker.set_instances("llm", "AllTraffic", 7) is None


# call, operation, code, text, class, what the message names
REFUSALS = [
    (lambda: sagemaker.set_copies("chat", 5), "update_inference_component_runtime_config", "ValidationException",
     "Cannot update inference component chat while it is in state UPDATE_RC_IN_PROGRESS", ComponentUpdating, "chat to 5 copies"),
    (lambda: sagemaker.set_copies("chat", 5), "update_inference_component_runtime_config", "ValidationException",
     'Could not find inference component "chat".', ComponentNotFound, "chat to 5 copies"),
    (lambda: sagemaker.set_instances("llm", "v", 7), "update_endpoint_weights_and_capacities", "ValidationException",
     'Cannot update in-progress endpoint "arn".', EndpointUpdating, "llm variant v to 7 instances"),
    (lambda: sagemaker.set_instances("llm", "v", 7), "update_endpoint_weights_and_capacities", "ResourceLimitExceeded",
     "The account-level service limit 'ml.g5.xlarge for endpoint usage' is 4 Instances, with current utilization of 4 Instances",
     QuotaExceeded, "llm variant v to 7 instances"),
    (lambda: sagemaker.set_copies("chat", 5), "update_inference_component_runtime_config", "AccessDeniedException",
     "is not authorized to perform", AccessDenied, "chat to 5 copies"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "operation", "code", "text", "kind", "names"), REFUSALS)
def test_a_refused_write_is_a_typed_error_that_names_the_resource_and_the_count(
    writes, call, operation, code, text, kind, names
):
    writes.add_client_error(operation, code, text, 400)
    with pytest.raises(kind, match=names):
        call()


def test_a_server_error_on_a_write_is_an_unknown_outcome_after_one_attempt(writes):
    # A second attempt would find no response queued in the stub and raise another error.
    writes.add_client_error("update_inference_component_runtime_config", "InternalFailure", "", 500)
    with pytest.raises(OutcomeUnknown):
        sagemaker.set_copies("chat", 5)


def test_a_negative_count_is_rejected_before_it_is_sent(writes):
    with pytest.raises(Rejected, match="-1"):
        sagemaker.set_copies("chat", -1)


def test_a_missing_endpoint_is_an_error_of_its_own(reads):
    reads.add_client_error("describe_endpoint", "ValidationException", 'Could not find endpoint "arn".', 400)
    with pytest.raises(EndpointNotFound, match="describe endpoint llm"):
        sagemaker.describe_endpoint("llm")


# -- clients ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("make", "attempts"), [(aws.client, 3), (aws.write_client, 1)])
def test_clients_give_up_early_and_only_reads_are_repeated(make, attempts):
    config = make("sagemaker").meta.config
    assert (config.connect_timeout, config.read_timeout) == (2, 5)
    assert (config.retries["mode"], config.retries["total_max_attempts"]) == ("standard", attempts)


def test_a_client_is_made_once_and_again_after_being_forgotten(monkeypatch):
    first = aws.client("sagemaker")
    assert aws.client("sagemaker") is first
    assert aws.write_client("sagemaker") is not first
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    aws.forget_clients()
    assert aws.client("sagemaker").meta.region_name == "eu-west-1"


def test_forgotten_clients_come_back_with_the_credentials_of_that_moment(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    aws.forget_clients()
    signed = []
    for key in ("FIRST", "SECOND"):
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        aws.forget_clients()
        client = aws.write_client("sagemaker")
        client.meta.events.register("before-send", lambda request, **_: signed.append(request.headers["Authorization"]))
        with pytest.raises(OutcomeUnknown), sagemaker.translated("describe endpoint llm"):
            client.describe_endpoint(EndpointName="llm")
    assert [re.search(rb"Credential=(\w+)/", header)[1] for header in signed] == [b"FIRST", b"SECOND"]


@pytest.mark.parametrize(("make", "attempts"), [(aws.client, 3), (aws.write_client, 1)])
def test_a_lost_connection_is_tried_that_often_on_the_wire(make, attempts, monkeypatch):
    # Port 9 on the local machine refuses at once; the SDK's own waits between attempts are cut to nothing.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    aws.forget_clients()
    sends = []
    client = make("sagemaker")
    client.meta.events.register("before-send", lambda request, **_: sends.append(request.method))
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    with pytest.raises(OutcomeUnknown), sagemaker.translated("describe endpoint llm"):
        client.describe_endpoint(EndpointName="llm")
    assert len(sends) == attempts


# -- loops ------------------------------------------------------------------------------------------------------------

EXECUTION = MACHINE.replace("stateMachine", "execution") + ":llm-3"


@pytest.fixture
def states():
    with Stubber(aws.client("stepfunctions")) as stub:
        yield stub
        stub.assert_no_pending_responses()


def test_a_loop_is_started_under_the_name_of_endpoint_and_generation(states):
    payload = json.dumps({"endpoint": "llm", "generation": 3, "v": 1})
    expected = {"stateMachineArn": MACHINE, "name": "llm-3", "input": payload}
    states.add_response("start_execution", {"executionArn": EXECUTION, "startDate": NOW}, expected)
    assert loops.start_loop("llm", 3, machine_arn=MACHINE) is True


def test_a_name_whose_execution_has_ended_starts_nothing(states):
    states.add_client_error("start_execution", "ExecutionAlreadyExists", "Execution Already Exists", 400)
    assert loops.start_loop("llm", 3, machine_arn=MACHINE) is False


def test_a_missing_state_machine_is_an_error(states):
    states.add_client_error("start_execution", "StateMachineDoesNotExist", "State Machine Does Not Exist", 400)
    with pytest.raises(Rejected, match="start loop llm-3"):
        loops.start_loop("llm", 3, machine_arn=MACHINE)


def test_a_loop_runs_or_has_ended_for_every_status_of_the_service_model(states):
    words = aws.client("stepfunctions").meta.service_model.shape_for("ExecutionStatus").enum
    for word in words:
        answer = {"executionArn": EXECUTION, "stateMachineArn": MACHINE, "status": word, "startDate": NOW}
        states.add_response("describe_execution", answer, {"executionArn": EXECUTION, "includedData": "METADATA_ONLY"})
    running = {word: loops.loop_is_running("llm", 3, machine_arn=MACHINE) for word in words}
    assert {word for word, runs in running.items() if runs} == {"RUNNING", "PENDING_REDRIVE"}
    assert None not in running.values()


def test_a_loop_that_nobody_has_seen_is_neither_running_nor_ended(states):
    states.add_client_error("describe_execution", "ExecutionDoesNotExist", "Execution Does Not Exist", 400)
    assert loops.loop_is_running("llm", 3, machine_arn=MACHINE) is None


# endpoint, generation
NAMES = [
    ("llm", 0),
    ("llm", 12),
    ("l" * 63, 10**9),
    ("l" * 78, 1),
    ("l" * 79, 1),
    ("l" * 200, 10**9),
    ("a b/ç", 1),
    ("a.b", 1),
]


@pytest.mark.parametrize(("endpoint", "generation"), NAMES)
def test_an_execution_name_is_one_that_step_functions_takes(endpoint, generation):
    name = loops.execution_name(endpoint, generation)
    assert len(name) <= 80
    assert re.fullmatch(r"[0-9A-Za-z._-]+", name)
    assert name.endswith(f"-{generation}")


def test_execution_names_differ_where_shortening_would_make_them_equal():
    endpoints = ["l" * 79, "l" * 80, "l" * 81, "a b", "a_b", "a/b", "llm", "llm-1"]
    names = {loops.execution_name(endpoint, generation) for endpoint in endpoints for generation in (1, 11)}
    assert len(names) == 2 * len(endpoints)


@pytest.mark.parametrize("suffix", ["", ":7", ":live"])
def test_an_executions_arn_leaves_out_version_and_alias(suffix):
    arn = MACHINE.replace("aws", "aws-us-gov", 1) + suffix
    assert loops.execution_arn(arn, "llm-3") == EXECUTION.replace("aws", "aws-us-gov", 1)


# -- Application Auto Scaling -----------------------------------------------------------------------------------------


@pytest.fixture
def scaling():
    with Stubber(aws.client("application-autoscaling")) as stub:
        yield stub
        stub.assert_no_pending_responses()


def scalable_target(target_id, **suspended):
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": target_id.resource_id,
        "ScalableDimension": str(target_id.dimension),
        "MinCapacity": 1,
        "MaxCapacity": 8,
        "RoleARN": "arn:aws:iam::111122223333:role/aws-service-role/x",
        "CreationTime": NOW,
        **({"SuspendedState": suspended} if suspended else {}),
    }


OUT, IN, PLANNED = "DynamicScalingOutSuspended", "DynamicScalingInSuspended", "ScheduledScalingSuspended"
# suspended, what is still live
SUSPENSIONS = [
    ({}, "scale-out, scale-in, scheduled scaling"),
    ({OUT: True, IN: True, PLANNED: False}, "scheduled scaling"),
    ({OUT: False, IN: True, PLANNED: True}, "scale-out"),
    ({IN: True, PLANNED: True}, "scale-out"),
    ({OUT: True, IN: True, PLANNED: True}, None),
]


@pytest.mark.parametrize("target_id", [TargetId.of_component("chat"), TargetId.of_variant("llm", "v")], ids=str)
@pytest.mark.parametrize(("suspended", "live"), SUSPENSIONS)
def test_a_foreign_scaler_is_reported_unless_it_is_fully_suspended(scaling, target_id, suspended, live):
    expected = {
        "ServiceNamespace": "sagemaker",
        "ResourceIds": [target_id.resource_id],
        "ScalableDimension": str(target_id.dimension),
    }
    answer = {"ScalableTargets": [scalable_target(target_id, **suspended)]}
    scaling.add_response("describe_scalable_targets", answer, expected)
    found = autoscaling.foreign_scaler(target_id)
    if live is None:
        assert found is None
    else:
        assert found.endswith(f"not suspended: {live}")
        assert target_id.resource_id in found
        assert "1 to 8" in found


def test_an_unregistered_target_has_no_foreign_scaler(scaling):
    scaling.add_response("describe_scalable_targets", {"ScalableTargets": []})
    assert autoscaling.foreign_scaler(TargetId.of_component("chat")) is None


def test_not_being_allowed_to_look_is_not_the_same_as_nobody_being_there(scaling):
    scaling.add_client_error("describe_scalable_targets", "AccessDeniedException", "is not authorized to perform", 400)
    with pytest.raises(AccessDenied):
        autoscaling.foreign_scaler(TargetId.of_component("chat"))
