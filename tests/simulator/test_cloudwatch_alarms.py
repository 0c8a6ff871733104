"""Alarms on the clock: when they look, what they say, to whom, and what is refused."""

from __future__ import annotations

import json
from datetime import datetime

import pytest

from simulator.aws.alarms import default_extra_periods
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated
from tests.simulator.cloudwatch_account import METRIC, CloudWatchAccount

HIGH, LOW = 30.0, 5.0
ARN = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:high"


def test_an_alarm_begins_without_data_and_looks_every_ten_seconds_after_the_grid():
    account = CloudWatchAccount(alarm_offset_s=(1.0, 1.0))
    account.alarm()
    assert account.state() == "INSUFFICIENT_DATA"
    account.report_each_period([LOW, HIGH, HIGH, LOW, LOW, LOW])
    account.run_to(70)
    assert account.transitions == [(1.0, "high", "OK"), (31.0, "high", "ALARM"), (51.0, "high", "OK")]


@pytest.mark.parametrize(
    ("publish_s", "offset_s", "fires_at"), [(0, 0.5, 20.5), (4, 0.5, 30.5), (4, 5.0, 25.0), (14, 0.5, 40.5)]
)
def test_an_alarm_fires_at_its_first_look_after_the_second_breach_is_visible(publish_s, offset_s, fires_at):
    account = CloudWatchAccount(publish_delay_s=(publish_s, publish_s), alarm_offset_s=(offset_s, offset_s))
    account.alarm()
    account.report_each_period([HIGH] * 6)
    account.run_to(80)
    assert (fires_at, "high", "ALARM") in account.transitions


def test_an_alarm_of_a_minute_or_more_looks_once_a_minute():
    account = CloudWatchAccount()
    account.alarm(Period=60, EvaluationPeriods=1, DatapointsToAlarm=1)
    account.report_each_period([HIGH] * 30)
    assert account.transitions == [(0.5, "high", "OK"), (60.5, "high", "ALARM")]


def test_windows_slide_by_the_minute_as_in_a_recorded_alarm_history():
    # Recorded in a real account: a 15-minute alarm, 1 of 1, notBreaching, that looks at second 51.29 of each minute. Its
    # last datapoint is of 19:50:31; it turned OK at 20:36:51, so three sliding windows back was still ALARM.
    start_s = datetime.fromisoformat("2026-01-01T19:00:00+00:00").timestamp()
    account = CloudWatchAccount(start_s, alarm_offset_s=(51.29, 51.29), extra_periods=default_extra_periods)
    account.alarm(Period=900, EvaluationPeriods=1, DatapointsToAlarm=1, Threshold=0.0, Statistic="Sum")
    account.run_to(50 * 60 + 31)
    account.report(50 * 60 + 31, 1.0, period_s=60)
    account.run_to(2 * 3600)
    assert account.transitions == [
        (51.29, "high", "OK"),
        (51 * 60 + 51.29, "high", "ALARM"),
        (96 * 60 + 51.29, "high", "OK"),
    ]


def test_a_sparse_metric_holds_alarm_for_as_long_as_the_evaluation_range():
    for extra, ok_at in ((lambda period_s: 2, 50.5), (default_extra_periods, 90.5)):
        account = CloudWatchAccount(extra_periods=extra)
        account.alarm(EvaluationPeriods=1, DatapointsToAlarm=1)
        account.report_each_period([None, HIGH])
        account.run_to(200)
        assert account.transitions[-1] == (ok_at, "high", "OK")


def test_the_evaluation_range_covers_a_late_minute_for_short_periods_only():
    assert {period_s: default_extra_periods(period_s) for period_s in (10, 20, 30, 60, 300)} == {
        10: 6,
        20: 3,
        30: 2,
        60: 2,
        300: 2,
    }


def test_only_transitions_are_told():
    account = CloudWatchAccount()
    account.alarm()
    account.report_each_period([HIGH] * 60)
    changes = [one for one in account.events if one["detail-type"] == "CloudWatch Alarm State Change"]
    assert [one["detail"]["state"]["value"] for one in changes] == ["OK", "ALARM"]
    assert account.service.alarms.evaluations == 60


