"""A template becomes the stack that CloudFormation would make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.template import Stack, TemplateError, load_stack
from tests.simulator.sample_app import TEMPLATE, write_sample

ACCOUNT = "111122223333"


def stack_of(folder: Path, template: str, parameters: dict | None = None, **where) -> Stack:
    path = folder / "template.yaml"
    path.write_text(template, encoding="utf-8")
    return load_stack(path, parameters, **where)


def value_of(folder: Path, expression: str, *, head: str = "", parameters: dict | None = None):
    """What `expression` (one line of YAML) resolves to as an output."""
    template = f"{head}\nResources:\n  Queue: {{Type: AWS::SQS::Queue, Properties: {{QueueName: lost}}}}\n"
    return stack_of(folder, f"{template}Outputs:\n  It: {{Value: {expression}}}\n", parameters).outputs["It"]


PARAMETERS = """
Parameters:
  Copies: {Type: Number, Default: 2, MinValue: 1, MaxValue: 8}
  Subnets: {Type: CommaDelimitedList, Default: 'a, b,c'}
  Ports: {Type: List<Number>, Default: '80,443'}
  Mode: {Type: String, Default: act, AllowedValues: [act, shadow]}
  Name: {Type: String, Default: chat, AllowedPattern: '[a-z]+', MinLength: 3, MaxLength: 6}
  Zone: {Type: String, Default: eu, AllowedPattern: '[a-z]+', ConstraintDescription: use lower-case letters}
"""
MAPPINGS = """
Parameters: {Size: {Type: String, Default: big}}
Mappings: {Gpu: {big: {Count: 4}, small: {Count: 1}}}
Conditions:
  Big: !Equals [!Ref Size, big]
  Never: !And [!Condition Big, !Equals [1, 2]]
  Either: !Or [!Condition Never, !Not [!Condition Never]]
"""


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        # CloudFormation user guide, intrinsic function reference
        ("!Join [':', [a, b, c]]", "a:b:c"),
        ("!Select ['1', [apples, grapes, oranges]]", "grapes"),
        ("!Split ['|', 'a|b|c']", ["a", "b", "c"]),
        ("!Select [2, !Split [',', 'a,b,c']]", "c"),
        ("!Base64 AWS CloudFormation", "QVdTIENsb3VkRm9ybWF0aW9u"),
        ("!Sub 'arn:${AWS::Partition}:x:${AWS::Region}:${AWS::AccountId}'", f"arn:aws:x:eu-west-1:{ACCOUNT}"),
        ("!Sub ['www.${Domain}', {Domain: !Ref AWS::URLSuffix}]", "www.amazonaws.com"),
        ("!Sub 'Hello ${!World}'", "Hello ${World}"),
        ("!Sub '${Queue.QueueName}'", "lost"),
        ("!Ref AWS::StackName", "quickstep"),
        ("!Ref Queue", f"https://sqs.eu-west-1.amazonaws.com/{ACCOUNT}/lost"),
        ("!GetAtt Queue.Arn", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:lost"),
        ("{'Fn::GetAtt': [Queue, Arn]}", f"arn:aws:sqs:eu-west-1:{ACCOUNT}:lost"),
        ("[a, !Ref AWS::NoValue, b]", ["a", "b"]),
        ("{kept: 1, gone: !Ref AWS::NoValue}", {"kept": 1}),
        ("{'Fn::ToJsonString': {a: [1, !Ref AWS::Region]}}", '{"a":[1,"eu-west-1"]}'),
    ],
)
def test_an_intrinsic_function_gives_what_the_user_guide_says(tmp_path, expression, value):
    assert value_of(tmp_path, expression) == value


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("!FindInMap [Gpu, !Ref Size, Count]", 4),
        ("!If [Big, yes-big, no-big]", "yes-big"),
        ("!If [Never, 1, 2]", 2),
        ("!If [Either, 1, 2]", 1),
    ],
)
def test_conditions_and_mappings_choose(tmp_path, expression, value):
    assert value_of(tmp_path, expression, head=MAPPINGS) == value


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("!Ref Nobody", "Unresolved resource dependencies [Nobody]"),
        ("!GetAtt Queue.Colour", "does not support attribute type Colour"),
        ("!Select [3, [a]]", "cannot select nonexistent value at index 3"),
        ("!ImportValue shared", "No export named shared found"),
        ("!Transform {Name: AWS::Include}", "Fn::Transform is not supported"),
        ("'{{resolve:ssm:/a}}'", "Dynamic references are not supported"),
        ("!If [Missing, 1, 2]", "Unresolved condition Missing"),
    ],
)
def test_what_cloudformation_refuses_or_this_cannot_do_is_refused_by_name(tmp_path, expression, problem):
    with pytest.raises(TemplateError) as refused:
        value_of(tmp_path, expression)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("Copies", "0", "Parameter 'Copies' must be a number not less than 1"),
        ("Copies", "9", "Parameter 'Copies' must be a number not greater than 8"),
        ("Copies", "two", "Parameter 'Copies' must be a number"),
        ("Mode", "off", "Parameter 'Mode' must be one of AllowedValues"),
        ("Name", "chat1", "Parameter 'Name' must match pattern [a-z]+"),
        ("Name", "ab", "Parameter 'Name' must contain at least 3 characters"),
        ("Name", "abcdefg", "Parameter 'Name' must contain at most 6 characters"),
        ("Zone", "EU", "Parameter Zone failed to satisfy constraint: use lower-case letters"),
        ("Ports", "80,http", "Parameter 'Ports' must be a number"),
        ("Color", "red", "Parameters: [Color] do not exist in the template"),
    ],
)
def test_a_parameter_outside_its_constraints_is_refused_as_cloudformation_words_it(tmp_path, name, text, problem):
    with pytest.raises(TemplateError) as refused:
        value_of(tmp_path, "!Ref Copies", head=PARAMETERS, parameters={name: text})
    assert str(refused.value) == problem


def test_a_parameter_without_default_or_value_is_missing(tmp_path):
    with pytest.raises(TemplateError, match=r"Parameters: \[Endpoint\] must have values"):
        value_of(tmp_path, "!Ref Endpoint", head="Parameters: {Endpoint: {Type: String}}")


def test_parameters_are_texts_and_lists_of_texts(tmp_path):
    assert value_of(tmp_path, "!Ref Copies", head=PARAMETERS) == "2"
    assert value_of(tmp_path, "!Ref Subnets", head=PARAMETERS) == ["a", "b", "c"]
    assert value_of(tmp_path, "!Join ['-', !Ref Ports]", head=PARAMETERS, parameters={"Ports": [1, 2]}) == "1-2"


def test_a_rule_of_the_template_that_does_not_hold_refuses_the_deployment(tmp_path):
    head = """
