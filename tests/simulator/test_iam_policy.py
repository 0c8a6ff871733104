"""IAM policy evaluation: the rules of the IAM user guide, "Policy evaluation logic" and "Condition operators"."""

from __future__ import annotations

import pytest

from simulator.aws.iam_policy import Request, allows, parse_policy
from simulator.not_emulated import NotEmulated

TABLE = "arn:aws:dynamodb:eu-west-1:111122223333:table/state"


def policy(*statements: dict) -> tuple:
    return parse_policy({"Version": "2012-10-17", "Statement": list(statements)})


def allow(action="dynamodb:GetItem", resource=TABLE, **more) -> dict:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


@pytest.mark.parametrize(
    ("statement", "action", "resource", "allowed"),
    [
        (allow(), "dynamodb:GetItem", TABLE, True),
        (allow(), "dynamodb:PutItem", TABLE, False),
        (allow(), "dynamodb:GetItem", TABLE + "2", False),
        (allow(action="dynamodb:*"), "dynamodb:PutItem", TABLE, True),
        (allow(action="DYNAMODB:getitem"), "dynamodb:GetItem", TABLE, True),  # actions ignore case
        (allow(action=["dynamodb:Put*", "dynamodb:Get????"]), "dynamodb:GetItem", TABLE, True),
        (allow(resource=TABLE.upper()), "dynamodb:GetItem", TABLE, False),  # resources do not
        (allow(resource="arn:aws:dynamodb:*:*:table/st?te"), "dynamodb:GetItem", TABLE, True),
        (allow(resource="*"), "dynamodb:GetItem", TABLE, True),
        (allow(resource=TABLE), "dynamodb:ListTables", "*", False),
        # an action that cannot be scoped wants Resource *
        (
            allow(action="cloudwatch:GetMetricData", resource="arn:aws:cloudwatch:*"),
            "cloudwatch:GetMetricData",
            "*",
            False,
        ),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, "dynamodb:GetItem", TABLE, True),
        ({"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"}, "iam:PassRole", TABLE, False),
        ({"Effect": "Allow", "Action": "*", "NotResource": TABLE}, "dynamodb:GetItem", TABLE, False),
    ],
)
def test_a_statement_allows_exactly_what_its_action_and_resource_describe(statement, action, resource, allowed):
    assert allows(policy(statement), Request(action, resource)) is allowed


def test_nothing_is_allowed_without_a_statement_and_a_deny_wins_over_every_allow():
    request = Request("dynamodb:GetItem", TABLE)
    assert not allows((), request)
    assert not allows(policy(allow(), {"Effect": "Deny", "Action": "dynamodb:Get*", "Resource": "*"}), request)
    assert not allows(policy({"Effect": "Deny", "Action": "dynamodb:Get*", "Resource": "*"}, allow()), request)


@pytest.mark.parametrize(
    ("condition", "keys", "allowed"),
    [
        ({"StringEquals": {"cloudwatch:namespace": "Quickstep"}}, {"cloudwatch:namespace": ("Quickstep",)}, True),
        ({"StringEquals": {"cloudwatch:namespace": "Quickstep"}}, {"cloudwatch:namespace": ("quickstep",)}, False),
        ({"StringEquals": {"CloudWatch:Namespace": "Quickstep"}}, {"cloudwatch:namespace": ("Quickstep",)}, True),
        ({"StringEquals": {"cloudwatch:namespace": ["A", "B"]}}, {"cloudwatch:namespace": ("B",)}, True),
        ({"StringEquals": {"cloudwatch:namespace": "A"}}, {}, False),  # no key: a positive operator is false
        ({"StringEqualsIfExists": {"cloudwatch:namespace": "A"}}, {}, True),
        ({"StringNotEquals": {"cloudwatch:namespace": "A"}}, {}, True),  # no key: a negated operator is true
        ({"StringNotEquals": {"cloudwatch:namespace": "A"}}, {"cloudwatch:namespace": ("A",)}, False),
        ({"StringLike": {"aws:resourcetag/team": "llm-*"}}, {"aws:resourcetag/team": ("llm-chat",)}, True),
        (
            {"ArnLike": {"aws:sourcearn": "arn:aws:events:*:1:rule/*"}},
            {"aws:sourcearn": ("arn:aws:events:x:1:rule/r",)},
            True,
        ),
        ({"Bool": {"aws:securetransport": True}}, {"aws:securetransport": ("true",)}, True),
        ({"Bool": {"aws:securetransport": False}}, {"aws:securetransport": ("true",)}, False),
        ({"Null": {"aws:resourcetag/team": "true"}}, {}, True),
        ({"Null": {"aws:resourcetag/team": "false"}}, {}, False),
        ({"ForAllValues:StringEquals": {"aws:tagkeys": ["a", "b"]}}, {"aws:tagkeys": ("a",)}, True),
        ({"ForAllValues:StringEquals": {"aws:tagkeys": ["a"]}}, {"aws:tagkeys": ("a", "c")}, False),
        ({"ForAllValues:StringEquals": {"aws:tagkeys": ["a"]}}, {}, True),
        ({"ForAnyValue:StringEquals": {"aws:tagkeys": ["a"]}}, {"aws:tagkeys": ("a", "c")}, True),
        ({"ForAnyValue:StringEquals": {"aws:tagkeys": ["a"]}}, {}, False),
        # every operator and every key must hold
        ({"StringEquals": {"k:a": "1", "k:b": "2"}}, {"k:a": ("1",), "k:b": ("3",)}, False),
        ({"NumericLessThan": {"k:n": "5"}}, {"k:n": ("4",)}, True),
    ],
)
def test_a_condition_holds_as_its_operator_says(condition, keys, allowed):
    statements = policy(allow(resource="*", Condition=condition))
    assert allows(statements, Request("dynamodb:GetItem", TABLE, keys)) is allowed


def test_a_resource_policy_speaks_only_about_the_principals_that_it_names():
    statements = policy(allow(Principal={"Service": ["events.amazonaws.com"]}))
    request = Request("dynamodb:GetItem", TABLE)
    assert allows(statements, request, "events.amazonaws.com")
    assert not allows(statements, request, "sns.amazonaws.com")
    assert allows(policy(allow(Principal="*")), request, "sns.amazonaws.com")


@pytest.mark.parametrize(
    "condition", [{"DateLessThan": {"k:a": "2026-01-01"}}, {"StringEquals": {"k:a": "${aws:username}"}}]
)
def test_what_is_not_emulated_is_a_gap_and_not_an_answer(condition):
    with pytest.raises(NotEmulated):
        allows(policy(allow(Condition=condition)), Request("dynamodb:GetItem", TABLE, {"k:a": ("x",)}))
