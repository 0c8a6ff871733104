"""What is remembered about a target between two looks. Small, versioned, round-trips through JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from quickstep.model.forecast import Forecast
from quickstep.model.headroom import Headroom
from quickstep.model.observation import ServingChange

STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Change:
    """A change of capacity that was carried out: from → to, at `at_s`."""

    at_s: float
    before: int
    after: int
    cause: str = ""
    """Name of the policy or stage that asked, or a person's reason."""
    hold_s: float | None = None
    """For a manual wish: how long it is kept; None = the default grace."""

    @property
    def is_scale_out(self) -> bool:
        return self.after > self.before

    @property
    def amount(self) -> int:
        return self.after - self.before


@dataclass(frozen=True, slots=True)
class StepMemory:
    """What a step policy has already answered, so that one breach counts once."""

    datapoint_s: float
    """Start of the newest datapoint that was used."""
    breach: float
    acted_at_s: float


@dataclass(frozen=True, slots=True)
class Ask:
    """Something asked of SageMaker whose effect is still to come."""

    what: str
    """`copies` or `instances`."""
    at_s: float
    before: int
    wanted: int
    deadline_s: float
    activity_id: str = ""
    """Key of the scaling activity that this ask belongs to."""
    accepted: bool = True
    """False while it is only an intent: SageMaker has not been heard to accept it (a crash, a lost answer)."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """A refusal that is waited out."""

    reason: str
    until_s: float
    attempts: int
    largest_possible: int | None = None
    """What the refusal says would fit; None if it does not say."""


@dataclass(frozen=True, slots=True)
class Minutes:
    """Load by the minute, in copies' worth, until it is put with the history that is learned from."""

    from_s: float
    """Start of the first minute."""
    levels: tuple[float | None, ...] = ()
    """None = not known."""

    @property
    def until_s(self) -> float:
        """End of the last minute."""
        return self.from_s + 60.0 * len(self.levels)


@dataclass(frozen=True, slots=True)
class VariantState:
    """Everything remembered about the instances of one variant, whichever components live on them."""

    ask: Ask | None = None
    backoff: Backoff | None = None
    empty_since_s: float | None = None
    """Since when there have been more instances than the copies need (fixed-instances mode)."""
    startup_s: tuple[float, ...] = ()
    """Measured ask → in service of instances; newest last, bounded."""
    watch_until_s: float | None = None
    """An instance was removed lately: if a component loses copies before this moment, the instance is restored."""
    watch_restore: int | None = None
    left_to_human: bool = False
    """Removing an instance once hit running copies; instance scale-in of this variant is left to a person."""
    managed: bool | None = None
    """True once SageMaker said that it moves the instances itself, whatever DescribeEndpoint shows."""


