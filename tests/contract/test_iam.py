"""Every function may do exactly what its code can reach: a missing permission fails here, and so does an unused one."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from quickstep.model.loop import NextWord
from simulator.template import Resource, Stack
from tests.contract.reach import COPIES, INSTANCES, Code, handlers, iam_action, operations, sources
from tests.contract.translated import TEMPLATE, changed, stack

RUNTIME = {"logs:CreateLogStream", "logs:PutLogEvents", "xray:PutTraceSegments", "xray:PutTelemetryRecords"}
"""What Lambda itself does with the role: logs and traces."""

FAILURES = {"sqs:SendMessage"}
"""What Lambda does with the role of a function that has an on-failure destination."""

NO_RESOURCE = (
    "sagemaker:ListInferenceComponents",
    "sagemaker:ListEndpoints",
    "cloudwatch:GetMetricData",
    "cloudwatch:ListMetrics",
    "application-autoscaling:Describe*",
    "xray:Put*",
)
"""SEC-16: actions that take no resource (service authorization reference), so that `*` is all one can write."""

NO_RESOURCE_FOR_STATES = (
    "logs:*LogDelivery",
    "logs:ListLogDeliveries",
    "logs:*ResourcePolic*",
    "logs:DescribeLogGroups",
    "xray:GetSampling*",
)
"""The same for the state machine's role: log delivery and sampling (Step Functions developer guide, "Logging", "X-Ray")."""

WRITE_ACTIONS = {"sagemaker:UpdateInferenceComponentRuntimeConfig", "sagemaker:UpdateEndpointWeightsAndCapacities"}


# -- code against roles --------------------------------------------------------------------------------------------------


def permission_findings(path: Path = TEMPLATE, package: Mapping[str, str] | None = None) -> list[str]:
    """Actions that a function can reach and may not do, or may do and cannot reach."""
    deployed = stack(path)
    code = Code(sources() if package is None else package, handlers())
    with_destination = {
        one.properties["FunctionName"]
        for one in deployed.of_type("AWS::Lambda::EventInvokeConfig")
        if one.properties.get("DestinationConfig", {}).get("OnFailure")
    }
    found = []
    for function in deployed.of_type("AWS::Lambda::Function"):
        directory = _directory(function)
        needed = code.actions(directory) | RUNTIME | (FAILURES if function.ref in with_destination else set())
        if "scheduler:CreateSchedule" in needed:
            # A schedule is handed the role that it invokes its target with.
            needed = needed | {"iam:PassRole"}
        if "sagemaker:InvokeEndpointWithResponseStream" in needed:
            # The API's text asks for this one, the list of actions has the other; both are given.
            needed = needed | {"sagemaker:InvokeEndpoint"}
        allowed = {a for one in _statements(deployed, _role(deployed, function)) for a in _list(one["Action"])}
        found += [f"{function.logical_id} may not {action}" for action in sorted(needed - allowed)]
        found += [f"{function.logical_id} never needs {action}" for action in sorted(allowed - needed)]
        if not code.permitted(directory) and WRITE_ACTIONS & allowed:
            found.append(f"{function.logical_id} holds no write lease and may change SageMaker")
    return found


def test_every_function_may_do_exactly_what_its_code_can_reach():
    assert permission_findings() == []


def test_only_the_four_writing_states_and_on_alarm_may_change_sagemaker():
    code = Code(sources(), handlers())
    writers = {
        function.logical_id: code.actions(_directory(function)) & WRITE_ACTIONS
        for function in stack().of_type("AWS::Lambda::Function")
    }
    copies = {"sagemaker:UpdateInferenceComponentRuntimeConfig"}
    instances = {"sagemaker:UpdateEndpointWeightsAndCapacities"}
    assert {name: found for name, found in writers.items() if found} == {
        "OnAlarmFunction": copies,
        "PlaceCopiesFunction": copies,
        "RemoveCopiesFunction": copies,
        "AddInstancesFunction": instances,
        "RemoveInstancesFunction": instances,
    }


