"""Properties of the sizing, over whole decisions: monotone in load, bounded by it, and blind means no scale-in."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quickstep.model.headroom import Headroom
from quickstep.model.observation import Datapoint, Metrics, Series, ServingChange
from quickstep.model.targets import DemandPolicy
from quickstep.policy import backlog
from quickstep.policy.demand import Load
from quickstep.policy.pipeline import decide, sizing_at
from tests.unit.scenes import NOW_S, STEPS, seen, steady, target, totals

QUICK = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
POINTS = 100
"""More than a hold of 600 s and its window."""

policies = st.builds(
    DemandPolicy,
    st.just("demand"),
    target_per_copy=st.sampled_from([1.0, 5.0, 20.5]),
    scale_in_hold_s=st.sampled_from([60.0, 300.0, 600.0]),
    slo_target=st.sampled_from([95.0, 98.0, 99.0, 99.5]),
)
services = st.one_of(st.none(), st.floats(0.5, 60))


@st.composite
def headrooms(draw):
    season = draw(st.one_of(st.none(), st.floats(-1.2, 0.8)))
    return Headroom(
        growth=draw(st.floats(0, 1.3)),
        season=season,
        hours=draw(st.floats(1, 72)),
        learned_at_s=NOW_S - 600,
        lead_s=draw(st.sampled_from([120.0, 420.0, 600.0])),
        yesterday_from_s=None if season is None else NOW_S - 600,
        yesterday=() if season is None else tuple(draw(st.lists(st.floats(0, 12), min_size=30, max_size=30))),
    )


known = st.one_of(st.none(), headrooms())


def decided_on(values, copies, policy, headroom, service_s, *, with_steps=False):
    goal = target(high=400, policies=(policy, STEPS) if with_steps else (policy,))
    state = steady(copies, headroom=headroom, service_s=service_s, service_at_s=NOW_S)
    return decide(goal, seen(totals(values, copies), copies), state, NOW_S)


# -- monotone ---------------------------------------------------------------------------------------------------------

loads = st.lists(st.floats(0, 300), min_size=POINTS, max_size=POINTS)


@given(loads, st.integers(1, 12), policies, known, services, st.floats(0, 80))
@QUICK
def test_the_same_amount_more_in_flight_all_along_never_means_fewer_copies(
    values, copies, policy, headroom, service_s, more
):
    one, other = (
        decided_on(v, copies, policy, headroom, service_s).desired for v in (values, [v + more for v in values])
    )
    assert other >= one


@given(loads, st.integers(1, 12), policies, known, services, st.floats(1, 3))
@QUICK
def test_the_same_load_times_a_factor_never_means_fewer_copies(values, copies, policy, headroom, service_s, factor):
    one, other = (
        decided_on(v, copies, policy, headroom, service_s).desired for v in (values, [v * factor for v in values])
    )
    assert other >= one


@given(loads, st.integers(1, 12), policies, known, st.lists(st.floats(0, 50), min_size=POINTS, max_size=POINTS))
@QUICK
def test_more_in_flight_at_any_moment_never_means_fewer_copies_while_no_service_time_is_known(
    values, copies, policy, headroom, more
):
    """With one, arrivals are told from how fast a queue grows: a queue that was long before has grown less."""
    grown = [a + b for a, b in zip(values, more, strict=True)]
    one, other = (decided_on(v, copies, policy, headroom, None).desired for v in (values, grown))
    assert other >= one


# -- bounded by the load ------------------------------------------------------------------------------------------------


@given(st.floats(0.1, 300), st.integers(1, 40), policies, known, services)
@QUICK
def test_a_constant_load_is_met_with_its_own_size_and_no_more(load, copies, policy, headroom, service_s):
    """Never above the sizing's answer for that load, or the copies that are there; never above `DRAIN` where it waits."""
    decision = decided_on([load] * POINTS, copies, policy, headroom, service_s)
    state = steady(copies, headroom=headroom, service_s=service_s)
    sizing = sizing_at(policy, state, NOW_S)
    worth = decision.demand if decision.demand is not None else 0.0
    assert worth <= load + 1e-9
    level = load / (policy.target_per_copy / 0.7)
    assert decision.desired <= max(copies, sizing.copies(Load(load, max(level / 0.55, level))))
    if headroom is None:
        plain = math.ceil(
            load / policy.target_per_copy * {95: 0.875, 98: 1, 99: 1.167, 99.5: 1.4}[policy.slo_target] - 1e-9
        )
        assert decision.desired <= max(copies, plain, 1)
    if (
        headroom is None
        and service_s is not None
        and policy.slo_target <= 98
        and load > copies * policy.target_per_copy
    ):
        assert decision.desired <= max(math.ceil(backlog.DRAIN * copies - 1e-9), copies)


