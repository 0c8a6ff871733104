"""The platform that policies scale on: what takes how long, what waits for what, and what is paid for."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.aws.sagemaker_delays import Delays, DelayStream
from simulator.bench.compiled_fleet import CompiledFleet, TraceColumns
from simulator.bench.platform import COMPONENT, VARIANT, Platform, Refused
from simulator.physics.profiles import M

# No chance: a launch is 168 s of instance and 90 s of copy, a copy on a warm instance 90 s.
FIXED = Delays(launch_p95_s=258.0, warm_copy_sigma=0.0)
NOBODY = TraceColumns(np.zeros(0), np.zeros(0, np.int32), np.zeros(0, np.int32))


def platform(copies=1, *, delays=FIXED, trace=NOBODY, min_copies=1, max_copies=16, seed=1, **options):
    fleet = CompiledFleet(M, trace, client_timeout_s=None, retry_interval_s=None)
    options = {"min_copies": min_copies, "max_copies": max_copies, **options}
    return Platform(fleet, DelayStream(delays, seed), copies=copies, **options)


def when(p, count, *, until_s, what="supply"):
    """The first moment at which so many copies served."""
    p.advance(until_s)
    return next(at_s for at_s, copies in getattr(p, what) if copies == count)


def test_a_new_instance_with_its_copy_takes_a_launch():
    p = platform()
    p.advance(100.0)
    p.wish(2)
    # SageMaker notices 5 s later that an instance is missing.
    assert when(p, 2, until_s=1000.0) == pytest.approx(100 + 5 + 258)


def test_a_copy_on_a_warm_instance_is_faster():
    p = platform(2, copies_per_instance=2, min_instances=2)
    p.wish(4)
    assert when(p, 4, until_s=1000.0) == pytest.approx(90)
    assert p.instances_in_service == 2


def test_the_newest_wish_waits_while_a_change_runs():
    p = platform()
    p.wish(2)
    p.advance(50.0)
    p.wish(5)
    p.advance(60.0)
    p.wish(3)
    assert (p.desired_copies, p.wished) == (2, 3)
    p.advance(263.5)
    # The first change ends with its copy at 263 s, and the newest wish is asked.
    assert (p.desired_copies, p.wished) == (3, 3)
    assert when(p, 3, until_s=2000.0) == pytest.approx(263 + 5 + 258)
    assert [count for _, count in p.wishes] == [1, 2, 5, 3]


def test_a_wish_that_is_taken_back_in_time_is_never_asked():
    p = platform()
    p.wish(2)
    p.wish(7)
    p.wish(2)
    p.advance(1000.0)
    assert p.serving_copies == 2
    assert len(p.instances) == 2


def test_without_the_lock_a_wish_takes_effect_at_once():
    p = platform(one_update_at_a_time=False)
    p.wish(2)
    p.advance(50.0)
    p.wish(3)
    assert when(p, 3, until_s=1000.0) == pytest.approx(50 + 5 + 258)


def test_the_kth_launch_takes_the_same_time_whatever_the_policy_asked_before():
    draws = DelayStream(Delays(), 3)
    expected = [sum(vars_of(draws.launch(VARIANT, number))) for number in range(4)]
    at_once = platform(delays=Delays(), seed=3)
    at_once.wish(5)
    at_once.advance(2000.0)
    one_by_one = platform(delays=Delays(), seed=3)
    begun = []
    for count in (2, 3, 4, 5):
        begun.append(one_by_one.now_s)
        one_by_one.wish(count)
        one_by_one.advance(one_by_one.now_s + 2000.0)
    at_once_s = sorted(at_s - 5 for at_s, count in at_once.supply if count > 1)
    one_by_one_s = [at_s - 5 - begun[count - 2] for at_s, count in one_by_one.supply if count > 1]
    assert at_once_s == pytest.approx(sorted(expected))
    assert one_by_one_s == pytest.approx(expected)


def vars_of(draw):
    return draw.instance_s, draw.copy_s


def test_warm_loads_have_a_stream_of_their_own():
    p = platform(1, delays=Delays(), copies_per_instance=4)
    p.wish(3)
    expected = sorted(DelayStream(Delays(), 1).warm_copy_s(COMPONENT, number) for number in range(2))
    assert [when(p, 2, until_s=1000.0), when(p, 3, until_s=1000.0)] == pytest.approx(expected)


def test_a_removed_copy_finishes_its_requests_and_its_instance_is_paid_until_it_is_gone():
    # One request of 1,000 tokens: 44.55 ms each, 44.6 s.
    trace = TraceColumns(np.array([1.0]), np.array([0], np.int32), np.array([1000], np.int32))
    p = platform(2, trace=trace, release_s=0.0)
    p.advance(5.0)
    # Both are equal: the newest goes first, and the request is on the oldest.
    p.wish(1)
    p.advance(300.0)
    assert p.fleet.judged(1e9, 0.0) == (1, 0, 0)
    # No request on it: stopped 15 s later, its instance gone after 60 s more.
    assert [round(at_s) for at_s, count in p.endpoint.billed if count == 1] == [5 + 15 + 60]


def test_a_copy_drains_before_it_stops():
    trace = TraceColumns(np.array([1.0, 1.0]), np.zeros(2, np.int32), np.full(2, 1000, np.int32))
    p = platform(2, trace=trace, release_s=0.0)
    p.advance(5.0)
    p.wish(1)
    assert p.component_updates
    p.advance(40.0)
    assert p.component_updates  # the request runs until 45.6 s
    p.advance(70.0)
    assert not p.component_updates
    assert p.fleet.judged(1e9, 0.0) == (2, 0, 0)


@pytest.mark.parametrize(("release_s", "gone_s"), [(0.0, 15 + 60), (600.0, 15 + 600 + 60)])
def test_an_empty_instance_is_kept_as_long_as_asked(release_s, gone_s):
    p = platform(2, release_s=release_s)
    p.advance(10.0)
    p.wish(1)
    p.advance(2000.0)
    assert [at_s for at_s, count in p.endpoint.billed if count == 1] == [pytest.approx(10 + gone_s)]


def test_releases_keep_their_distance_where_asked():
    p = platform(4, release_s=100.0, release_apart_s=300.0)
    p.wish(1)
    p.advance(3000.0)
    gone = [at_s for at_s, count in p.endpoint.billed[1:] if count < 4]
    # Each is empty from 15 s on; the first may go at 115 s, and a minute later it is gone.
    assert gone == pytest.approx([175.0, 475.0, 775.0])


def test_an_instance_that_is_needed_again_is_not_released():
    p = platform(2, release_s=600.0)
    p.wish(1)
    p.advance(300.0)
    p.wish(2)
    assert when(p, 2, until_s=3000.0) == 0.0
    assert p.supply[-1] == (pytest.approx(390.0), 2)
    assert len(p.instances) == 2


def test_without_copies_no_instance_is_left_where_the_component_may_sleep():
    asleep, awake = platform(1, min_copies=0, release_s=0.0), platform(1, min_copies=1, release_s=0.0)
    for p in (asleep, awake):
        p.wish(0)
        p.advance(500.0)
    assert (asleep.serving_copies, len(asleep.instances)) == (0, 0)
    assert (awake.serving_copies, len(awake.instances)) == (1, 1)


def test_instances_are_paid_from_the_request_on():
    p = platform()
    p.advance(100.0)
    p.wish(3)
    p.advance(110.0)
    copies, instances, asked = p.per_period(110.0, 10.0)
    assert instances.tolist() == [1] * 10 + [3]
    assert asked.tolist() == [1] * 9 + [3, 3]
    assert copies.tolist() == [1] * 11


def test_where_we_move_instances_ourselves_a_write_is_refused_while_its_change_runs():
    p = platform(managed=False)
    p.ask_instances(3)
    assert p.endpoint_updates
    with pytest.raises(Refused, match="in-progress endpoint"):
        p.ask_instances(4)
    p.advance(168.0)
    assert p.instances_in_service == 3
    assert p.endpoint_updates  # settles for ten seconds more
    p.ask_copies(3)
    with pytest.raises(Refused, match="UPDATE_RC_IN_PROGRESS"):
        p.ask_copies(2)
    p.advance(178.5)
    assert not p.endpoint_updates
    assert when(p, 3, until_s=500.0) == pytest.approx(168 + 90)
    assert not p.component_updates


def test_where_we_move_instances_ourselves_nothing_else_does():
    p = platform(2, managed=False)
    p.ask_copies(1)
    p.advance(3000.0)
    assert len(p.instances) == 2
    p.ask_instances(1)
    p.advance(3100.0)
    assert (len(p.instances), p.serving_copies) == (1, 1)


def test_copies_that_fit_nowhere_are_given_up_after_three_minutes():
    p = platform(managed=False)
    p.ask_copies(2)
    p.advance(179.0)
    assert p.component_updates
    p.advance(181.0)
    assert (p.component_updates, p.desired_copies, p.serving_copies) == (False, 2, 1)
    p.ask_instances(2)
    # Missing copies are placed as soon as room appears.
    assert when(p, 2, until_s=1000.0) == pytest.approx(181 + 168 + 90)


def test_status_changes_of_the_endpoint_are_told():
    told = []
    p = platform(managed=False)
    p.on_endpoint_change = told.append
    p.ask_instances(2)
    p.advance(500.0)
    assert told == [0.0, pytest.approx(168 + 10)]


@pytest.mark.parametrize(
    ("options", "message"), [({"copies": 0}, "within 1 to 16"), ({"copies_per_instance": 0}, "at least 1")]
)
def test_impossible_beginnings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        platform(**options)
