"""Reading a result object: what each field of `result.json` means, and one place that checks it.

Ratios (`slo_attainment`, `cost_vs_oracle`) have no unit in their name; `slo_attainment` lies in 0–1. The SPEC elasticity
metrics (`theta_u`, `theta_o`, `tau_u`, `tau_o`, `instability`) are percentages, as their definitions say. Any number may be
None: not known. A number that is not finite, or a field of the wrong type, is an error of whoever wrote the result.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence


def known_number(fields: Mapping[str, object], key: str, *, where: str = "result") -> float | None:
    """`fields[key]` as a finite number, or None if it is absent or null.

    Raises ValueError, naming the field, for text, booleans, NaN and infinity.
    """
    value = fields.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{where}.{key} is {value!r}; write a number, or null if it is not known")
    if not math.isfinite(value):
        raise ValueError(f"{where}.{key} is {value}; write null if it is not known")
    return value


def ratio(fields: Mapping[str, object], key: str, *, where: str = "result") -> float | None:
    """A share in 0–1, or None. Raises ValueError outside that range, since a percentage is easily passed by mistake."""
    value = known_number(fields, key, where=where)
    if value is not None and not 0 <= value <= 1:
        raise ValueError(f"{where}.{key} is {value}; it is a ratio from 0 to 1, so write 0.997 for 99.7 %")
    return value


def required_number(fields: Mapping[str, object], key: str, *, where: str) -> float:
    """Like `known_number`, for fields without which a row means nothing (`t`)."""
    value = known_number(fields, key, where=where)
    if value is None:
        raise ValueError(f"{where}.{key} is missing; every row needs it")
    return value


def text(fields: Mapping[str, object], key: str) -> str:
    """`fields[key]` as text; absent or null is the empty string."""
    value = fields.get(key)
    return "" if value is None else str(value)


def rows(fields: Mapping[str, object], key: str) -> Sequence[Mapping[str, object]]:
    """The list of objects under `key`; absent or null is an empty list. Raises ValueError for anything else."""
    value = fields.get(key)
    if value is None:
        return []
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError(f"result.{key} is a {type(value).__name__}; write a list of objects")
    return value


def counts_instances(result: Mapping[str, object]) -> bool:
    """True if the target is a single-model variant, scaled in instances, so that there are no copies to speak of."""
    target = result.get("target") or {}
    return target.get("unit") == "instances" or target.get("mode") == "variant"
