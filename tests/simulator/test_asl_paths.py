"""Paths, payload templates and intrinsic functions of the Amazon States Language."""

from __future__ import annotations

import json
from typing import Any

import pytest

from simulator.aws.asl_intrinsics import parse_expression
from simulator.aws.asl_path import (
    MAX_PAYLOAD_BYTES,
    MISSING,
    Gap,
    NotAllowed,
    StateFault,
    check_size,
    compile_template,
    parse_path,
    parse_result_path,
)

DATA: dict[str, Any] = {
    "look": {"next": "WAIT", "wait_s": 10, "null": None, "list": [{"a": 1}, {"a": 2}]},
    "a b": "blank",
    "it's": "quote",
}


def context() -> dict[str, Any]:
    return {"Execution": {"Name": "chat-7"}, "State": {"RetryCount": 2}}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("$", DATA),
        ("$.look.next", "WAIT"),
        ("$.look.null", None),  # a null that is there is not missing
        ("$['look']['wait_s']", 10),
        ('$["a b"]', "blank"),
        (r"$['it\'s']", "quote"),
        ("$.look.list[1].a", 2),
        ("$.look.list[2]", MISSING),
        ("$.look.next.deeper", MISSING),
        ("$.nothing", MISSING),
        ("$$.Execution.Name", "chat-7"),
        ("$$.State.RetryCount", 2),
        ("$$.Execution.Nothing", MISSING),
    ],
)
def test_a_path_reads_what_it_leads_to(path, value):
    assert parse_path(path).read(DATA, context) is value or parse_path(path).read(DATA, context) == value


@pytest.mark.parametrize(
    "path", ["", "look", "$.", "$..a", "$.a[*]", "$.a[-1]", "$.a[0:2]", "$.a[?(@.b)]", "$.*", 7, None]
)
def test_a_path_that_is_not_definite_is_refused(path):
    with pytest.raises((NotAllowed, Gap)):
        parse_path(path)


@pytest.mark.parametrize(
    ("result_path", "raw", "output"),
    [
        ("$", {"a": 1}, "R"),
        (None, {"a": 1}, {"a": 1}),
        ("$.r", {"a": 1}, {"a": 1, "r": "R"}),
        ("$.a", {"a": 1}, {"a": "R"}),
        ("$.x.y", {"a": 1}, {"a": 1, "x": {"y": "R"}}),
        ("$.x.y", {"x": {"z": 2}}, {"x": {"z": 2, "y": "R"}}),
    ],
)
def test_a_result_goes_where_result_path_says_and_the_input_stays_as_it_was(result_path, raw, output):
    before = json.dumps(raw)
    assert parse_result_path(result_path).put(raw, "R") == output
    assert json.dumps(raw) == before


@pytest.mark.parametrize("raw", [[1], "text", {"x": 3}])
def test_a_result_cannot_go_through_something_that_is_no_object(raw):
    with pytest.raises(StateFault) as refusal:
        parse_result_path("$.x.y").put(raw, "R")
    assert refusal.value.error == "States.ResultPathMatchFailure"


@pytest.mark.parametrize("result_path", ["$$.Execution", "$.a[0]", "look", 1])
def test_a_result_path_that_is_not_a_field_is_refused(result_path):
    with pytest.raises((NotAllowed, Gap)):
        parse_result_path(result_path)


def test_a_template_replaces_every_field_that_ends_in_dollar_at_any_depth():
    template = {
        "constant": {"kept": ["$.look.next", 1]},
        "next.$": "$.look.next",
        "deep": [{"name.$": "$$.Execution.Name"}, {"said.$": "States.Format('{} s', $.look.wait_s)"}],
    }
    assert compile_template(template, parse_expression)(DATA, context) == {
        "constant": {"kept": ["$.look.next", 1]},
        "next": "WAIT",
        "deep": [{"name": "chat-7"}, {"said": "10 s"}],
    }


def test_a_template_whose_path_leads_nowhere_fails_as_aws_says_it():
    with pytest.raises(StateFault) as refusal:
        compile_template({"JobName.$": "$.JobName"}, parse_expression)({}, context)
    assert refusal.value.error == "States.Runtime"
    expected = "The JSONPath '$.JobName' specified for the field 'JobName.$' could not be found in the input '{}'"
    assert refusal.value.cause == expected


@pytest.mark.parametrize("template", [{"a.$": 1}, {"a.$": "text"}, {"a.$": "States.Nope(1)"}, {"a": 1, "a.$": "$"}])
def test_a_template_that_cannot_work_is_refused(template):
    with pytest.raises((NotAllowed, Gap)):
        compile_template(template, parse_expression)