# The sample event of the CloudWatch User Guide ("Alarm events and EventBridge"), single metric.
DOCUMENTED_DETAIL = {
    "alarmName": "ServerCpuTooHigh",
    "configuration": {
        "description": "Goes into alarm when server CPU utilization is too high!",
        "metrics": [
            {
                "id": "30b6c6b2-a864-43a2-4877-c09a1afc3b87",
                "metricStat": {
                    "metric": {
                        "dimensions": {"InstanceId": "i-12345678901234567"},
                        "name": "CPUUtilization",
                        "namespace": "AWS/EC2",
                    },
                    "period": 300,
                    "stat": "Average",
                },
                "returnData": True,
            }
        ],
    },
    "previousState": {
        "reason": "Threshold Crossed: 1 out of the last 1 datapoints [0.0666851903306472 (01/10/19 13:46:00)] was not "
        "greater than the threshold (50.0) (minimum 1 datapoint for ALARM -> OK transition).",
        "reasonData": '{"version":"1.0","queryDate":"2019-10-01T13:56:40.985+0000","startDate":"2019-10-01T13:46:00.000+0000",'
        '"statistic":"Average","period":300,"recentDatapoints":[0.0666851903306472],"threshold":50.0}',
        "timestamp": "2019-10-01T13:56:40.987+0000",
        "value": "OK",
    },
    "state": {
        "reason": "Threshold Crossed: 1 out of the last 1 datapoints [99.50160229693434 (02/10/19 16:59:00)] was greater than "
        "the threshold (50.0) (minimum 1 datapoint for OK -> ALARM transition).",
        "reasonData": '{"version":"1.0","queryDate":"2019-10-02T17:04:40.985+0000","startDate":"2019-10-02T16:59:00.000+0000",'
        '"statistic":"Average","period":300,"recentDatapoints":[99.50160229693434],"threshold":50.0}',
        "timestamp": "2019-10-02T17:04:40.989+0000",
        "value": "ALARM",
    },
}


def test_the_event_is_the_user_guide_s_sample_for_the_sample_s_alarm():
    start_s = datetime.fromisoformat("2019-10-02T16:59:00+00:00").timestamp()
    account = CloudWatchAccount(start_s, alarm_offset_s=(40.989, 40.989), publish_delay_s=(290.0, 290.0))
    account.call(
        "PutMetricAlarm",
        AlarmName="ServerCpuTooHigh",
        AlarmDescription=DOCUMENTED_DETAIL["configuration"]["description"],
        Namespace="AWS/EC2",
        MetricName="CPUUtilization",
        Dimensions=[{"Name": "InstanceId", "Value": "i-12345678901234567"}],
        Statistic="Average",
        Period=300,
        EvaluationPeriods=1,
        Threshold=50.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="ignore",  # so that the alarm is OK until the datapoint is visible
    )
    before = DOCUMENTED_DETAIL["previousState"]
    account.call(
        "SetAlarmState",
        AlarmName="ServerCpuTooHigh",
        StateValue="OK",
        StateReason=before["reason"],
        StateReasonData=before["reasonData"],
    )
    account.service.publish(
        "AWS/EC2", "CPUUtilization", {"InstanceId": "i-12345678901234567"}, start_s,
        period_s=60, minimum=99.50160229693434, maximum=99.50160229693434, total=99.50160229693434, samples=1.0,
    )  # fmt: skip
    account.run_to(4 * 60 + 59)
    account.events.clear()
    account.run_to(5 * 60 + 59)
    (event,) = account.events
    assert event["source"] == "aws.cloudwatch"
    assert event["resources"] == ["arn:aws:cloudwatch:eu-west-1:111122223333:alarm:ServerCpuTooHigh"]
    detail, sample = event["detail"], json.loads(json.dumps(DOCUMENTED_DETAIL))
    assert detail["state"]["timestamp"] == "2019-10-02T17:04:40.989+0000"
    assert detail["state"]["reason"] == sample["state"]["reason"]
    data, sample_data = (json.loads(one["state"].pop("reasonData")) for one in (detail, sample))
    evaluated = data.pop("evaluatedDatapoints")
    assert evaluated == [{"timestamp": "2019-10-02T16:59:00.000+0000", "sampleCount": 1.0, "value": 99.50160229693434}]
    data["queryDate"] = sample_data["queryDate"]
    assert data == sample_data
    # Not repeatable: the random id of the metric, and when the earlier state was set.
    for one in (detail, sample):
        one["configuration"]["metrics"][0]["id"] = "x"
        one["previousState"]["timestamp"] = "then"
    assert detail == sample


