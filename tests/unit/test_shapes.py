"""Shapes: the checks of settings and events against pydantic's, which they stand in for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, StringConstraints, TypeAdapter, ValidationError

from quickstep import shapes
from quickstep.shapes import Unreadable, Wrong, number, one_of, or_none, part, read, text, whole

NAME = r"^[a-zA-Z0-9](-*[a-zA-Z0-9])*$"
PAIRS = {
    "text": (text(), Annotated[str, Field(strict=True)]),
    "stripped": (
        text(strip=True, min_length=1),
        Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)],
    ),
    "name": (text(max_length=5, pattern=NAME), Annotated[str, StringConstraints(max_length=5, pattern=NAME)]),
    "strict whole": (whole(ge=0, le=9), Annotated[int, Field(strict=True, ge=0, le=9)]),
    "strict number": (number(ge=0, le=9), Annotated[float, Field(strict=True, ge=0, le=9, allow_inf_nan=False)]),
    "word": (one_of("Average", "Maximum"), Literal["Average", "Maximum"]),
    "or none": (or_none(whole(ge=1)), Annotated[int, Field(strict=True, ge=1)] | None),
}
FROM_TEXT = {
    "whole": (whole(ge=0, le=9, from_text=True), Annotated[int, Field(ge=0, le=9)]),
    "number": (number(gt=0, from_text=True), Annotated[float, Field(gt=0, allow_inf_nan=False)]),
}
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 12), st.floats(-3, 12), st.text("aA0-_ \n", max_size=7),
    st.sampled_from(["Average", "maximum", math.inf, math.nan, [], {}]),
)  # fmt: skip
TEXTS = st.text(" +-.0123456789e", max_size=5)


def ours(check, value: Any) -> tuple[str, Any]:
    try:
        return "read", check(value)
    except Wrong as wrong:
        return "refused", str(wrong)


adapter = cache(TypeAdapter)


def pydantics(kind: Any, value: Any) -> tuple[str, Any]:
    try:
        return "read", adapter(kind).validate_python(value)
    except ValidationError as error:
        return "refused", error.errors()[0]["msg"]


@pytest.mark.parametrize("name", PAIRS)
@settings(deadline=None)
@given(value=VALUES)
def test_a_check_reads_and_refuses_what_pydantic_does_in_the_same_words(name, value):
    check, kind = PAIRS[name]
    mine, theirs = ours(check, value), pydantics(kind, value)
    assert mine[0] == theirs[0], (mine, theirs)
    assert mine[1] == theirs[1], (mine, theirs)


@pytest.mark.parametrize("name", FROM_TEXT)
@settings(deadline=None)
@given(value=TEXTS)
def test_a_number_in_an_environment_variable_is_read_as_pydantic_reads_it(name, value):
    check, kind = FROM_TEXT[name]
    mine, theirs = ours(check, value), pydantics(kind, value)
    assert mine[0] == theirs[0], (value, mine, theirs)
    if mine[0] == "read":
        assert mine[1] == theirs[1]


@dataclass(frozen=True)
class Inner:
    count: Annotated[int, whole(ge=1)]


@dataclass(frozen=True)
class Outer:
    name: Annotated[str, text(min_length=1)]
    inner: Annotated[Inner, part(Inner)]
    note: Any = None


def test_every_problem_is_told_with_its_path():
    with pytest.raises(Unreadable) as caught:
        read(Outer, {"name": "", "inner": {"count": 0}})
    told = [(one.path, one.value, one.missing) for one in caught.value.problems]
    assert told == [(("name",), "", False), (("inner", "count"), 0, False)]
    with pytest.raises(Unreadable) as caught:
        read(Outer, {"inner": {}})
    assert [(one.path, one.missing) for one in caught.value.problems] == [(("name",), True), (("inner", "count"), True)]


def test_what_is_not_of_the_shape_is_ignored_and_a_field_with_a_default_may_be_missing():
    assert read(Outer, {"name": "a", "inner": {"count": 2, "more": 1}, "other": 1}) == Outer("a", Inner(2))


def test_a_shape_can_be_read_under_other_names():
    assert read(Inner, {"COUNT": 3}, name=str.upper) == Inner(3)


def test_a_handler_that_looks_brings_neither_pydantic_nor_powertools_nor_boto3_nor_the_control_api():
    import subprocess
    import sys
    from pathlib import Path

    root = Path(shapes.__file__).parents[3]
    code = (
        "import sys, runpy; runpy.run_path(sys.argv[1]); "
        "print(sorted({n.split('.')[0] for n in sys.modules} & {'boto3', 'pydantic', 'aws_lambda_powertools', 'yaml', 'moto'}), "
        "sorted(n for n in sys.modules if n.startswith('quickstep.control')))"
    )
    for name in ("on_alarm", "decide", "place_copies", "add_instances"):
        handler = root / "functions" / name / "app.py"
        done = subprocess.run([sys.executable, "-c", code, str(handler)], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[] []", name
