"""The security controls by our own assertions, and that each of them would notice: what `make security` does without tools."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.contract.translated import TEMPLATE
from tests.security import document, repository
from tests.security.authorization import ACTIONS, ARNS
from tests.security.command import own_assertions
from tests.security.controls import CONTROLS
from tests.security.editions import Edition, decided, editions, unseen
from tests.security.findings import (
    Finding,
    divided,
    read_suppressions,
)
from tests.security.mutations import survivors
from tests.security.narrowest import resource_findings
from tests.security.scanners import policy_documents
from tests.security.statements import all_statements

DEFAULT, HARDENED = editions()
SUPPRESSED = read_suppressions()
WHILE_ALL_ARE_GOOD = min(one.expires for one in SUPPRESSED)
"""A day on which no suppression has expired: these tests do not depend on today, `make security` does."""


def findings_of(*both: Edition, control: str | None = None) -> list[Finding]:
    """What our own assertions (of one control, or all) find and no suppression accepts."""
    asked = [one for one in CONTROLS if control in (None, one.id)]
    return divided(own_assertions(both, asked)[1], SUPPRESSED, WHILE_ALL_ARE_GOOD)[0]


# -- the controls --------------------------------------------------------------------------------------------------------------


def test_every_control_holds_by_our_own_assertions_in_both_editions():
    assert findings_of(DEFAULT, HARDENED) == []


def test_there_are_thirty_two_controls_and_each_is_verified_by_something():
    assert [one.id for one in CONTROLS] == [f"SEC-{number:02}" for number in range(1, 33)]
    by_nothing = [one.id for one in CONTROLS if not (one.own or one.beside)]
    assert by_nothing == ["SEC-29"], "SEC-29 is about the suppressions themselves, see below"
    twice = [rule for one in CONTROLS for rule in one.tools]
    assert len(twice) == len(set(twice))


def test_every_resource_of_the_template_is_in_an_edition():
    assert unseen() == []


def test_what_has_no_topic_or_key_says_so_and_everything_else_looks_at_something():
    looked, _ = own_assertions((DEFAULT, HARDENED))
    topics = HARDENED.of_type("AWS::SNS::Topic")
    assert {control for control, number in looked.items() if not number} == {"SEC-29"} | (
        set() if topics else {"SEC-13"}
    )


# -- each of them would notice ---------------------------------------------------------------------------------------------------

TOPIC = {"Type": "AWS::SNS::Topic", "Properties": {"Tags": [{"Key": "application", "Value": "q"}]}}
KEY = {"Type": "AWS::KMS::Key", "Properties": {"KeyPolicy": {"Statement": []}}}
BUS = {"Type": "AWS::Events::EventBus", "Properties": {"Name": "open"}}
CORS = {"AllowOrigins": ["*"]}
SLEEPER = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"AlarmName": "other"}}
OTHER_RULE = {"prefix": {"Fn::Sub": "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:prod"}}
FIRST_RULE = "OnAlarmFunctionAlarmChanged"
GONE = "gone"

BROKEN: tuple[tuple[str, str, str, Any, str], ...] = (
    # control, edition, path from Resources, value, words of the finding
    ("SEC-01", "default", f"{FIRST_RULE}Permission.SourceArn", GONE, "neither SourceArn nor SourceAccount"),
    ("SEC-01", "default", f"{FIRST_RULE}Permission.Principal", "*", "lets * invoke"),
    ("SEC-01", "default", "SchedulerRole.AssumeRolePolicyDocument.Statement.0.Condition", GONE, "for another account"),
    ("SEC-02", "default", "ControlFunctionUrl.AuthType", "NONE", "AuthType NONE"),
    ("SEC-03", "default", "DecideFunction.Runtime", "python3.9", "runs python3.9"),
    ("SEC-04", "hardened", "DecideFunction.ReservedConcurrentExecutions", GONE, "no reserved concurrency"),
    ("SEC-05", "default", "ControlFunctionEventInvokeConfig.DestinationConfig", GONE, "failures go to no queue"),
    (
        "SEC-05",
        "default",
        "ReconcileFunctionEventInvokeConfig.MaximumRetryAttempts",
        GONE,
        "leaves MaximumRetryAttempts",
    ),
    (
        "SEC-05",
        "default",
        "ScheduledActionFunctionEventInvokeConfig.DestinationConfig",
        GONE,
        "failures go to no queue",
    ),
    ("SEC-06", "default", f"{FIRST_RULE}.Targets.0.DeadLetterConfig", GONE, "no dead-letter queue"),
    ("SEC-06", "default", f"{FIRST_RULE}.Targets.0.RetryPolicy", GONE, "no explicit RetryPolicy"),
    ("SEC-07", "default", "DecideFunction.TracingConfig.Mode", "PassThrough", "not traced"),
    ("SEC-07", "default", "ScalingLoop.TracingConfiguration", GONE, "not traced"),
    ("SEC-08", "default", "ScalingLoop.LoggingConfiguration.Level", "ERROR", "logs ERROR"),
    ("SEC-08", "default", "ScalingLoop.LoggingConfiguration.IncludeExecutionData", True, "writes the data"),
    ("SEC-09", "default", "LoopLogGroup.RetentionInDays", GONE, "kept for ever"),
    ("SEC-09", "hardened", "LoopLogGroup.KmsKeyId", GONE, "not encrypted with the key"),
    ("SEC-09", "default", "DecideFunction.LoggingConfig", GONE, "log group that Lambda makes"),
    ("SEC-10", "default", "DecideFunction.Environment.Variables.API_KEY", "x", "secret among its variables: API_KEY"),
    ("SEC-10", "default", "DecideFunction.Description", "AKIAABCDEFGHIJKLMNOP", "looks like a secret"),
    ("SEC-10", "hardened", "DecideFunction.KmsKeyArn", GONE, "does not encrypt its variables"),
    ("SEC-11", "default", "RegistryTable.BillingMode", "PROVISIONED", "not on demand"),
    ("SEC-11", "default", "RegistryTable.PointInTimeRecoverySpecification", GONE, "cannot be restored"),
    ("SEC-11", "default", "RegistryTable.SSESpecification", GONE, "not encrypted"),
    ("SEC-11", "hardened", "RegistryTable.SSESpecification.KMSMasterKeyId", GONE, "the key that was given"),
    ("SEC-11", "hardened", "RegistryTable.DeletionProtectionEnabled", False, "although KeepData is Yes"),
    ("SEC-12", "default", "DeadLetterQueue.SqsManagedSseEnabled", GONE, "is not encrypted"),
    ("SEC-12", "default", "DeadLetterQueue.MessageRetentionPeriod", 345_600, "keep for 14 days"),
    ("SEC-12", "default", "DeadLetterQueuePolicy.PolicyDocument.Statement.1", GONE, "not sent over TLS"),
    ("SEC-12", "default", "DeadLetterQueuePolicy.PolicyDocument.Statement.0.Condition.ArnLike", GONE, "in for anybody"),
    ("SEC-13", "hardened", "+Topic", TOPIC, "not sent over TLS"),
    ("SEC-14", "default", "+Key", KEY, "does not rotate"),
    ("SEC-15", "default", "DecideRole.ManagedPolicyArns.0", "arn:x:iam::aws:policy/ReadOnlyAccess", "AWS may change"),
    (
        "SEC-15",
        "default",
        "DecideFunction.Role",
        {"Fn::GetAtt": ["VerifyInstancesRole", "Arn"]},
        "VerifyInstancesFunction",
    ),
    ("SEC-16", "default", "DuePolicy.PolicyDocument.Statement.0.Action", "dynamodb:*", "wildcard dynamodb:*"),
    ("SEC-16", "default", "ReconcileRole.ManagedPolicyArns.4", GONE, "which its code can reach"),
    ("SEC-17", "default", "DuePolicy.PolicyDocument.Statement.0.Resource", "*", "can be narrowed"),
    ("SEC-18", "default", "ControlPolicy.PolicyDocument.Statement.3.Condition", GONE, "to any service"),
    ("SEC-19", "default", "WriteCopiesPolicy.PolicyDocument.Statement.0.Condition", GONE, "without the tag"),
    ("SEC-19", "default", "DecideFunction.Role", {"Fn::GetAtt": ["PlaceCopiesRole", "Arn"]}, "holds no write lease"),
    ("SEC-20", "default", "RequestLookPolicy.PolicyDocument.Statement.0.Condition", GONE, "events of any source"),
    ("SEC-21", "default", f"{FIRST_RULE}.EventPattern.account", GONE, "does not say which account"),
    ("SEC-21", "default", f"{FIRST_RULE}.EventPattern.resources.0", OTHER_RULE, "takes alarms of others"),
    ("SEC-22", "default", "+Bus", BUS, "without a resource policy"),
    ("SEC-24", "default", "source.Outputs.EndpointName.Value", "arn:aws:sagemaker:eu-west-1:1:x", "eu-west-1"),
    ("SEC-23", "default", "source.Parameters.EndpointName.AllowedPattern", "(?s).*", "admits anything"),
    ("SEC-25", "default", "ControlFunctionUrl.Cors", CORS, "any origin"),
    ("SEC-26", "default", "+Sleeper", SLEEPER, "nobody hears it"),
    ("SEC-26", "default", "HighAlarm.ActionsEnabled", False, "switched off"),
    ("SEC-27", "default", "RegistryTable.Tags", GONE, "the tag application"),
    ("SEC-30", "default", "DecideFunction.VpcConfig", {"SubnetIds": ["subnet-0a"]}, "no subnets were given"),
    ("SEC-30", "hardened", "DecideFunction.VpcConfig", GONE, "is not in the subnets"),
    (
        "SEC-32",
        "default",
        f"{FIRST_RULE}.Targets.0.Arn",
        {"Fn::GetAtt": ["DecideFunction", "Arn"]},
        "takes events without",
    ),
)


@pytest.mark.parametrize(("control", "edition", "path", "value", "said"), BROKEN)
def test_a_control_that_is_broken_is_noticed(control, edition, path, value, said):
    before = {"default": DEFAULT, "hardened": HARDENED}[edition]
    assert findings_of(before, control=control) == []
    found = [str(one) for one in findings_of(broken(before, path, value), control=control)]
    assert any(said in one for one in found), found


def broken(edition: Edition, path: str, value: Any) -> Edition:
    """The edition with one value changed or gone. `+Name` adds a resource, `source.…` is in the template as written."""
    if path.startswith("source."):
        written = deepcopy(dict(edition.source))
        _put(written, path.split(".")[1:], value)
        return Edition(edition.name, edition.parameters, edition.template, written)
    template = {**edition.template, "Resources": dict(edition.resources)}
    if path.startswith("+"):
        template["Resources"][path[1:]] = value
        return edition.with_template(template)
    name, *rest = path.split(".")
    template["Resources"][name] = deepcopy(template["Resources"][name])
    _put(template["Resources"][name]["Properties"], rest, value)
    return edition.with_template(template)


def _put(container: Any, path: list[str], value: Any) -> None:
    *steps, last = path
    for step in steps:
        container = container[int(step)] if isinstance(container, list) else container[step]
    key: Any = int(last) if isinstance(container, list) else last
    if value is GONE:
        del container[key]
    else:
        container[key] = value


@pytest.mark.parametrize("edition", [DEFAULT, HARDENED], ids=["default", "hardened"])
def test_a_sample_of_loosened_permissions_is_noticed(edition):
    # `make security` notices every one: python -m tests.security --mutants
    missed, tried = survivors(edition, every=7)
    assert missed == [] and tried > 50


# -- resources are the narrowest: where the table comes from -------------------------------------------------------------------------


def test_the_table_of_actions_has_what_the_policies_name_and_nothing_else():
    named = {action for edition in (DEFAULT, HARDENED) for one in all_statements(edition) for action in one.actions}
    spare = {"cloudwatch:ListMetrics", "sagemaker:ListEndpoints", "sns:Publish"}
    spare |= {"sagemaker:InvokeEndpoint", "sagemaker:InvokeEndpointWithResponseStream"}
    assert named <= set(ACTIONS) and set(ACTIONS) - named <= spare
    assert {kind for one in ACTIONS.values() for kind in one.types} <= set(ARNS)


@pytest.mark.parametrize(
    ("resource", "said"),
    [
        (
            "arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:endpoint/${ScalableNames}",
            "none of its actions",
        ),
        ("arn:${AWS::Partition}:sagemaker:${AWS::Region}:${AWS::AccountId}:inference-component/*", "the narrowest is"),
        ("arn:${AWS::Partition}:sagemaker:*:${AWS::AccountId}:inference-component/${ScalableNames}", "no ARN that"),
        ("arn:aws:sagemaker:eu-west-1:111122223333:inference-component/chat", "no ARN that"),
        ("${Nothing.Arn}", "none of the stack's resources"),
        ("*", "can be narrowed to sagemaker:inference-component"),
    ],
)
def test_a_resource_that_is_wider_or_another_is_named(resource, said):
    path = "WriteCopiesPolicy.PolicyDocument.Statement.0.Resource"
    edition = broken(DEFAULT, path, resource if resource == "*" else {"Fn::Sub": resource})
    (writes,) = [one for one in all_statements(edition) if one.where == "PlaceCopiesRole/WriteCopiesPolicy/SetCopies"]
    assert any(said in one for one in resource_findings(edition, writes)), list(resource_findings(edition, writes))


@pytest.mark.parametrize("edition", [DEFAULT, HARDENED], ids=["default", "hardened"])
def test_policies_go_to_the_tools_as_iam_would_get_them(edition):
    documents = policy_documents(edition)
    written = json.dumps(documents)
    assert len(documents) > 15 and "${" not in written and "Fn::" not in written and '"Ref"' not in written
    (due,) = [s for s in documents["DuePolicy"]["Statement"] if s["Sid"] == "Due"]
    assert due["Resource"] == "arn:aws:dynamodb:eu-west-1:111122223333:table/RegistryTable/index/due"
    (copies,) = [s for s in documents["WriteCopiesPolicy"]["Statement"] if s["Sid"] == "SetCopies"]
    name = "llm-*" if edition.hardened else "*"
    assert copies["Resource"] == f"arn:aws:sagemaker:eu-west-1:111122223333:inference-component/{name}"
    assert copies["Condition"] == {"StringEquals": {"aws:ResourceTag/quickstep:managed": "quickstep"}}


# -- beside the template -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("logger().info('x', extra={'event': event})", "line 1 logs event as a whole"),
        ("telemetry.logger().error(f'bad {body}')", "line 1 logs body as a whole"),
        ("logger.warning(json.dumps(headers))", "line 1 logs headers as a whole"),
        ("print(event)", "line 1 logs event as a whole"),
        ("print(type(request).__name__, len(body))", None),
        ("print('x')", None),
        ("logger.inject_lambda_context(log_event=True)", "line 1 has Powertools log the event"),
        ("logger().info('x', extra={'id': event.get('id'), 'kind': event['kind']})", None),
        ("logger().info('x', extra={'why': str(error)})", None),
    ],
)
def test_a_log_line_that_takes_something_whole_is_noticed(code, said):
    assert list(repository.logs_take_nothing_whole({"module": ast.parse(code)})) == [("module", said)]


@pytest.mark.parametrize(
    ("lock", "said"),
    [
        ("boto3>=1 \\\n    --hash=sha256:00\n", "is not one version with a hash"),
        ("boto3==1.44.5\n", "is not one version with a hash"),
        ("boto3 @ https://example.com/boto3.whl \\\n    --hash=sha256:00\n", "is not one version with a hash"),
        ("# nothing\n", "pins nothing"),
        (None, "is not there"),
    ],
)
def test_a_requirement_without_version_and_hash_is_noticed(tmp_path, lock, said):
    for name in repository.LOCKS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("boto3==1.44.5 \\\n    --hash=sha256:00\n", encoding="utf-8")
    assert {wrong for _, wrong in repository.everything_is_pinned(tmp_path)} == {None}
    if lock is None:
        (tmp_path / repository.LOCKS[0]).unlink()
    else:
        (tmp_path / repository.LOCKS[0]).write_text(lock, encoding="utf-8")
    assert said in {wrong for _, wrong in repository.everything_is_pinned(tmp_path)}


def test_a_deployment_without_stack_tags_is_noticed(tmp_path):
    (tmp_path / "samconfig.toml").write_text('[dev.deploy.parameters]\nstack_name = "x"\n', encoding="utf-8")
    assert list(repository.the_stack_is_tagged(tmp_path)) == [
        ("samconfig.toml dev", "deploys without the stack tag application")
    ]


def test_what_is_generated_in_the_document_is_what_the_template_and_the_suppressions_say():
    written = document.DOCUMENT.read_text(encoding="utf-8")
    generated = document.with_part(written, "permissions", document.permissions_table((DEFAULT, HARDENED)))
    generated = document.with_part(generated, "suppressions", document.suppressions_table(SUPPRESSED))
    assert generated == written, "run make docs"
    for control in CONTROLS:
        assert f"| {control.id} | {control.title} |" in written, "run tools/security.sh --docs"


@pytest.mark.parametrize("name", ["controls", "permissions", "suppressions"])
def test_a_document_without_a_place_for_a_part_is_refused(name):
    whole = f"<!-- {name}:begin -->\nold\n<!-- {name}:end -->\n"
    assert document.with_part(whole, name, "new") == whole.replace("old", "new")
    with pytest.raises(document.DocumentBroken, match=f"{name}:begin"):
        document.with_part("nothing", name, "new")


# -- editions ----------------------------------------------------------------------------------------------------------------------------


def only(condition: Any) -> Callable[[dict[str, str]], bool]:
    plain = {
        "Parameters": {"Word": {"Type": "String", "Default": ""}, "Count": {"Type": "Number", "Default": 0}},
        "Conditions": {"Named": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Word"}, ""]}]}, "Asked": condition},
        "Resources": {"One": {"Type": "T", "Condition": "Asked", "Properties": {}}, "Two": {"Type": "T"}},
    }
    return lambda given: "One" in decided(plain, given)["Resources"]


@pytest.mark.parametrize(
    ("condition", "given", "there"),
    [
        ({"Fn::Equals": [{"Ref": "Word"}, ""]}, {}, True),
        ({"Fn::Equals": [{"Ref": "Count"}, 0]}, {"Count": "0"}, True),
        ({"Fn::Equals": [{"Ref": "Count"}, 0]}, {"Count": "5"}, False),
        ({"Condition": "Named"}, {"Word": "x"}, True),
        (
            {"Fn::And": [{"Condition": "Named"}, {"Fn::Equals": [{"Ref": "Count"}, 0]}]},
            {"Word": "x", "Count": "1"},
            False,
        ),
        ({"Fn::Or": [{"Condition": "Named"}, {"Fn::Equals": [{"Ref": "Count"}, 0]}]}, {"Count": "1"}, False),
        ({"Fn::Equals": [{"Fn::Join": ["", {"Ref": "Word"}]}, "a,b"]}, {"Word": "a,b"}, True),
        ({"Fn::Equals": [{"Ref": "AWS::Partition"}, "aws-cn"]}, {}, False),
    ],
)
def test_conditions_are_decided_as_cloudformation_decides_them(condition, given, there):
    assert only(condition)(given) is there


def test_no_value_takes_its_property_or_entry_away():
    nothing = {"Ref": "AWS::NoValue"}
    choice = {"Fn::If": ["No", "yes", nothing]}
    plain = {
        "Conditions": {"No": {"Fn::Equals": ["a", "b"]}},
        "Resources": {
            "One": {"Type": "T", "Properties": {"A": choice, "B": [1, choice], "C": {"Fn::If": ["No", 1, 2]}}}
        },
    }
    assert decided(plain, {})["Resources"]["One"]["Properties"] == {"B": [1], "C": 2}


def test_a_condition_that_is_not_understood_is_an_error_and_not_a_guess():
    with pytest.raises(ValueError, match="not understood"):
        only({"Fn::EachMemberIn": [["a"], ["a"]]})({})


def test_the_template_under_test_is_the_projects():
    assert TEMPLATE.is_file() and DEFAULT.source["Transform"] == "AWS::Serverless-2016-10-31"