@pytest.mark.parametrize(
    ("treatment", "reason"),
    [
        ("breaching", "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as [Breaching]."),
        ("notBreaching", "Threshold Crossed: no datapoints were received for 3 periods and 3 missing datapoints were treated as [NonBreaching]."),
    ],
)  # fmt: skip
def test_reasons_for_missing_data_read_as_in_recorded_alarm_histories(treatment, reason):
    account = CloudWatchAccount()
    account.alarm(TreatMissingData=treatment)
    account.run_to(1)
    assert account.call("DescribeAlarms")["MetricAlarms"][0]["StateReason"] == reason


def test_reasons_name_the_datapoints_that_decided():
    account = CloudWatchAccount()
    account.alarm(TreatMissingData="missing")
    account.report_each_period([HIGH, LOW, HIGH])
    account.run_to(31)
    (alarm,) = account.call("DescribeAlarms")["MetricAlarms"]
    assert alarm["StateReason"] == (
        "Threshold Crossed: 2 out of the last 3 datapoints [30.0 (01/01/26 00:00:20), 30.0 (01/01/26 00:00:00)] were greater "
        "than the threshold (20.0) (minimum 2 datapoints for OK -> ALARM transition)."
    )
    assert json.loads(alarm["StateReasonData"])["recentDatapoints"] == [HIGH, LOW, HIGH]
    account.run_to(200)
    (alarm,) = account.call("DescribeAlarms")["MetricAlarms"]
    assert alarm["StateReason"] == "Insufficient Data: 3 datapoints were unknown."


def test_creating_changing_and_deleting_an_alarm_is_told_and_a_change_keeps_the_state():
    account = CloudWatchAccount()
    account.alarm()
    account.run_to(5)
    account.alarm(Threshold=40.0)
    assert account.state() == "OK"
    account.call("DeleteAlarms", AlarmNames=["high"])
    changes = [one["detail"] for one in account.events if one["detail-type"] == "CloudWatch Alarm Configuration Change"]
    assert [one["operation"] for one in changes] == ["create", "update", "delete"]
    assert changes[0]["configuration"]["threshold"] == 20.0
    assert (changes[1]["configuration"]["threshold"], changes[1]["previousConfiguration"]["threshold"]) == (40.0, 20.0)
    evaluations = account.service.alarms.evaluations
    account.run_to(100)
    assert account.service.alarms.evaluations == evaluations


def test_set_alarm_state_lasts_until_the_next_look():
    account = CloudWatchAccount()
    account.alarm()
    account.run_to(12)
    account.call("SetAlarmState", AlarmName="high", StateValue="ALARM", StateReason="a test")
    account.call("SetAlarmState", AlarmName="high", StateValue="ALARM", StateReason="again: no event")
    account.run_to(25)
    assert account.transitions[1:] == [(12.0, "high", "ALARM"), (20.5, "high", "OK")]
    first = [one for one in account.events if one["detail-type"] == "CloudWatch Alarm State Change"][1]["detail"]
    assert first["state"]["reason"] == "a test" and "reasonData" not in first["state"]


def test_actions_run_on_transitions_into_their_state_unless_switched_off():
    account = CloudWatchAccount()
    topic, function = "arn:aws:sns:eu-west-1:111122223333:pages", "arn:aws:lambda:eu-west-1:111122223333:function:f"
    account.alarm(AlarmActions=[topic, function], OKActions=[topic])
    account.report_each_period([HIGH, HIGH, HIGH, LOW, LOW, LOW])
    account.run_to(60)
    ran = [
        (topic, "high", "INSUFFICIENT_DATA"),
        (topic, "high", "OK"),
        (function, "high", "OK"),
        (topic, "high", "ALARM"),
    ]
    assert account.actions == ran
    account.call("DisableAlarmActions", AlarmNames=["high"])
    account.report_each_period([HIGH, HIGH, HIGH], from_t=60)
    account.run_to(100)
    assert account.actions == ran and account.transitions[-1][2] == "ALARM"
    account.call("EnableAlarmActions", AlarmNames=["high"])
    assert account.call("DescribeAlarms")["MetricAlarms"][0]["ActionsEnabled"] is True