def _in_gateway(module: str, function: str, call: str) -> dict[str, str]:
    """The package's sources with one more statement at the end of a gateway's function."""
    package = sources()
    tree = ast.parse(package[f"quickstep.gateways.{module}"])
    (definition,) = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == function]
    definition.body.insert(0, ast.parse(call).body[0])
    return {**package, f"quickstep.gateways.{module}": ast.unparse(tree)}


@pytest.mark.parametrize(
    ("package", "said"),
    [
        (
            _in_gateway("cloudwatch", "target_metrics", "client('cloudwatch').list_metrics(Namespace='AWS/SageMaker')"),
            "DecideFunction may not cloudwatch:ListMetrics",
        ),
        (
            _in_gateway("loops", "start_loop", "client('stepfunctions').describe_state_machine(stateMachineArn='')"),
            "HandOverFunction may not states:DescribeStateMachine",
        ),
        (
            _in_gateway("registry", "abandon_loop", "self._call('delete_item', Key={})"),
            "RecordFailureFunction may not dynamodb:DeleteItem",
        ),
        (
            _in_gateway("sagemaker", "set_copies", "write_client('sagemaker').update_endpoint(EndpointName='')"),
            "PlaceCopiesFunction may not sagemaker:UpdateEndpoint",
        ),
    ],
    ids=["list metrics", "describe the machine", "delete an item", "update the endpoint"],
)
def test_a_call_that_is_added_without_its_permission_is_noticed(package, said):
    assert said in permission_findings(package=package)


def test_a_decide_that_would_write_is_noticed():
    package = sources()
    loop = package["quickstep.usecases.loop"]
    old = "_look(endpoint, holder, NOTHING,"
    assert old in loop
    package["quickstep.usecases.loop"] = loop.replace(old, "_look(endpoint, holder, FAST_PATH,")
    found = permission_findings(package=package)
    assert "DecideFunction may not sagemaker:UpdateInferenceComponentRuntimeConfig" in found


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (
            ("            Action: states:StartExecution\n", "            Action: states:StopExecution\n"),
            ["HandOverFunction may not states:StartExecution", "HandOverFunction never needs states:StopExecution"],
        ),
        (
            ("dynamodb:UpdateItem, dynamodb:Query]", "dynamodb:UpdateItem, dynamodb:Query, dynamodb:Scan]"),
            ["DecideFunction never needs dynamodb:Scan"],
        ),
        (
            (
                "ManagedPolicyArns: [!Ref FunctionBasicsPolicy, !Ref RegistryPolicy, !Ref LookPolicy]",
                "ManagedPolicyArns: [!Ref FunctionBasicsPolicy, !Ref RegistryPolicy, !Ref LookPolicy, !Ref WriteCopiesPolicy]",
            ),
            ["DecideFunction holds no write lease and may change SageMaker"],
        ),
    ],
    ids=["one taken away", "one too many", "a decider that may write"],
)
def test_a_permission_that_is_changed_alone_is_noticed(tmp_path, edit, said):
    found = permission_findings(changed(tmp_path, edit))
    assert [one for one in said if one not in found] == []


# -- what the call graph takes for granted ---------------------------------------------------------------------------------


def test_a_look_writes_only_if_the_word_is_permitted():
    look = ast.parse(sources()["quickstep.usecases.look"])
    mentions = [n for n in ast.walk(look) if isinstance(n, ast.Attribute) and n.attr == "carry_out"]
    (choice,) = [n for n in ast.walk(look) if isinstance(n, ast.IfExp) and "carry_out" in ast.unparse(n.body)]
    assert ast.unparse(choice.test) == "plan.word in permit"
    assert len(mentions) == 1
    (tagging,) = [n for n in ast.walk(look) if isinstance(n, ast.If) and "tag_changes" in ast.unparse(n)]
    assert ast.unparse(tagging.test) == "acted.asked", "only what carry_out has asked for is tagged"


