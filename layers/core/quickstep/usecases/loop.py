"""The scaling loop of one endpoint: what each state of the state machine does, and how loops begin, hand over and end.

The payload is {v, endpoint, generation}. A loop whose generation is no longer the endpoint's stops at its next look.
Ending is conditional on nobody having poked since the look began, so no wake-up is lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quickstep import clock, telemetry
from quickstep.errors import AwsRefused, InvalidEvent, LeaseHeld, LeaseLost, OutcomeUnknown, Throttled
from quickstep.gateways import loops
from quickstep.gateways.registry import WATCHDOG_S, Registry
from quickstep.model.loop import PAYLOAD_VERSION, Loop, NextWord
from quickstep.reasons import Reason
from quickstep.settings import Settings
from quickstep.usecases.look import NOTHING, LookOutcome, look

MAX_TICKS = 1000
"""Looks of one execution before it hands over: 25 history events a tick stay below Step Functions' 25,000."""
AUDIT_S = 900.0
RETRY_S = 10
RESTART_S = 45.0
"""After a failed loop: so soon that Reconcile's next but one minute has it."""
START_TRIES = 5


def decide_next(payload: Mapping[str, Any], *, holder: str, registry: Registry, settings: Settings) -> dict[str, Any]:
    """State Decide: look without writing; answer with the next word, or end the loop if the endpoint is settled."""
    endpoint, generation = _read(payload)
    loop = registry.read_loop(endpoint)
    if loop.generation != generation:
        return _answer(endpoint, generation, NextWord.SETTLED, 1, f"superseded by generation {loop.generation}")
    if loop.ticks >= MAX_TICKS or loop.code_version != settings.code_version:
        why = f"{loop.ticks} ticks" if loop.ticks >= MAX_TICKS else f"new code version {settings.code_version}"
        return _answer(endpoint, generation, NextWord.HAND_OVER, 1, why)
    outcome = _look(endpoint, holder, NOTHING, registry, settings)
    now_s = clock.now_s()
    if outcome.word is NextWord.SETTLED:
        next_s = outcome.next_look_at_s or now_s + AUDIT_S
        ended = registry.end_loop(
            endpoint, generation=generation, poke_seq=outcome.poke_seq, now_s=now_s, next_look_at_s=next_s
        )
        if ended:
            return _answer(endpoint, generation, NextWord.SETTLED, 1, outcome.why)
        return _answer(endpoint, generation, NextWord.WAIT, 1, "somebody poked while this look was taken")
    return _tick(endpoint, generation, outcome, registry)


def act(
    payload: Mapping[str, Any], word: NextWord, *, holder: str, registry: Registry, settings: Settings
) -> dict[str, Any]:
    """States AddInstances, PlaceCopies, RemoveCopies, RemoveInstances: look again and make that kind of write, if still due."""
    endpoint, generation = _read(payload)
    loop = registry.read_loop(endpoint)
    if loop.generation != generation:
        return _answer(endpoint, generation, NextWord.SETTLED, 1, f"superseded by generation {loop.generation}")
    return _tick(endpoint, generation, _look(endpoint, holder, frozenset({word}), registry, settings), registry)


def verify(payload: Mapping[str, Any], *, holder: str, registry: Registry, settings: Settings) -> dict[str, Any]:
    """State VerifyInstances: compare what SageMaker has with what it was asked for, and say what comes next."""
    return decide_next(payload, holder=holder, registry=registry, settings=settings)


def hand_over(payload: Mapping[str, Any], *, registry: Registry, settings: Settings) -> dict[str, Any]:
    """State HandOver: start a successor with a fresh history; if somebody else already did, that is fine too."""
    endpoint, generation = _read(payload)
    begun = start(endpoint, registry=registry, settings=settings, takes_over_generation=generation)
    why = f"handed over to generation {begun}" if begun else "another loop has taken over already"
    return _answer(endpoint, generation, NextWord.SETTLED, 1, why)


def record_failure(payload: Mapping[str, Any], *, registry: Registry) -> dict[str, Any]:
    """State RecordFailure: say what went wrong, free the loop, and have Reconcile begin a new one soon."""
    endpoint, generation = _read(payload)
    error = payload.get("error") or {}
    name, cause = str(error.get("Error", "unknown")), str(error.get("Cause", ""))[:500]
    telemetry.logger().error("scaling loop failed", extra={"endpoint": endpoint, "error": name, "cause": cause})
    telemetry.count("LoopFailed")
    registry.abandon_loop(endpoint, generation=generation, next_look_at_s=clock.now_s() + RESTART_S)
    return _answer(endpoint, generation, NextWord.SETTLED, 1, f"failed: {name}")