def test_an_alarm_on_metric_math_reads_its_expression():
    account = CloudWatchAccount()
    metric = {key: METRIC[key] for key in ("Namespace", "MetricName", "Dimensions")}
    stat = {"Metric": metric, "Period": 10, "Stat": "Maximum"}
    account.call(
        "PutMetricAlarm",
        AlarmName="double",
        EvaluationPeriods=2,
        Threshold=50.0,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="missing",
        Metrics=[
            {"Id": "m", "MetricStat": stat, "ReturnData": False},
            {"Id": "e", "Expression": "FILL(m, 0) * 2", "Label": "twice", "ReturnData": True},
        ],
    )
    account.report_each_period([HIGH, HIGH])
    account.run_to(21)
    assert account.transitions == [(0.5, "double", "OK"), (20.5, "double", "ALARM")]
    detail = account.events[-1]["detail"]
    assert detail["configuration"]["metrics"][1] == {
        "id": "e",
        "expression": "FILL(m, 0) * 2",
        "label": "twice",
        "returnData": True,
    }
    assert "statistic" not in json.loads(detail["state"]["reasonData"])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"Period": 15}, "Period must be 10, 20, 30 or a multiple of 60"),
        ({"Period": 90}, "Period must be"),
        ({"DatapointsToAlarm": 4}, "between 1 and EvaluationPeriods"),
        ({"EvaluationPeriods": 8641, "DatapointsToAlarm": 1}, "more than a day"),
        ({"Period": 3600, "EvaluationPeriods": 169, "DatapointsToAlarm": 1}, "more than 7 days"),
        ({"TreatMissingData": "zero"}, "TreatMissingData"),
        ({"Statistic": "Median"}, "Invalid statistic"),
        ({"AlarmActions": ["pages"]}, "Invalid arn syntax: pages"),
        ({"AlarmActions": [f"arn:{n}" for n in range(6)]}, "at most 5"),
    ],
)
def test_an_alarm_that_cloudwatch_refuses_is_refused(change, text):
    request = {
        "AlarmName": "a",
        **METRIC,
        "Statistic": "Maximum",
        "Period": 10,
        "EvaluationPeriods": 3,
        "Threshold": 1.0,
    }
    with pytest.raises(ServiceError) as refused:
        CloudWatchAccount().service.call(
            "PutMetricAlarm", {**request, "ComparisonOperator": "GreaterThanThreshold", **change}
        )
    assert refused.value.code == "ValidationError" and text in refused.value.message


@pytest.mark.parametrize("period_s", [10, 20, 30, 60, 120, 3600])
def test_every_documented_period_is_taken(period_s):
    CloudWatchAccount().alarm(Period=period_s)


def test_what_alarms_can_do_beyond_this_is_a_gap_and_not_an_answer():
    account = CloudWatchAccount()
    with pytest.raises(NotEmulated, match="ExtendedStatistic"):
        account.alarm(ExtendedStatistic="p99")
    with pytest.raises(NotEmulated, match="anomaly"):
        account.alarm(ComparisonOperator="GreaterThanUpperThreshold")


def test_describe_alarms_pages_and_filters_in_the_order_of_names():
    account = CloudWatchAccount()
    for name in ("prod--low", "prod--high", "prod2--high", "dev--high"):
        account.alarm(name)
    account.call("SetAlarmState", AlarmName="prod--low", StateValue="ALARM", StateReason="a test")
    first = account.call("DescribeAlarms", MaxRecords=3)
    rest = account.call("DescribeAlarms", MaxRecords=3, NextToken=first["NextToken"])
    names = [one["AlarmName"] for page in (first, rest) for one in page["MetricAlarms"]]
    assert names == ["dev--high", "prod--high", "prod--low", "prod2--high"] and "NextToken" not in rest
    found = account.call("DescribeAlarms", AlarmNamePrefix="prod--")["MetricAlarms"]
    assert [one["AlarmName"] for one in found] == ["prod--high", "prod--low"]
    (found,) = account.call("DescribeAlarms", StateValue="ALARM")["MetricAlarms"]
    assert found["AlarmName"] == "prod--low"


def test_history_tells_changes_of_state_and_configuration_newest_first():
    account = CloudWatchAccount()
    account.alarm()
    account.run_to(5)
    items = account.call("DescribeAlarmHistory", AlarmName="high")["AlarmHistoryItems"]
    assert [one["HistorySummary"] for one in items] == [
        "Alarm updated from INSUFFICIENT_DATA to OK",
        'Alarm "high" created',
    ]
    states = account.call("DescribeAlarmHistory", HistoryItemType="StateUpdate")["AlarmHistoryItems"]
    assert len(states) == 1 and json.loads(states[0]["HistoryData"])["newState"]["stateValue"] == "OK"