def test_a_move_has_copies_for_the_copies_words_and_instances_for_the_instances_words():
    plan = ast.parse(sources()["quickstep.capacity.plan"])
    words: dict[str, set[NextWord]] = {"_copies_move": set(), "_ask_instances": set()}
    for function in [n for n in ast.walk(plan) if isinstance(n, ast.FunctionDef)]:
        for call in [n for n in ast.walk(function) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]:
            if call.func.id == "_Move":
                carried = {keyword.arg for keyword in call.keywords} & {"copies", "instances"}
                assert carried <= {{"_copies_move": "copies", "_ask_instances": "instances"}.get(function.name)}
            elif call.func.id in words:
                words[call.func.id].add(NextWord[ast.unparse(call.args[0]).removeprefix("NextWord.")])
    assert words == {"_copies_move": set(COPIES), "_ask_instances": set(INSTANCES)}


def test_every_client_of_the_package_is_made_in_a_gateway_and_its_calls_are_operations_that_botocore_knows():
    found = set()
    for module, text in sources().items():
        body = ast.parse(text)
        assert module.startswith("quickstep.gateways.") or "client(" not in text, module
        if module != "quickstep.gateways.aws":
            found |= {iam_action(*one) for one in operations(body)}
    assert found >= WRITE_ACTIONS
    with pytest.raises(KeyError):
        iam_action("sagemaker", "update_copies")


# -- the policies themselves -----------------------------------------------------------------------------------------------


def policy_findings(path: Path = TEMPLATE) -> list[str]:
    """Wildcards, policies of AWS, writes that are not bound to the stack's tag, and roles that others could assume."""
    deployed = stack(path)
    own = {policy.arn for policy in deployed.of_type("AWS::IAM::ManagedPolicy")}
    (machine,) = deployed.of_type("AWS::StepFunctions::StateMachine")
    found = []
    for role in deployed.of_type("AWS::IAM::Role"):
        foreign = [arn for arn in role.properties.get("ManagedPolicyArns", []) if arn not in own]
        found += [f"{role.logical_id} has the policy {arn}, which AWS may change" for arn in foreign]
        (trust,) = role.properties["AssumeRolePolicyDocument"]["Statement"]
        is_machine = role.arn == machine.properties["RoleArn"]
        known = {machine.properties["RoleArn"]: "states", scheduler_role_arn(deployed): "scheduler"}
        if trust["Principal"] != {"Service": f"{known.get(role.arn, 'lambda')}.amazonaws.com"}:
            found.append(f"{role.logical_id} may be assumed by {trust['Principal']}")
        for statement in _statements(deployed, role):
            known = NO_RESOURCE + (NO_RESOURCE_FOR_STATES if is_machine else ())
            found += [f"{role.logical_id}: {one}" for one in _statement_findings(statement, known, deployed)]
    return found


def scheduler_role_arn(deployed: Stack) -> str:
    """The one role that may be handed on: EventBridge Scheduler's."""
    return str(deployed["ControlFunction"].properties["Environment"]["Variables"]["SCHEDULER_ROLE_ARN"])


def _statement_findings(
    statement: Mapping[str, Any], without_resource: tuple[str, ...], deployed: Stack
) -> Iterator[str]:
    actions, resources = _list(statement.get("Action", [])), _list(statement.get("Resource", []))
    if statement["Effect"] != "Allow" or not actions or not resources or not statement.get("Sid"):
        yield f"a statement must allow named actions on named resources and have a Sid: {statement}"
    for action in actions:
        if "*" in action:
            yield f"wildcard action {action}"
        if "*" in resources and not any(fnmatchcase(action, one) for one in without_resource):
            yield f"{action} on every resource"
        tag = {"aws:ResourceTag/quickstep:managed": deployed.name}
        if action.startswith("sagemaker:Update") and statement.get("Condition", {}).get("StringEquals") != tag:
            yield f"{action} without the tag of this stack"
        if action == "sagemaker:AddTags" and "aws:TagKeys" not in str(statement.get("Condition")):
            yield "sagemaker:AddTags of any tag"
        if action == "iam:PassRole":
            to_scheduler = {"StringEquals": {"iam:PassedToService": "scheduler.amazonaws.com"}}
            if resources != [scheduler_role_arn(deployed)] or statement.get("Condition") != to_scheduler:
                yield "iam:PassRole of more than Scheduler's role to Scheduler"