@given(st.floats(0.1, 300), policies, known, services)
@QUICK
def test_copies_that_are_the_sizings_own_answer_are_never_added_to(load, policy, headroom, service_s):
    """A load that stands is asked for once: the answer is a fixed point from above."""
    first = decided_on([load] * POINTS, 1, policy, headroom, None)
    enough = max(
        first.desired,
        math.ceil(load / policy.target_per_copy * 1.4),
        sizing_at(policy, steady(1, headroom=headroom), NOW_S).season_copies(),
    )
    enough = max(
        enough,
        sizing_at(policy, steady(1, headroom=headroom), NOW_S).copies(
            Load(load, load * 0.7 / 0.55 / policy.target_per_copy)
        ),
    )
    assert decided_on([load] * POINTS, enough, policy, headroom, service_s).desired <= enough


# -- blind --------------------------------------------------------------------------------------------------------------


@st.composite
def blind(draw):
    """Histories that do not say what the load was: (series or None, serving ring), with `copies` that serve."""
    copies = draw(st.integers(2, 20))
    ring = (ServingChange(NOW_S - 36_000, copies),)
    kind = draw(
        st.sampled_from(["no metric", "no points", "only gaps", "late", "holes", "unknown copies", "not counts"])
    )
    low = [draw(st.sampled_from([0.0, 0.2])) for _ in range(POINTS)]
    series = totals(low, copies)
    if kind == "no metric":
        series = None
    elif kind == "no points":
        series = Series(10.0)
    elif kind == "only gaps":
        series = Series(10.0, tuple(replace(p, average=None, maximum=None) for p in series.points))
    elif kind == "late":
        late_s = draw(st.floats(91, 5000))
        series = Series(10.0, tuple(replace(p, at_s=p.at_s - late_s) for p in series.points))
    elif kind == "holes":
        every = draw(st.integers(2, 6))
        series = Series(10.0, series.points[::every])
    elif kind == "unknown copies":
        since_s = draw(st.floats(1, 250))
        ring = (ServingChange(NOW_S - 36_000, None), ServingChange(NOW_S - since_s, copies))
    else:
        odd = draw(st.sampled_from([math.nan, math.inf, -1.0, 1e12]))
        series = Series(10.0, tuple(Datapoint(p.at_s, average=odd, maximum=odd) for p in series.points))
    return series, ring, copies


@given(blind(), policies, known, services, st.booleans())
@QUICK
def test_without_data_nothing_is_removed(found, policy, headroom, service_s, with_steps):
    series, ring, copies = found
    policy = replace(policy, scale_in_hold_s=max(300.0, policy.scale_in_hold_s))
    goal = target(high=400, policies=(policy, STEPS) if with_steps else (policy,))
    state = replace(steady(copies, headroom=headroom, service_s=service_s), serving=ring)
    decision = decide(goal, seen(series, copies, metrics=Metrics(concurrency=series)), state, NOW_S)
    assert decision.desired >= copies


@given(st.integers(2, 20), policies, known)
@QUICK
def test_with_data_that_is_whole_the_same_quiet_load_is_given_up(copies, policy, headroom):
    """The counterpart: what holds above is the missing data and nothing else."""
    headroom = headroom and replace(headroom, season=None)
    decision = decided_on([0.2] * POINTS, copies, policy, headroom, None)
    if headroom is None or headroom.growth < 0.5:
        assert decision.desired < copies
