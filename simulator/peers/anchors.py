"""Anchors, not autoscalers: what never scales, and what knows the future."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.peers.view import PeerView, Sensing


class StaticCopies:
    """Always `copies`: the peak (safe and dear), the mean (cheap and late), or any other fixed count."""

    def __init__(self, copies: int, *, name: str = "static", period_s: float = 60.0) -> None:
        if copies < 0:
            raise ValueError(f"copies ({copies}) must not be negative")
        self.name, self.period_s = name, period_s
        self.sensing = Sensing(point_s=10.0, delay_s=0.0)
        self._copies = copies

    def decide(self, view: PeerView) -> int | None:
        return view.clamp(self._copies)


class PlannedCopies:
    """Executes a plan that was made with perfect foresight.

    `plan[i]` copies are to serve in [start_s + i × step_s, + step_s). What starts takes time, so at any moment the
    most that is planned from now to `lead_s` ahead is asked for, the step that begins then included. Past the plan's
    end its last count is kept.
    """

    def __init__(
        self,
        plan: Sequence[int] | np.ndarray,
        step_s: float,
        lead_s: float,
        *,
        name: str = "clairvoyant-plan",
        start_s: float = 0.0,
    ) -> None:
        if len(plan) == 0:
            raise ValueError("the plan is empty; give it at least one step")
        if not step_s > 0 or lead_s < 0:
            raise ValueError(f"step_s ({step_s}) must be above 0 seconds and lead_s ({lead_s}) not negative")
        self.name, self.period_s = name, step_s
        self.sensing = Sensing(point_s=step_s, delay_s=0.0)
        self._start_s, self._step_s = start_s, step_s
        self._asked = _highest_ahead(np.asarray(plan, dtype=np.int64), int(lead_s // step_s) + 1).tolist()

    def decide(self, view: PeerView) -> int | None:
        step = int((view.now_s - self._start_s + 1e-6) // self._step_s)
        return view.clamp(self._asked[min(max(step, 0), len(self._asked) - 1)])


def _highest_ahead(plan: np.ndarray, steps: int) -> np.ndarray:
    """The most of each step and the `steps` after it."""
    padded = np.concatenate([plan, np.full(steps, plan[-1])])
    return np.lib.stride_tricks.sliding_window_view(padded, steps + 1).max(axis=1)