def test_tags_are_kept_with_the_alarm():
    account = CloudWatchAccount()
    account.alarm(Tags=[{"Key": "team", "Value": "llm"}])
    account.call("TagResource", ResourceARN=ARN, Tags=[{"Key": "stage", "Value": "prod"}])
    account.call("UntagResource", ResourceARN=ARN, TagKeys=["team"])
    assert account.call("ListTagsForResource", ResourceARN=ARN)["Tags"] == [{"Key": "stage", "Value": "prod"}]
    with pytest.raises(ServiceError, match="Unknown resource"):
        account.call("ListTagsForResource", ResourceARN=ARN + "er")


def test_an_alarm_that_is_not_there_cannot_be_set_or_deleted():
    account = CloudWatchAccount()
    with pytest.raises(ServiceError, match="ResourceNotFound"):
        account.call("SetAlarmState", AlarmName="gone", StateValue="OK", StateReason="x")
    with pytest.raises(ServiceError, match="ResourceNotFound"):
        account.call("DeleteAlarms", AlarmNames=["gone"])


@pytest.mark.parametrize(
    ("rule", "high", "low", "expected"),
    [
        ('ALARM("high") AND ALARM(low)', "ALARM", "ALARM", "ALARM"),
        ('ALARM("high") AND ALARM(low)', "ALARM", "OK", "OK"),
        ("ALARM(high) OR ALARM(low)", "OK", "ALARM", "ALARM"),
        ("ALARM(high) AND NOT ALARM('low')", "ALARM", "OK", "ALARM"),
        ("NOT (ALARM(high) OR OK(low))", "OK", "ALARM", "ALARM"),
        ("OK(high) AND OK(low) OR ALARM(high)", "ALARM", "OK", "ALARM"),
        ("INSUFFICIENT_DATA(high)", "OK", "OK", "OK"),
        ("TRUE", "OK", "OK", "ALARM"),
        (f"ALARM({ARN})", "ALARM", "OK", "ALARM"),
    ],
)
def test_a_composite_alarm_is_in_alarm_when_its_rule_holds(rule, high, low, expected):
    account = CloudWatchAccount()
    for name in ("high", "low"):
        account.alarm(name)
    account.call("PutCompositeAlarm", AlarmName="both", AlarmRule=rule)
    for name, state in (("high", high), ("low", low)):
        account.call("SetAlarmState", AlarmName=name, StateValue=state, StateReason="a test")
    (composite,) = account.call("DescribeAlarms", AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]
    assert composite["StateValue"] == expected


def test_composites_of_composites_follow_and_tell_their_children():
    account = CloudWatchAccount()
    account.alarm()
    account.call("PutCompositeAlarm", AlarmName="a", AlarmRule="ALARM(high)")
    account.call("PutCompositeAlarm", AlarmName="b", AlarmRule="NOT ALARM(a)")
    account.call("SetAlarmState", AlarmName="high", StateValue="ALARM", StateReason="a test")
    assert [(name, state) for _, name, state in account.transitions[-3:]] == [
        ("high", "ALARM"),
        ("a", "ALARM"),
        ("b", "OK"),
    ]
    detail = next(one["detail"] for one in reversed(account.events) if one["detail"]["alarmName"] == "a")
    assert json.loads(detail["state"]["reasonData"])["triggeringAlarms"][0]["arn"] == ARN
    assert detail["configuration"] == {"alarmRule": "ALARM(high)"}


@pytest.mark.parametrize(
    "rule",
    ["", "ALARM(gone)", "ALARM(high) XOR OK(high)", "(ALARM(high)", "AND ALARM(high)", "ALARM(high) ALARM(high)"],
)
def test_a_rule_that_is_none_or_names_a_missing_alarm_is_refused(rule):
    account = CloudWatchAccount()
    account.alarm()
    with pytest.raises(ServiceError, match="ValidationError"):
        account.service.call("PutCompositeAlarm", {"AlarmName": "c", "AlarmRule": rule})


def test_the_same_run_says_the_same_to_the_byte():
    def run() -> str:
        account = CloudWatchAccount(publish_delay_s=(0.0, 20.0), alarm_offset_s=(0.0, 5.0), seed=3)
        account.alarm()
        account.report_each_period([HIGH, LOW, None, HIGH, HIGH, LOW] * 5)
        return json.dumps(account.events)

    assert run() == run()
