"""Quickstep in the benchmark is Quickstep as deployed: the template's target, and the full stack's decisions."""

from __future__ import annotations

import numpy as np
import pytest

from quickstep.errors import InvalidSettings
from quickstep.model.observation import AlarmState
from quickstep.model.state import TargetState
from quickstep.model.targets import DemandPolicy, StepScalingPolicy
from quickstep.policy.demand import Load
from quickstep.policy.pipeline import sizing_at
from simulator.aws.sagemaker_delays import Delays, DelayStream
from simulator.bench.compiled_fleet import CompiledFleet, TraceColumns
from simulator.bench.deployed import SLO_TARGETS, deployed
from simulator.bench.full_stack import compare
from simulator.bench.platform import Platform
from simulator.physics.profiles import M
from simulator.template import TemplateError
from simulator.traffic.load import load_traffic

MINUTES = 40
TARGET, COPIES, MOST = 17.0, 4, 16
# mode, kind of traffic, seed. Chosen so that no two things fall into the same second: where they do, a moment decides
# which datapoint a look sees, and the two part after a few changes (`bench.full_stack` compares whole days).
SAME = [("fixed", "chat", 3), ("managed", "bursty", 2)]


@pytest.mark.parametrize(("mode", "kind", "seed"), SAME)
def test_the_bench_asks_for_what_the_full_stack_asks_for(mode, kind, seed):
    traffic = load_traffic(f"generated:{MINUTES}m:{kind}", profile=M, seed=seed, mean_copies=6)
    found = compare(
        traffic, M, target_per_copy=TARGET, copies=COPIES, max_copies=MOST, managed=mode == "managed", seed=seed
    )
    theirs, ours = found["full_stack"], found["bench"]
    assert theirs["changes"] == ours["changes"] == found["first_changes_that_agree"] >= 7
    # Handlers and states take a moment each that the bench only knows on average.
    assert found["share_of_time_with_other_copies"] < 0.05
    assert ours["instance_hours"] == pytest.approx(theirs["instance_hours"], rel=0.02)
    assert ours["slo_attainment"] == pytest.approx(theirs["slo_attainment"], abs=0.01)


def test_the_target_is_the_one_that_the_template_makes_of_its_defaults():
    found = deployed(20.5, min_copies=1, max_copies=64)
    target = found.target
    assert (target.min_capacity, target.max_capacity, target.target_per_copy) == (1, 64, 20.5)
    assert {type(policy) for policy in target.policies} == {StepScalingPolicy, DemandPolicy}
    assert (found.high.rule.threshold, found.low.rule.threshold) == (20.5, pytest.approx(18.45))
    assert (found.high.above, found.low.above) == (True, False)
    assert {found.high.name, found.low.name} <= set(target.alarm_names)
    assert found.wake.name == target.wake_alarm
    assert found.scaling_enabled


def test_template_parameters_may_be_overridden():
    found = deployed(5.0, min_copies=0, max_copies=8, overrides=(("ScaleInHoldSeconds", "120"),))
    assert [p.scale_in_hold_s for p in found.target.policies if isinstance(p, DemandPolicy)] == [120.0]


def test_what_a_deployment_would_refuse_is_refused():
    with pytest.raises(TemplateError):
        deployed(5.0, min_copies=1, max_copies=8, overrides=(("NoSuchParameter", "1"),))
    with pytest.raises(InvalidSettings, match="MaxCapacity"):
        deployed(5.0, min_copies=9, max_copies=8)


def test_a_higher_position_of_the_dial_leaves_more_room():
    load = Load(40.0, 5.0)
    sizings = []
    for dial in SLO_TARGETS:
        target = deployed(5.0, min_copies=1, max_copies=64, slo_target=dial).target
        (policy,) = (p for p in target.policies if isinstance(p, DemandPolicy))
        assert policy.slo_target == dial
        sizings.append(sizing_at(policy, TargetState(), 0.0).copies(load))
    assert sizings == [7, 8, 10, 12]
    with pytest.raises(TemplateError, match="SloTarget"):
        deployed(5.0, min_copies=1, max_copies=8, slo_target=97.0)


def test_alarms_follow_the_published_metric_ten_seconds_late():
    """A step from nothing to overload: the high alarm needs two datapoints above, each seen ten seconds late."""
    from simulator.bench.ours import _Driver

    n = 4000
    trace = TraceColumns(60.0 + np.arange(n) * 0.05, np.full(n, 100, np.int32), np.full(n, 400, np.int32))

    def state_at(at_s):
        platform = Platform(CompiledFleet(M, trace), DelayStream(Delays(), 1), copies=1, min_copies=1, max_copies=4)
        driver = _Driver(platform, deployed(10.0, min_copies=1, max_copies=4), M, publish_delay_s=10.0)
        driver.run(at_s)
        return driver._alarms[0].shown.state

    # 20 requests a second of about 20 s each: above 10 from the datapoint [60, 70) on; two are visible at 90.
    assert state_at(89.0) is AlarmState.OK
    assert state_at(91.0) is AlarmState.ALARM
