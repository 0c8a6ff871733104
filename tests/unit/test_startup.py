"""Start-up times: what is kept, what is expected, and when an ask counts as failed."""

from __future__ import annotations

import pytest

from quickstep.capacity.startup import copy_deadline_s, instance_deadline_s, learned, quantile_s


@pytest.mark.parametrize(
    ("samples", "q", "seconds"),
    [
        ((), 0.5, 300.0),  # nothing measured: the default
        ((100.0,), 0.5, 100.0),  # the default counts as one sample while there are few
        ((100.0,), 0.9, 300.0),
        ((100.0, 110.0, 120.0, 130.0), 1.0, 300.0),
        ((100.0, 110.0, 120.0, 130.0, 140.0), 0.5, 120.0),  # nearest rank
        ((100.0, 110.0, 120.0, 130.0, 140.0), 0.9, 140.0),
        ((100.0, 110.0, 120.0, 130.0, 140.0), 0.0, 100.0),
        ((140.0, 100.0, 120.0, 130.0, 110.0), 0.2, 100.0),
    ],
)
def test_quantiles_of_what_was_measured(samples, q, seconds):
    assert quantile_s(samples, q, 300.0) == seconds


def test_the_newest_thirty_are_kept():
    samples: tuple[float, ...] = ()
    for i in range(40):
        samples = learned(samples, 100.04 + i)
    assert len(samples) == 30
    assert (samples[0], samples[-1]) == (110.0, 139.0)


@pytest.mark.parametrize(
    ("deadline", "samples", "seconds"),
    [
        (instance_deadline_s, (), 1200.0),
        (instance_deadline_s, (500.0,) * 5, 1500.0),
        (copy_deadline_s, (), 900.0),
        (copy_deadline_s, (100.0,) * 5, 900.0),
        (copy_deadline_s, (400.0,) * 5, 1200.0),
    ],
)
def test_an_ask_has_failed_after_three_times_the_usual_but_no_sooner_than_a_quarter_of_an_hour(
    deadline, samples, seconds
):
    assert deadline(samples) == seconds
