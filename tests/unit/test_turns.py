"""Flap memory: every turn is remembered once, also where instances come first and the ask is looks after the wish."""

from __future__ import annotations

import pytest

from quickstep.model.state import Change, TargetState
from quickstep.usecases.act import remembering
from tests.unit.scenes import NOW_S, settled_on, wish

OUT, IN = (1, 2), (2, 1)


def state_with(last_in_s, last_out_s, turns_s=()):
    return TargetState(
        last_scale_in=None if last_in_s is None else Change(NOW_S + last_in_s, *IN),
        last_scale_out=None if last_out_s is None else Change(NOW_S + last_out_s, *OUT),
        turns_s=tuple(NOW_S + at_s for at_s in turns_s),
    )


@pytest.mark.parametrize(
    ("state", "change", "turned"),
    [
        (state_with(None, None), OUT, False),
        (state_with(None, 0), OUT, False),  # the first scale-out there ever was
        (state_with(-900, 0, [-900]), OUT, True),  # wished in this look, asked in this look
        (state_with(-900, -200, [-900]), OUT, True),  # wished 200 s ago; its instances are there now
        (state_with(-900, -200, [-900, -100]), OUT, False),  # the rest of a scale-out whose turn is remembered
        (state_with(None, -900), IN, True),
        (state_with(-200, -900, [-200]), IN, False),
        (state_with(-900, -200, [-900, -100]), IN, True),
    ],
)
def test_a_turn_is_remembered_when_it_is_carried_out(state, change, turned):
    before, after = change
    found = remembering(state, before, after, wish(settled_on("chat", before), after)).turns_s
    assert found == ((*state.turns_s, NOW_S) if turned else state.turns_s)
