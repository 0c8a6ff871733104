"""Take over from Application Auto Scaling, and give back: the calls of a plan, carried out so that a cut leaves a way on.

Each target is migrated on its own. Before the first call of a mode the plan is kept with the word for it, after the last
one with the word for done; every call may be repeated. So whatever was cut off, the same mode again goes on, and rollback
always leads back to what was found. AAS's policies are never deleted, only suspended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from quickstep.errors import QuickstepError
from quickstep.gateways.scaling_api import ApiRefused, Call
from quickstep.operate.takeover_plan import AAS, Found, MigrationPlan, PlannedCall, PlannedTarget, Progress
from quickstep.operate.takeover_survey import Key, differences, read_all

Keep = Callable[[MigrationPlan], None]
Pause = Callable[[float], None]
TRIES = 6
PAUSE_S = 2.0
"""Between attempts of a request that somebody else's stands in the way of."""
_BUSY = frozenset({"ConcurrentUpdateException", "ThrottlingException", "TooManyRequestsException"})
_GONE = "ObjectNotFoundException"


class Mode(StrEnum):
    SHADOW = "shadow"
    SWAP = "swap"
    ROLLBACK = "rollback"


class Result(StrEnum):
    """What became of one target."""

    DONE = "done"
    ALREADY = "already"
    REFUSED = "refused"
    """Nothing was changed."""
    FAILED = "failed"
    """Something was changed, or is not as it should be; the detail says what, and the plan's word where it stands."""


@dataclass(frozen=True, slots=True)
class Outcome:
    resource_id: str
    result: Result
    detail: str


@dataclass
class Takeover:
    """Carries out a plan. `keep` stores the plan whenever a target's progress changes; `pause` waits so many seconds."""

    plan: MigrationPlan
    aas: Call
    quickstep: Call
    keep: Keep
    pause: Pause
    accept_untranslated: bool = False

    def run(self, mode: Mode) -> list[Outcome]:
        """Carry out `mode` for every target of the plan, one after the other; what fails for one does not stop the others.

        Raises the errors of `refusals` if AAS cannot be read at all.
        """
        there = read_all(self.aas, tags=False)
        carry_out = {Mode.SHADOW: self._shadow, Mode.SWAP: self._swap, Mode.ROLLBACK: self._roll_back}[mode]
        outcomes = []
        for target in self.plan.targets:
            try:
                result, detail = carry_out(target, there)
            except QuickstepError as error:
                result, detail = Result.FAILED, str(error)
            outcomes.append(Outcome(target.resource_id, result, detail))
        return outcomes

    def replay(self) -> None:
        """Make the calls that the plan says were made, in an account that has not seen them: an emulated one, made anew."""
        for target in self.plan.targets:
            if not target.progress.is_untouched:
                self._make(target.shadow)
            if target.progress in (Progress.SWAPPING, Progress.SWAPPED, Progress.ROLLING_BACK):
                self._make(target.swap)

    def _shadow(self, target: PlannedTarget, there: Mapping[Key, Found]) -> tuple[Result, str]:
        if target.progress is Progress.SHADOWED:
            return Result.ALREADY, "shadowed already"
        if target.progress in (Progress.SWAPPING, Progress.SWAPPED, Progress.ROLLING_BACK):
            return Result.REFUSED, f"it is {target.progress}; run --mode rollback first"
        if refused := self._cannot(target, there, accept_untranslated=True):
            return Result.REFUSED, refused
        target = self._register(target)
        left = f"; not translated: {len(target.untranslated)}" if target.untranslated else ""
        return Result.DONE, f"decides beside Application Auto Scaling and changes nothing{left}"

    def _swap(self, target: PlannedTarget, there: Mapping[Key, Found]) -> tuple[Result, str]:
        if target.progress is Progress.SWAPPED:
            return Result.ALREADY, "swapped already"
        if target.progress is Progress.ROLLING_BACK:
            return Result.REFUSED, "its rollback was cut off; run --mode rollback again first"
        if refused := self._cannot(target, there, accept_untranslated=self.accept_untranslated):
            return Result.REFUSED, refused
        if target.progress in (Progress.PLANNED, Progress.SHADOWING, Progress.ROLLED_BACK):
            target = self._register(target)
        target = self._mark(target, Progress.SWAPPING)
        try:
            self._make(target.swap)
        except QuickstepError as error:
            # Nobody would scale it: Application Auto Scaling is suspended and Quickstep shadows. Give it back at once.
            self._make(call for call in target.rollback if call.api == AAS)
            self._mark(target, Progress.SHADOWED)
            return Result.FAILED, f"Application Auto Scaling was resumed, nothing is swapped: {error}"
        self._mark(target, Progress.SWAPPED)
        return Result.DONE, "Quickstep scales it; Application Auto Scaling is suspended, its policies are kept"

    def _roll_back(self, target: PlannedTarget, there: Mapping[Key, Found]) -> tuple[Result, str]:
        if target.progress.is_untouched:
            return Result.ALREADY, "nothing of it is in force"
        target = self._mark(target, Progress.ROLLING_BACK)
        self._make(target.rollback)
        self._mark(target, Progress.ROLLED_BACK)
        now = read_all(self.aas, tags=False).get(target.key)
        told = differences(target.found, now, suspension_too=True)
        if told:
            return Result.FAILED, f"given back, but it is not as it was found: {'; '.join(told)}"
        return Result.DONE, "Application Auto Scaling scales it again, exactly as it was found"

    def _cannot(self, target: PlannedTarget, there: Mapping[Key, Found], *, accept_untranslated: bool) -> str | None:
        if target.blocked is not None:
            return target.blocked
        if target.untranslated and not accept_untranslated:
            first = target.untranslated[0]
            return (
                f"{len(target.untranslated)} of its parts cannot be translated, the first: {first.what}: {first.reason}; "
                "settle them, or give --accept-untranslated"
            )
        suspension_too = target.progress not in (Progress.SWAPPING, Progress.SHADOWED, Progress.SHADOWING)
        told = differences(target.found, there.get(target.key), suspension_too=suspension_too)
        if told:
            again = "run quickstep migrate again to plan it afresh"
            begun = "" if target.progress.is_untouched else ", after --mode rollback"
            return f"it has changed since the plan was written: {'; '.join(told)}; {again}{begun}"
        return None

    def _register(self, target: PlannedTarget) -> PlannedTarget:
        target = self._mark(target, Progress.SHADOWING)
        self._make(target.shadow)
        return self._mark(target, Progress.SHADOWED)

    def _mark(self, target: PlannedTarget, progress: Progress) -> PlannedTarget:
        target = replace(target, progress=progress)
        self.plan = self.plan.with_target(target)
        self.keep(self.plan)
        return target

    def _make(self, calls: Iterable[PlannedCall]) -> None:
        for call in calls:
            self._make_one(call)

    def _make_one(self, call: PlannedCall) -> None:
        api = self.aas if call.api == AAS else self.quickstep
        for attempt in range(1, TRIES + 1):
            try:
                api(call.operation, call.parameters)
                return
            except ApiRefused as refused:
                if refused.code == _GONE and call.operation.startswith(("Delete", "Deregister")):
                    return
                if refused.code not in _BUSY or attempt == TRIES:
                    raise
            self.pause(PAUSE_S)
