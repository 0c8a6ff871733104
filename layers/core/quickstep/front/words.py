"""What the gateway says: an error as a client is told it, a heartbeat, a model in the list. Nothing of AWS's own texts."""

from __future__ import annotations

from quickstep.errors import (
    AccessDenied,
    ComponentNotFound,
    EndpointNotFound,
    ModelFailed,
    NoCapacity,
    OutcomeUnknown,
    QuickstepError,
    StreamBroken,
    Throttled,
)
from quickstep.front.aws import Model
from quickstep.front.http import JSON, Refusal, Response
from quickstep.front.waking import State, Waking


def as_refusal(error: QuickstepError) -> Refusal:
    """What a client is told. Its own request's errors it gets in the model's words, ours without any of AWS's."""
    if isinstance(error, ModelFailed):
        return _ModelRefusal(error)
    if isinstance(error, ComponentNotFound | EndpointNotFound):
        return Refusal(404, "model_not_found", "The inference component, or its endpoint, does not exist any more")
    if isinstance(error, Throttled):
        return Refusal(429, "throttled", "SageMaker asks to slow down", retry_after_s=5)
    if isinstance(error, NoCapacity):
        return Refusal(503, "no_capacity", "No copy of the inference component serves now", retry_after_s=10)
    if isinstance(error, OutcomeUnknown | StreamBroken):
        return Refusal(503, "no_answer", "The model did not answer", retry_after_s=5)
    if isinstance(error, AccessDenied):
        return Refusal(502, "access_denied", "The gateway may not do this; is the component registered with its stack?")
    return Refusal(400, "refused", "SageMaker refused the request as invalid")


class _ModelRefusal(Refusal):
    """The container's own status and body, as if there were no gateway in between."""

    def __init__(self, error: ModelFailed) -> None:
        status = error.status if error.status is not None and 400 <= error.status < 600 else 502
        super().__init__(status, "model_error", f"The model answered {error.status or 'an error'}")
        self._answer = error.answer.encode()

    def as_answer(self) -> Response:
        if not self._answer.lstrip().startswith(b"{"):
            return super().as_answer()
        return Response(self.status, JSON, (self._answer,))


def not_managed() -> Refusal:
    """Nobody registered a component of that name."""
    return Refusal(404, "model_not_found", "No inference component of that name is managed here; see GET /v1/models")


def turned_away(model: Model | None, why: str) -> Refusal:
    """A request that is not held, or no longer; with a time to come back."""
    waking = model.waking if model is not None else Waking(State.WAKING)
    reason = f" ({waking.reason})" if waking.reason else ""
    return Refusal(
        503,
        "model_not_ready",
        f"No copy of the inference component serves yet, {why}{reason}; ask again later",
        retry_after_s=min(600.0, waking.eta_s) if waking.eta_s else 30.0,
    )


def heartbeat(component: str, at: Waking, waited_s: float) -> str:
    """The comment that a held client gets."""
    eta = "unknown" if at.eta_s is None else f"{at.eta_s:.0f}s"
    words = [
        f"{at.state} component={component}",
        f"phase={at.phase or 'copies'}",
        f"eta={eta}",
        f"waited={waited_s:.0f}s",
    ]
    return " ".join(words + ([f"reason={at.reason}"] if at.reason else []))


def entry_of(model: Model) -> dict[str, object]:
    """A model of `GET /v1/models`: OpenAI's members, and how it is. `created` is not known."""
    at = model.waking
    return {
        "id": model.component,
        "object": "model",
        "created": None,
        "owned_by": model.endpoint,
        "state": str(at.state),
        "phase": None if at.phase is None else str(at.phase),
        "eta_s": None if at.eta_s is None else round(at.eta_s, 1),
        "reason": at.reason,
    }