# Examples of the Step Functions developer guide, "Intrinsic functions for JSONPath states", and edges around them.
@pytest.mark.parametrize(
    ("expression", "data", "value"),
    [
        ("States.Array($.Id)", {"Id": 123456}, [123456]),
        ("States.Array()", {}, []),
        ("States.Array('a', 1, 2.5, null, true, $$.Execution.Name)", {}, ["a", 1, 2.5, None, True, "chat-7"]),
        ("States.ArrayPartition($.in, 4)", {"in": [1, 2, 3, 4, 5, 6, 7, 8, 9]}, [[1, 2, 3, 4], [5, 6, 7, 8], [9]]),
        ("States.ArrayContains($.in, $.for)", {"in": [1, 2, 3, 4, 5, 6, 7, 8, 9], "for": 5}, True),
        ("States.ArrayContains($.in, true)", {"in": [1, 0]}, False),
        ("States.ArrayRange(1, 9, 2)", {}, [1, 3, 5, 7, 9]),
        ("States.ArrayRange(5, 1, -2)", {}, [5, 3, 1]),
        ("States.ArrayGetItem($.in, $.at)", {"in": [1, 2, 3, 4, 5, 6, 7, 8, 9], "at": 5}, 6),
        ("States.ArrayLength($.in)", {"in": [1, 2, 3, 4, 5, 6, 7, 8, 9]}, 9),
        ("States.ArrayUnique($.in)", {"in": [1, 2, 3, 3, 3, 3, 3, 3, 4]}, [1, 2, 3, 4]),
        ("States.Base64Encode($.in)", {"in": "Data to encode"}, "RGF0YSB0byBlbmNvZGU="),
        ("States.Base64Decode($.in)", {"in": "RGVjb2RlZCBkYXRh"}, "Decoded data"),
        (
            "States.Hash($.Data, $.Algorithm)",
            {"Data": "input data", "Algorithm": "SHA-1"},
            "aaff4a450a104cd177d28d18d74485e8cae074b7",
        ),
        (
            "States.JsonMerge($.json1, $.json2, false)",
            {"json1": {"a": {"a1": 1, "a2": 2}, "b": 2}, "json2": {"a": {"a3": 1, "a4": 2}, "c": 3}},
            {"a": {"a3": 1, "a4": 2}, "b": 2, "c": 3},
        ),
        ("States.StringToJson($.s)", {"s": '{"foo": "bar"}'}, {"foo": "bar"}),
        ("States.JsonToString($.j)", {"j": {"foo": "bar", "n": 1}}, '{"foo":"bar","n":1}'),
        ("States.MathAdd($.value1, $.step)", {"value1": 111, "step": -1}, 110),
        ("States.StringSplit($.s, $.by)", {"s": "1,2,3,4,5", "by": ","}, ["1", "2", "3", "4", "5"]),
        (
            "States.StringSplit($.s, $.by)",
            {"s": "This.is+a,test=string", "by": ".+,="},
            ["This", "is", "a", "test", "string"],
        ),
        ("States.Format('Hello, my name is {}.', $.name)", {"name": "Arnav"}, "Hello, my name is Arnav."),
        ("States.Format($.template, $.name)", {"template": "Hello, {}.", "name": "Arnav"}, "Hello, Arnav."),
        (r"States.Format('\{{}\} it\'s {}', 1.5, null)", {}, "{1.5} it's null"),
        (
            "States.Format('{}.{}', States.ArrayGetItem(States.StringSplit($.arn, '/'), 2), States.MathAdd(1, 1))",
            {"arn": "a/b/c"},
            "c.2",
        ),
        ("States.Format('{} {}', $['a b'], $.x[1])", {"a b": ")", "x": [0, 1]}, ") 1"),
    ],
)
def test_an_intrinsic_function_does_what_its_documentation_says(expression, data, value):
    result = parse_expression(expression).read(data, context)
    assert (result, type(result)) == (value, type(value))


@pytest.mark.parametrize(
    ("expression", "data"),
    [
        ("States.Format('{} {}', $.a)", {"a": 1}),
        ("States.ArrayGetItem($.a, 3)", {"a": [1]}),
        ("States.ArrayGetItem($.a, 0)", {"a": "text"}),
        ("States.ArrayPartition($.a, 0)", {"a": [1]}),
        ("States.ArrayRange(0, 5000, 1)", {}),
        ("States.MathAdd($.a, 1)", {"a": 1.5}),
        ("States.StringToJson($.a)", {"a": "{"}),
        ("States.JsonMerge($, $, true)", {}),
        ("States.Base64Decode($.a)", {"a": "%"}),
        ("States.Base64Encode($.a)", {"a": "x" * 10_001}),
        ("States.Hash($.a, 'CRC32')", {"a": "x"}),
    ],
)
def test_an_intrinsic_function_that_cannot_work_is_an_intrinsic_failure(expression, data):
    with pytest.raises(StateFault) as refusal:
        parse_expression(expression).read(data, context)
    assert refusal.value.error == "States.IntrinsicFailure"


def test_an_argument_that_leads_nowhere_is_a_runtime_error_which_nothing_catches():
    with pytest.raises(StateFault) as refusal:
        parse_expression("States.Format('{}', $.a.b)").read({"a": 1}, context)
    assert refusal.value.error == "States.Runtime"


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("States.UUID()", "different in every run"),
        ("States.MathRandom(1, 9)", "different in every run"),
        ("States.Upper('a')", "not an intrinsic function"),
        ("States.Format('a'", "expected"),
        ("States.Format('a') + 1", "left over"),
        ("States.Format(a)", "single quotes"),
        ("States.ArrayLength($.a, 1)", "2 arguments"),
        ("States.Array($.a[*])", "expected"),
        ("States.Array(" * 11 + ")" * 11, "more than 10"),
    ],
)
def test_an_expression_that_would_not_be_the_same_twice_or_not_work_is_refused_at_once(expression, says):
    with pytest.raises((NotAllowed, Gap), match=says):
        parse_expression(expression)


def test_a_payload_is_limited_in_bytes_of_utf8_not_in_characters():
    check_size("x" * (MAX_PAYLOAD_BYTES - 2), "here")
    with pytest.raises(StateFault) as refusal:
        check_size("ü" * (MAX_PAYLOAD_BYTES // 2), "here")
    assert refusal.value.error == "States.DataLimitExceeded"
