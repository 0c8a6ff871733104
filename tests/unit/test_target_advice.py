"""Advice: the target that follows from a limit, never far beyond what was seen, never far at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstep.capacity.bend import Limit
from quickstep.capacity.target_advice import FARTHEST_BEYOND_SEEN, LARGEST_STEP, LEAST, MOST, Move, advise


def limit(per_copy, low=0.8, high=1.25):
    return Limit(per_copy, low * per_copy, high * per_copy, 1.0, False)


# limit, seen, present → move, target, step
ADVICE = [
    # 0.7 × 10, and 7 lies within 1.25 × 8
    (10.0, 8.0, 5.0, Move.RAISE, 7.0, 7.0),
    (10.0, 8.0, 4.0, Move.RAISE, 7.0, 6.0),
    # 5.6 to 8.8 cannot be told from 7
    (10.0, 8.0, 7.0, Move.KEEP, 7.0, 7.0),
    (10.0, 8.0, 5.6, Move.KEEP, 5.6, 5.6),
    (10.0, 8.0, 8.8, Move.KEEP, 8.8, 8.8),
    (10.0, 8.0, 9.0, Move.LOWER, 7.0, 7.0),
    (10.0, 8.0, 12.0, Move.LOWER, 7.0, 8.0),
    # seen up to 4: not beyond 5, however far the law goes
    (40.0, 4.0, 3.0, Move.RAISE, 5.0, 4.5),
    (40.0, 4.0, 4.5, Move.RAISE, 5.0, 5.0),
    # the present target is beyond what was seen already, and the law does not speak against it
    (40.0, 4.0, 9.0, Move.KEEP, 9.0, 9.0),
    # below 1 a single request would ask for the maximum
    (0.5, 4.0, 1.2, Move.LOWER, 1.0, 1.0),
    (1.2, 4.0, 1.0, Move.KEEP, 1.0, 1.0),
    (5000.0, 9000.0, 800.0, Move.RAISE, 1024.0, 1024.0),
]


@pytest.mark.parametrize(("per_copy", "seen", "present", "move", "target", "step"), ADVICE)
def test_the_target_is_seven_tenths_of_the_limit_within_what_was_seen(per_copy, seen, present, move, target, step):
    found = advise(limit(per_copy), seen_high=seen, present=present)
    assert (found.move, found.target, found.step) == (move, target, step)


# limit, seen, present → what held it
HELD = [
    (10.0, 8.0, 5.0, []),
    (10.0, 8.0, 4.0, ["one step is at most a factor of 1.5"]),
    (40.0, 4.0, 4.5, ["1.25 times the 4 per copy"]),
    (40.0, 4.0, 3.0, ["1.25 times the 4 per copy", "one step is at most"]),
]


@pytest.mark.parametrize(("per_copy", "seen", "present", "words"), HELD)
def test_what_holds_a_target_back_is_said(per_copy, seen, present, words):
    held_by = advise(limit(per_copy), seen_high=seen, present=present).held_by
    assert len([part for part in held_by.split("; ") if part]) == len(words)
    assert all(word in held_by for word in words)


def test_a_target_that_is_compared_with_peaks_is_put_up_by_their_ratio():
    plain = advise(limit(10.0), seen_high=8.0, present=3.0)
    peaks = advise(limit(10.0), seen_high=8.0, present=3.0, peak_ratio=1.5)
    assert (plain.target, peaks.target) == (7.0, 10.5)
    assert (peaks.low, peaks.high) == (8.4, 13.1)


sizes = st.floats(0.1, 2000.0)


@given(
    per_copy=sizes,
    low=st.floats(0.5, 1.0),
    high=st.floats(1.0, 2.0),
    seen=sizes,
    present=st.floats(LEAST, MOST),
    ratio=st.floats(1.0, 5.0),
)
def test_no_step_is_longer_than_it_may_be_or_leads_beyond_what_was_nearly_seen(
    per_copy, low, high, seen, present, ratio
):
    found = advise(limit(per_copy, low, high), seen_high=seen, present=present, peak_ratio=ratio)
    assert present / LARGEST_STEP - 1e-9 <= found.step <= present * LARGEST_STEP + 1e-9
    assert LEAST <= found.step <= MOST
    assert min(present, found.target) <= found.step <= max(present, found.target)
    if found.move is Move.RAISE:
        assert present < found.step <= max(LEAST, FARTHEST_BEYOND_SEEN * seen * ratio + 0.51)
        assert found.low > present
    elif found.move is Move.LOWER:
        assert found.step < present and found.high < present
    else:
        assert found.step == found.target == present