def ensure_running(endpoint: str, *, registry: Registry, settings: Settings) -> int | None:
    """Make sure that a loop runs; return the generation that was started, None if one runs already."""
    loop = registry.read_loop(endpoint)
    now_s = clock.now_s()
    if loop.running and not is_silent(loop, now_s):
        return None
    stale = loop.generation if loop.running else None
    return start(endpoint, registry=registry, settings=settings, takes_over_generation=stale)


def start(
    endpoint: str, *, registry: Registry, settings: Settings, takes_over_generation: int | None = None
) -> int | None:
    """Begin a loop and start its execution; None if another one runs.

    Raises the error with which Step Functions refused; the loop is then marked as not running, so Reconcile tries again.
    """
    for _ in range(START_TRIES):
        now_s = clock.now_s()
        generation = registry.begin_loop(
            endpoint, now_s=now_s, code_version=settings.code_version, takes_over_generation=takes_over_generation
        )
        if generation is None:
            return None
        try:
            if loops.start_loop(endpoint, generation, machine_arn=settings.state_machine_arn):
                return generation
        except AwsRefused:
            registry.abandon_loop(endpoint, generation=generation, next_look_at_s=now_s)
            raise
        # That name has ended within the last 90 days (the table was replaced): take the next one.
        takes_over_generation = generation
    raise Throttled(f"no free execution name for endpoint {endpoint} in {START_TRIES} tries; Reconcile tries again")


def is_silent(loop: Loop, now_s: float) -> bool:
    """True if a running loop has not looked when it should have: it died without saying so."""
    return loop.next_look_at_s is not None and loop.next_look_at_s <= now_s


def _look(
    endpoint: str, holder: str, permit: frozenset[NextWord], registry: Registry, settings: Settings
) -> LookOutcome:
    try:
        return look(endpoint, holder=holder, permit=permit, registry=registry, settings=settings)
    except LeaseHeld as error:
        return LookOutcome(NextWord.WAIT, 2, str(error), -1, None)
    except (Throttled, OutcomeUnknown, LeaseLost) as error:
        # Ordinary weather: look again at the next tick, with whatever is true then.
        telemetry.logger().warning("look failed", extra={"endpoint": endpoint, "error": str(error)})
        telemetry.count("LookFailed")
        return LookOutcome(NextWord.WAIT, RETRY_S, f"{Reason.NOT_SCALABLE_NOW}: {error}", -1, None)


def _tick(endpoint: str, generation: int, outcome: LookOutcome, registry: Registry) -> dict[str, Any]:
    now_s = clock.now_s()
    owner = registry.record_look(
        endpoint, now_s=now_s, next_look_at_s=now_s + outcome.wait_s + WATCHDOG_S, generation=generation
    )
    if not owner:
        return _answer(endpoint, generation, NextWord.SETTLED, 1, "superseded while looking")
    return _answer(endpoint, generation, outcome.word, outcome.wait_s, outcome.why)


def _read(payload: Mapping[str, Any]) -> tuple[str, int]:
    version, endpoint, generation = payload.get("v"), payload.get("endpoint"), payload.get("generation")
    if version not in (PAYLOAD_VERSION, PAYLOAD_VERSION - 1):
        raise InvalidEvent(
            Reason.EVENT_MALFORMED,
            f"payload version v is {version!r}; this code reads {PAYLOAD_VERSION - 1} and {PAYLOAD_VERSION}",
        )
    if not isinstance(endpoint, str) or not endpoint or not isinstance(generation, int):
        raise InvalidEvent(
            Reason.EVENT_MALFORMED,
            f"payload needs endpoint (a name) and generation (a number); got {endpoint!r} and {generation!r}",
        )
    return endpoint, generation


def _answer(endpoint: str, generation: int, word: NextWord, wait_s: int, why: str) -> dict[str, Any]:
    return {
        "v": PAYLOAD_VERSION,
        "endpoint": endpoint,
        "generation": generation,
        "next": str(word),
        "wait_s": max(1, int(wait_s)),
        "why": why[:300],
    }