def machine_findings(path: Path = TEMPLATE) -> list[str]:
    """Functions that the state machine calls and may not invoke, or may invoke and does not call."""
    deployed = stack(path)
    (machine,) = deployed.of_type("AWS::StepFunctions::StateMachine")
    states = machine.properties["Definition"]["States"].values()
    called = {state["Resource"] for state in states if state["Type"] == "Task"}
    (role,) = [one for one in deployed.of_type("AWS::IAM::Role") if one.arn == machine.properties["RoleArn"]]
    invoked = {
        arn
        for one in _statements(deployed, role)
        if "lambda:InvokeFunction" in _list(one["Action"])
        for arn in _list(one["Resource"])
    }
    return sorted(f"{arn.rsplit(':', 1)[1]} is called or permitted, not both" for arn in called ^ invoked)


def test_no_policy_has_a_wildcard_beyond_what_aws_demands_and_writes_are_bound_to_the_stacks_tag():
    assert policy_findings() == []


def test_no_role_has_more_policies_than_an_account_may_attach_without_asking_for_more():
    # IAM user guide, quotas: 10 managed policies attached to a role by default; a deployment that needs an 11th fails.
    counts = {
        one.logical_id: len(one.properties.get("ManagedPolicyArns", ()))
        for one in stack(TEMPLATE).of_type("AWS::IAM::Role")
    }
    assert {name: count for name, count in counts.items() if count > 10} == {}
    assert counts["OnAlarmRole"] == 10


def test_the_state_machine_may_invoke_exactly_the_functions_that_it_calls():
    assert machine_findings() == []


@pytest.mark.parametrize(
    ("check", "edit", "said"),
    [
        (policy_findings, ("Action: lambda:InvokeFunction", "Action: lambda:*"), "wildcard action lambda:*"),
        (
            policy_findings,
            (
                "            Action: dynamodb:UpdateItem\n            Resource: !GetAtt RegistryTable.Arn",
                '            Action: dynamodb:UpdateItem\n            Resource: "*"',
            ),
            "dynamodb:UpdateItem on every resource",
        ),
        (
            policy_findings,
            (
                '              StringEquals: {"aws:ResourceTag/quickstep:managed": !Ref AWS::StackName}',
                "              Bool: {'aws:SecureTransport': 'true'}",
            ),
            "without the tag of this stack",
        ),
        (
            policy_findings,
            ('              ForAllValues:StringEquals: {"aws:TagKeys": ["quickstep:managed"]}\n', ""),
            "sagemaker:AddTags of any tag",
        ),
        (
            policy_findings,
            (
                "        - !Ref DeadLetterPolicy\n",
                "        - !Ref DeadLetterPolicy\n        - !Sub arn:${AWS::Partition}:iam::aws:policy/ReadOnlyAccess\n",
            ),
            "which AWS may change",
        ),
        (
            policy_findings,
            ("Principal: {Service: states.amazonaws.com}", "Principal: {Service: ec2.amazonaws.com}"),
            "may be assumed",
        ),
        (
            machine_findings,
            ("                  - !GetAtt HandOverFunction.Arn\n", ""),
            "is called or permitted, not both",
        ),
    ],
)
def test_a_policy_that_is_loosened_is_noticed(tmp_path, check, edit, said):
    found = check(changed(tmp_path, edit))
    assert any(said in one for one in found), found


# -- reading the stack -----------------------------------------------------------------------------------------------------


def _directory(function: Resource) -> str:
    assert function.code_dir is not None
    return function.code_dir.name


def _role(deployed: Stack, function: Resource) -> Resource:
    (role,) = [one for one in deployed.of_type("AWS::IAM::Role") if one.arn == function.properties["Role"]]
    return role


def _statements(deployed: Stack, role: Resource) -> list[Mapping[str, Any]]:
    """Every statement of the role's own and the stack's managed policies."""
    managed = {one.arn: one.properties["PolicyDocument"] for one in deployed.of_type("AWS::IAM::ManagedPolicy")}
    documents = [managed[arn] for arn in role.properties.get("ManagedPolicyArns", []) if arn in managed]
    documents += [one["PolicyDocument"] for one in role.properties.get("Policies", [])]
    return [statement for document in documents for statement in _list(document["Statement"])]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