@dataclass(frozen=True, slots=True)
class EndpointState:
    """What is remembered about an endpoint beside its targets."""

    version: int = STATE_VERSION
    config_name: str | None = None
    """Endpoint configuration at the last look: a new name means that a deployment has happened."""
    variants: Mapping[str, VariantState] = field(default_factory=dict)
    instance_types: Mapping[str, str | None] = field(default_factory=dict)
    """Instance type by variant, of configuration `config_name`: DescribeEndpoint does not say it."""
    scale_out_asked_s: float | None = None
    """When SageMaker was last asked for more of anything on this endpoint."""

    def variant(self, name: str) -> VariantState:
        return self.variants.get(name, VariantState())

    def with_variant(self, name: str, state: VariantState) -> EndpointState:
        return replace(self, variants={**self.variants, name: state})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form."""
        variants = {name: _changed(state) for name, state in sorted(self.variants.items())}
        return {
            "version": self.version,
            "config_name": self.config_name,
            "variants": variants,
            "instance_types": dict(sorted(self.instance_types.items())),
            "scale_out_asked_s": self.scale_out_asked_s,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EndpointState:
        """Rebuild; unknown fields are ignored, missing ones get their default."""
        variants = {
            name: VariantState(**_built(VariantState, row)) for name, row in (data.get("variants") or {}).items()
        }
        return cls(
            STATE_VERSION,
            data.get("config_name"),
            variants,
            dict(data.get("instance_types") or {}),
            data.get("scale_out_asked_s"),
        )


@dataclass(frozen=True, slots=True)
class TargetState:
    """Everything remembered about one target. Fields are replaced, never mutated."""

    version: int = STATE_VERSION
    serving: tuple[ServingChange, ...] = ()
    """How many copies served since when, oldest first; bounded to the last hour."""
    wish: int | None = None
    """The newest decided count; None before the first decision."""
    wish_at_s: float | None = None
    queued: bool = False
    """The wish has not been asked of SageMaker yet: it waits for instances, or for the component to become stable."""
    last_scale_out: Change | None = None
    last_scale_in: Change | None = None
    step_memory: Mapping[str, StepMemory] = field(default_factory=dict)
    burst_until_s: float | None = None
    burst_copies: int = 0
    ask: Ask | None = None
    backoff: Backoff | None = None
    awake_since_s: float | None = None
    """When the target last left zero; None if it has not been at zero."""
    peak_before_sleep: int | None = None
    """Most copies in use before the target last went to zero."""
    turns_s: tuple[float, ...] = ()
    """Times of recent direction changes, for flap memory."""
    startup_s: tuple[float, ...] = ()
    """Measured ask → in service of copies (or of a variant's instances); newest last, bounded."""
    paused_until_s: float | None = None
    """Operator's pause: no change before this moment; `inf` = until resumed; None = not paused."""
    pinned: int | None = None
    """Operator's pin: exactly this count; None = not pinned."""
    shadow_wish: int | None = None
    """Of a shadowed target: the count that would have been set at the last look; None = not shadowed."""
    manual: Change | None = None
    """Last change that somebody else made; honoured as a floor for a while."""
    service_s: float | None = None
    """Seconds that a request takes on a copy that carries its target; None until the latency metric has said so."""
    service_at_s: float | None = None
    """Start of the newest latency datapoint that is in `service_s`."""
    load: Minutes | None = None
    """Load of the last minutes, not yet with the history."""
    headroom: Headroom | None = None
    """What was learned about this target's load; None until there is an hour of it."""
    forecasts: Mapping[str, Forecast] = field(default_factory=dict)
    """What each forecasting policy has forecast, by its name."""
    last_reason: str | None = None
    """Reason of the last recorded decision: a repeated one is logged, not recorded again."""
    last_look_s: float | None = None
    """When this state was last looked at. Kept with the endpoint's loop, not in the document: it changes every time."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON-able form; fields at their default are left out."""
        return {"version": self.version} | _changed(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TargetState:
        """Rebuild a state; unknown fields (a newer version wrote them) are ignored, missing ones get their default."""
        return cls(**(_built(cls, data) | {"version": STATE_VERSION}))


def _changed(state: Any) -> dict[str, Any]:
    """The fields that differ from their default, as JSON-able values; infinity is written as the word it prints as."""
    default = type(state)()
    out = {}
    for f in fields(state):
        value = getattr(state, f.name)
        if value != getattr(default, f.name):
            out[f.name] = _plain(value)
    return out


def _built(kind: type, data: Mapping[str, Any]) -> dict[str, Any]:
    known = {f.name for f in fields(kind)}
    values = {k: v for k, v in data.items() if k in known}
    for name, build in _BUILDERS.items():
        if values.get(name) is not None:
            values[name] = build(values[name])
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in sorted(value.items())}
    if isinstance(value, float) and value == float("inf"):
        return "inf"
    return _plain(asdict(value)) if hasattr(value, "__dataclass_fields__") else value


def _floats(values: Any) -> tuple[float, ...]:
    return tuple(float(v) for v in values)


def change_from_dict(row: Mapping[str, Any]) -> Change:
    """Rebuild a change; an infinite hold was written as the word it prints as."""
    return Change(**{**row, "hold_s": None if row.get("hold_s") is None else float(row["hold_s"])})


_BUILDERS = {
    "serving": lambda rows: tuple(ServingChange(**row) for row in rows),
    "step_memory": lambda rows: {k: StepMemory(**v) for k, v in rows.items()},
    "last_scale_out": lambda row: Change(**row),
    "last_scale_in": lambda row: Change(**row),
    "manual": change_from_dict,
    "ask": lambda row: Ask(**row),
    "backoff": lambda row: Backoff(**row),
    "load": lambda row: Minutes(float(row["from_s"]), tuple(row.get("levels") or ())),
    "headroom": Headroom.from_dict,
    "forecasts": lambda rows: {name: Forecast.from_dict(row) for name, row in rows.items()},
    "paused_until_s": float,
    "turns_s": _floats,
    "startup_s": _floats,
}
