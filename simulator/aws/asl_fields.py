"""Which fields each type of state has, and the limits of a definition (Step Functions developer guide)."""

from __future__ import annotations

import re
from typing import Final

MAX_DEFINITION_BYTES: Final = 1_048_576
"""Service quota of a definition; botocore's model has the same number."""

MAX_SECONDS: Final = 99_999_999
"""Largest Wait.Seconds and TimeoutSeconds (developer guide)."""

MAX_NAME_CHARS: Final = 80
"""Longest state name (developer guide)."""

MAX_INLINE_CONCURRENCY: Final = 40
"""Iterations of an inline Map that run at the same time (developer guide)."""

_COMMON: Final = {"Type", "Comment", "QueryLanguage"}
_FLOW: Final = {"Next", "End"}
_PATHS: Final = {"InputPath", "OutputPath"}
_WORK: Final = {"ResultSelector", "ResultPath", "Retry", "Catch"}
FIELDS: Final[dict[str, set[str]]] = {
    "Task": _COMMON | _FLOW | _PATHS | _WORK | {"Parameters", "Resource", "TimeoutSeconds", "TimeoutSecondsPath"},
    "Parallel": _COMMON | _FLOW | _PATHS | _WORK | {"Parameters", "Branches"},
    "Map": _COMMON
    | _FLOW
    | _PATHS
    | _WORK
    | {"Parameters", "ItemSelector", "ItemsPath", "ItemProcessor", "Iterator", "MaxConcurrency"},
    "Pass": _COMMON | _FLOW | _PATHS | {"Parameters", "Result", "ResultPath"},
    "Choice": _COMMON | _PATHS | {"Choices", "Default"},
    "Wait": _COMMON | _FLOW | _PATHS | {"Seconds", "SecondsPath", "Timestamp", "TimestampPath"},
    "Succeed": _COMMON | _PATHS,
    "Fail": _COMMON | {"Error", "Cause", "ErrorPath", "CausePath"},
}

NEWER_FIELDS: Final = frozenset(
    [
        "Arguments",
        "Assign",
        "Credentials",
        "HeartbeatSeconds",
        "HeartbeatSecondsPath",
        "ItemBatcher",
        "ItemReader",
        "Items",
        "Label",
        "MaxConcurrencyPath",
        "Output",
        "ResultWriter",
        "ToleratedFailureCount",
        "ToleratedFailureCountPath",
        "ToleratedFailurePercentage",
        "ToleratedFailurePercentagePath",
    ]
)
"""Fields that AWS knows in some state and this interpreter in none."""

FUNCTION_ARN: Final = re.compile(r"arn:aws[\w-]*:lambda:[a-z0-9-]+:\d{12}:function:[\w-]{1,140}(:[\w$-]{1,128})?")
INVOKE_ARN: Final = re.compile(r"arn:aws[\w-]*:states:::lambda:invoke")
INVOKE_FIELDS: Final = {"FunctionName", "Payload", "Qualifier", "InvocationType"}