Parameters: {Env: {Type: String, Default: prod}, Copies: {Type: String, Default: '1'}}
Rules:
  Production:
    RuleCondition: !Equals [!Ref Env, prod]
    Assertions:
      - Assert: {'Fn::Contains': [['2', '3'], !Ref Copies]}
        AssertDescription: production needs 2 or 3 copies
"""
    with pytest.raises(TemplateError, match="production needs 2 or 3 copies"):
        value_of(tmp_path, "!Ref Env", head=head)
    assert value_of(tmp_path, "!Ref Env", head=head, parameters={"Copies": "2"}) == "prod"
    assert value_of(tmp_path, "!Ref Env", head=head, parameters={"Env": "test"}) == "test"


def test_resources_that_refer_to_each_other_in_a_circle_are_found(tmp_path):
    template = """
Resources:
  A: {Type: AWS::SQS::Queue, Properties: {QueueName: !GetAtt B.QueueName}}
  B: {Type: AWS::SQS::Queue, Properties: {QueueName: !GetAtt A.QueueName}}
"""
    with pytest.raises(TemplateError, match="Circular dependency"):
        stack_of(tmp_path, template)


def test_the_sam_translator_s_own_refusal_is_passed_on(tmp_path):
    template = "Transform: AWS::Serverless-2016-10-31\nResources:\n  F: {Type: AWS::Serverless::Function, Properties: {Handler: a.b}}\n"
    with pytest.raises(TemplateError, match="Resource with id \\[F\\] is invalid"):
        stack_of(tmp_path, template)


def test_functions_rules_roles_and_permissions_are_those_that_sam_deploys(tmp_path):
    stack = load_stack(write_sample(tmp_path), {"TargetPerCopy": 7})
    function = stack["OnAlarm"]
    assert function.properties["Environment"]["Variables"]["TARGET_PER_COPY"] == "7"
    assert function.properties["Environment"]["Variables"]["TABLE_NAME"] == stack["StateTable"].name
    assert function.code_dir == tmp_path / "functions/on_alarm"
    assert [layer.code_dir for layer in stack.of_type("AWS::Lambda::LayerVersion")] == [tmp_path / "layers/core"]
    rule = stack["OnAlarmAlarm"]
    assert rule.properties["Targets"][0]["Arn"] == function.arn
    assert rule.properties["Targets"][0]["RetryPolicy"] == {"MaximumRetryAttempts": 3, "MaximumEventAgeInSeconds": 300}
    assert stack["OnAlarmAlarmPermission"].properties["SourceArn"] == rule.arn
    assert function.properties["Role"] == stack["OnAlarmRole"].arn
    assert stack["ReconcileEveryMinute"].type == "AWS::Scheduler::Schedule"


def test_a_property_that_no_value_takes_away_is_absent(tmp_path):
    path = write_sample(tmp_path)
    assert "AlarmActions" not in load_stack(path)["HighAlarm"].properties
    topic = f"arn:aws:sns:eu-west-1:{ACCOUNT}:pages"
    assert load_stack(path, {"AlarmTopicArn": topic})["HighAlarm"].properties["AlarmActions"] == [topic]


def test_resources_and_outputs_with_a_false_condition_are_not_there(tmp_path):
    path = write_sample(tmp_path)
    off, on = load_stack(path), load_stack(path, {"Mode": "shadow"})
    assert "Shadow" not in off.resources and "ShadowName" not in off.outputs
    assert on.outputs["ShadowName"] == on["Shadow"].name


def test_the_state_machine_s_definition_is_read_with_its_substitutions(tmp_path):
    stack = load_stack(write_sample(tmp_path))
    states = stack["Loop"].properties["Definition"]["States"]
    assert states["Look"]["Resource"] == stack["Reconcile"].arn
    assert states["WaitTick"]["Comment"] == "a tick is 10 s"


def test_types_without_behaviour_are_listed_and_never_silently_used(tmp_path):
    assert load_stack(write_sample(tmp_path)).not_emulated == ("Forecast",)


def test_names_without_a_property_are_repeatable_and_differ_between_stacks(tmp_path):
    path = write_sample(tmp_path)
    one, again, other = load_stack(path), load_stack(path), load_stack(path, stack_name="prod")
    assert one["StateTable"].name == again["StateTable"].name
    assert one["StateTable"].name.startswith("quickstep-StateTable-")
    assert other["HighAlarm"].name == "prod--chat-high"
    assert other["StateTable"].name != one["StateTable"].name.replace("quickstep", "prod")


def test_names_keep_within_their_type_s_limit(tmp_path):
    path = write_sample(tmp_path)
    names = [one.name for one in load_stack(path, stack_name="s" * 100).of_type("AWS::Lambda::Function")]
    assert [len(name) <= 64 for name in names] == [True, True] and len(set(names)) == 2


def test_region_and_account_are_the_caller_s(tmp_path):
    stack = load_stack(write_sample(tmp_path), region="us-east-1", account_id="999900001111")
    assert stack["StateTable"].arn == f"arn:aws:dynamodb:us-east-1:999900001111:table/{stack['StateTable'].name}"


def test_a_changed_file_is_read_again_and_an_unchanged_one_is_not(tmp_path):
    path = write_sample(tmp_path)
    first = load_stack(path)
    assert load_stack(path) is first
    path.write_text(TEMPLATE.replace("Default: 20", "Default: 30"), encoding="utf-8")
    assert load_stack(path).parameters["TargetPerCopy"] == "30"


def test_dates_stay_text_and_local_definitions_count_as_part_of_the_template(tmp_path):
    path = write_sample(tmp_path)
    policy = load_stack(path)["LostEventsPolicy"].properties["PolicyDocument"]
    assert policy["Version"] == "2012-10-17"
    loop = tmp_path / "loop.asl.yaml"
    loop.write_text(loop.read_text().replace("Seconds: 10", "Seconds: 20"), encoding="utf-8")
    assert load_stack(path)["Loop"].properties["Definition"]["States"]["WaitTick"]["Seconds"] == 20


@pytest.mark.parametrize(("text", "problem"), [("a: [", "is not valid YAML"), ("- a", "holds no mapping")])
def test_a_file_that_is_no_template_is_named(tmp_path, text, problem):
    with pytest.raises(TemplateError, match=f"template.yaml {problem}"):
        stack_of(tmp_path, text)
    with pytest.raises(TemplateError, match="There is no file other.yaml"):
        load_stack(tmp_path / "other.yaml")


def test_what_one_stack_exports_another_imports_by_its_name(tmp_path):
    queue = "Resources: {Queue: {Type: AWS::SQS::Queue, Properties: {QueueName: lost}}}\n"
    exporting = stack_of(
        tmp_path,
        f"{queue}Outputs: {{It: {{Value: !GetAtt Queue.Arn, Export: {{Name: !Sub '${{AWS::StackName}}-arn'}}}}}}\n",
    )
    assert exporting.exports == {"quickstep-arn": exporting["Queue"].arn}
    importing = f"{queue}Outputs: {{It: {{Value: !ImportValue {{'Fn::Sub': '${{AWS::StackName}}-arn'}}}}}}\n"
    assert stack_of(tmp_path, importing, imports=exporting.exports).outputs == {"It": exporting["Queue"].arn}
    with pytest.raises(TemplateError, match="No export named quickstep-arn found"):
        stack_of(tmp_path, importing)
