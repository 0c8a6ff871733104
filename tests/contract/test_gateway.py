"""The gateway's part of the template: off by default, and when it is on, bound like everything else."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from quickstep.errors import InvalidSettings
from quickstep.front import settings as gateway
from quickstep.front.lambda_runtime import ERROR_BODY, ERROR_TYPE
from simulator.account import EmulatedAccount
from simulator.aws.iam_policy import Request
from simulator.errors import ServiceError
from simulator.run import put_endpoint, sagemaker_options
from simulator.scenario import Scenario
from simulator.template import Stack, TemplateError, load_stack
from tests.contract.reach import Code, handlers, sources
from tests.contract.test_iam import permission_findings, policy_findings
from tests.contract.test_template import NEVER_LEASES, function_findings, lint_findings
from tests.contract.translated import PARAMETERS, ROOT, TEMPLATE, changed, cloudformation, source

SWITCH = (
    '    Default: "No"\n    AllowedValues: ["Yes", "No"]\n    Description: Deploy a function URL',
    '    Default: "Yes"\n    AllowedValues: ["Yes", "No"]\n    Description: Deploy a function URL',
)
"""The same template with the gateway on unless somebody says otherwise, for checks that deploy it with its defaults."""
WRAPPER = ROOT / "layers" / "core" / "bin" / "quickstep-front"
ADAPTER = "arn:aws:lambda:eu-west-1:111122223333:layer:LambdaAdapterLayerArm64:27"


def deployed(**given: str) -> Stack:
    return load_stack(TEMPLATE, {**PARAMETERS, "GatewayEnabled": "Yes", **given})


@pytest.fixture
def switched_on(tmp_path) -> Path:
    return changed(tmp_path, SWITCH)


def test_nothing_of_the_gateway_is_deployed_unless_it_is_asked_for():
    without = load_stack(TEMPLATE, PARAMETERS)
    assert [one for one in without.resources if "Gateway" in one] == []
    added = set(deployed().resources) - set(without.resources)
    assert added == {"GatewayFunction", "GatewayFunctionUrl", "GatewayPolicy", "GatewayRole"}


def test_cfn_lint_finds_nothing_with_the_gateway_on(switched_on):
    assert lint_findings(cloudformation(switched_on)) == []


def test_the_gateway_may_do_exactly_what_its_code_can_reach(switched_on):
    assert permission_findings(switched_on) == []
    assert policy_findings(switched_on) == []
    assert function_findings(switched_on) == []


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (("[dynamodb:PutItem, dynamodb:DeleteItem]", "dynamodb:PutItem"), "GatewayFunction may not dynamodb:DeleteItem"),
        (
            ("sagemaker:InvokeEndpoint, sagemaker:InvokeEndpointWithResponseStream", "sagemaker:InvokeEndpoint"),
            "GatewayFunction may not sagemaker:InvokeEndpointWithResponseStream",
        ),
        (
            ("[dynamodb:GetItem, dynamodb:Query]\n            Resource: [", "[dynamodb:GetItem, dynamodb:Query, dynamodb:Scan]\n            Resource: ["),
            "GatewayFunction never needs dynamodb:Scan",
        ),
    ],
    ids=["one taken away", "only half of invoking", "one too many"],
)  # fmt: skip
def test_a_permission_of_the_gateway_that_is_changed_alone_is_noticed(tmp_path, edit, said):
    assert said in permission_findings(changed(tmp_path, SWITCH, edit))


def test_the_gateway_can_change_no_count_and_never_takes_the_write_lease():
    code = Code(sources(), handlers())
    reached = code.reached("gateway")
    assert not code.permitted("gateway")
    assert not [one for one in reached if one.endswith(("Registry.acquire_lease", ":set_copies", ":set_instances"))]
    assert {"GatewayFunction"} == NEVER_LEASES


def test_its_permissions_are_bound_to_the_stacks_tag_to_knocks_and_to_its_own_items():
    (policy,) = [one for one in deployed().of_type("AWS::IAM::ManagedPolicy") if one.logical_id == "GatewayPolicy"]
    statements = {one["Sid"]: one for one in policy.properties["PolicyDocument"]["Statement"]}
    conditions = {name: one.get("Condition") for name, one in statements.items()}
    assert conditions == {
        "Invoke": {"StringEquals": {"aws:ResourceTag/quickstep:managed": "quickstep"}},
        "DescribeComponent": None,
        "Knock": {"StringEquals": {"events:source": "quickstep", "events:detail-type": "Quickstep Wake Requested"}},
        "ReadRegistry": None,
        "HeldRequests": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["HELD#*"]}},
    }


def test_only_callers_with_iam_permission_reach_the_url_and_it_streams():
    (url,) = [one for one in deployed().of_type("AWS::Lambda::Url") if one.logical_id == "GatewayFunctionUrl"]
    assert (url.properties["AuthType"], url.properties["InvokeMode"]) == ("AWS_IAM", "RESPONSE_STREAM")
    assert "Cors" not in url.properties


# -- variables ---------------------------------------------------------------------------------------------------------


def own_variables() -> dict[str, object]:
    return source()["Resources"]["GatewayFunction"]["Properties"]["Environment"]["Variables"]


def test_every_variable_of_the_gateway_is_known_to_its_settings_and_carries_the_parameter_of_its_name():
    for_lambda = {"AWS_LAMBDA_EXEC_WRAPPER", "AWS_LWA_INVOKE_MODE"}
    assert set(own_variables()) == set(gateway.variables()) | for_lambda
    assert {name: own_variables()[name] for name in gateway.variables()} == {
        name: {"Ref": gateway.parameter(name)} for name in gateway.variables()
    }


@pytest.mark.parametrize("name", gateway.variables())
def test_what_the_template_accepts_the_gateways_settings_accept_and_what_is_beyond_both_refuse(name):
    parameter = gateway.parameter(name)
    declared = source()["Parameters"][parameter]
    for value in (declared["MinValue"], declared["MaxValue"], declared["MinValue"] - 1, declared["MaxValue"] + 1):
        accepted = []
        for read in (
            lambda value=value: deployed(**{parameter: str(value)}),
            lambda value=value: gateway.gateway_settings({"GATEWAY_HOLD_SECONDS": "1", "GATEWAY_MAX_HELD_REQUESTS": "1", name: str(value)}),
        ):  # fmt: skip
            try:
                read()
                accepted.append(True)
            except (TemplateError, InvalidSettings):
                accepted.append(False)
        assert accepted[0] == accepted[1] == (declared["MinValue"] <= value <= declared["MaxValue"]), value


def test_a_setting_that_is_missing_or_wrong_is_named_with_its_parameter():
    with pytest.raises(InvalidSettings, match=r"GATEWAY_HOLD_SECONDS \(template parameter GatewayHoldSeconds\)"):
        gateway.gateway_settings({"GATEWAY_MAX_HELD_REQUESTS": "3"})
    with pytest.raises(InvalidSettings, match="GatewayMaxHeldRequests.*'many'"):
        gateway.gateway_settings({"GATEWAY_MAX_HELD_REQUESTS": "many", "GATEWAY_HOLD_SECONDS": "3"})


# -- how it streams -------------------------------------------------------------------------------------------------------


def test_the_switch_between_our_loop_and_the_adapter_is_one_layer():
    ours, adapters = deployed(), deployed(GatewayAdapterLayerArn=ADAPTER)
    properties = [one["GatewayFunction"].properties for one in (ours, adapters)]
    assert [len(one["Layers"]) for one in properties] == [1, 2]
    assert properties[1]["Layers"][1] == ADAPTER
    assert {key: one for key, one in properties[0].items() if key != "Layers"} == {
        key: one for key, one in properties[1].items() if key != "Layers"
    }
    with pytest.raises(TemplateError):
        deployed(GatewayAdapterLayerArn="LambdaAdapterLayerArm64")


def test_the_wrapper_is_built_into_the_layer_where_the_function_looks_for_it():
    assert own_variables()["AWS_LAMBDA_EXEC_WRAPPER"] == f"/opt/bin/{WRAPPER.name}"
    assert os.access(WRAPPER, os.X_OK)
    makefile = (ROOT / "layers" / "core" / "Makefile").read_text(encoding="utf-8")
    assert f'cp -p bin/{WRAPPER.name} "$(ARTIFACTS_DIR)/bin/{WRAPPER.name}"' in makefile


def test_reserved_concurrency_is_reserved_only_when_it_is_asked_for():
    assert "ReservedConcurrentExecutions" not in deployed()["GatewayFunction"].properties
    limited = deployed(GatewayMaxConcurrentRequests="50")["GatewayFunction"].properties
    assert int(limited["ReservedConcurrentExecutions"]) == 50


def test_the_trailers_are_those_of_lambdas_runtime_interface():
    assert (ERROR_TYPE, ERROR_BODY) == ("Lambda-Runtime-Function-Error-Type", "Lambda-Runtime-Function-Error-Body")


# -- what it is made of ---------------------------------------------------------------------------------------------------


def test_the_front_and_the_clients_leave_aws_to_the_gateways_package():
    for name, text in sources().items():
        if name.startswith(("quickstep.front", "quickstep.clients")):
            found = {
                module
                for node in ast.walk(ast.parse(text))
                for module in ([a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "") or ""] if isinstance(node, ast.ImportFrom) else [])
            }  # fmt: skip
            assert not [one for one in found if one.split(".")[0] in ("boto3", "botocore")], name


def test_nothing_that_is_deployed_needs_httpx():
    for name, text in {**sources(), **handlers()}.items():
        if not name.startswith("quickstep.clients"):
            assert "httpx" not in text, name
            assert "quickstep.clients" not in [
                node.module for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)
            ]


# -- the role at work ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def account():
    """The deployed stack beside two components, of which it manages one."""
    scenario = Scenario(name="gateway", endpoint={"initial_instances": 2}, bystanders=({"name": "other"},))
    given = {"EndpointName": "llm", "InferenceComponentName": "chat", "GatewayEnabled": "Yes"}
    with EmulatedAccount(TEMPLATE, given, sagemaker_options=sagemaker_options(scenario)) as made:
        put_endpoint(made, scenario)
        made.run_for(130)
        yield made


def invocation(component: str) -> tuple[str, str, dict]:
    request = {"EndpointName": "llm", "InferenceComponentName": component, "Body": b"{}"}
    return "sagemaker-runtime", "InvokeEndpointWithResponseStream", request


def knock(kind: str, source: str = "quickstep") -> tuple[str, str, dict]:
    return "events", "PutEvents", {"Entries": [{"Source": source, "DetailType": kind, "Detail": "{}"}]}


@pytest.mark.parametrize(
    ("call", "may"),
    [
        (invocation("chat"), True),
        (invocation("other"), False),
        (knock("Quickstep Wake Requested"), True),
        (knock("Quickstep Look Requested"), False),
        (knock("Quickstep Manual Wish"), False),
        (knock("Quickstep Wake Requested", "somebody"), False),
        (("sagemaker", "DescribeInferenceComponent", {"InferenceComponentName": "chat"}), True),
        (("sagemaker", "UpdateInferenceComponentRuntimeConfig", {"InferenceComponentName": "chat"}), False),
        (("dynamodb", "Query", {"TableName": "RegistryTable"}), True),
        (("dynamodb", "Query", {"TableName": "RegistryTable", "IndexName": "due"}), True),
        (("dynamodb", "UpdateItem", {"TableName": "RegistryTable"}), False),
    ],
    ids=[
        "invokes what the stack manages", "invokes nothing else", "knocks", "asks for no look", "makes no wish",
        "speaks for nobody else", "describes", "changes no count", "reads the registry", "reads what is due", "changes no target",
    ],
)  # fmt: skip
def test_what_the_gateways_role_may_do_when_it_is_tried(account, call, may):
    service, operation, params = call
    if params.get("TableName"):
        params = {**params, "TableName": account.stack["RegistryTable"].name}
    function = account.lambdas.function(account.stack["GatewayFunction"].name)
    try:
        account.roles.check(function.role_arn, function.name, service, operation, params)
        allowed = True
    except ServiceError as refused:
        assert refused.code in ("AccessDeniedException", "AccessDenied"), refused
        allowed = False
    assert allowed is may


@pytest.mark.parametrize(("key", "may"), [("HELD#chat", True), ("ENDPOINT#llm", False), ("NAME#chat", False)])
def test_the_gateway_writes_no_item_of_the_registry_but_those_of_held_requests(account, key, may):
    table = account.stack["RegistryTable"].arn
    role = account.lambdas.function(account.stack["GatewayFunction"].name).role_arn
    for action in ("dynamodb:PutItem", "dynamodb:DeleteItem"):
        request = Request(action, table, {"dynamodb:leadingkeys": (key,)})
        assert account.roles.may(role, request) is may
