"""The truth table of the CloudWatch User Guide, "How alarm state is evaluated when data is missing".

Oldest datapoint first; `0` does not breach, `X` breaches, `-` is missing; N = 3 and the evaluation range is 5 periods.
"""

DOCUMENTED = [
    # series, M, missing, ignore, breaching, notBreaching (K: keeps its state)
    ("0-X-X", 3, "OK", "OK", "OK", "OK"),
    ("0----", 3, "OK", "OK", "OK", "OK"),
    ("-----", 3, "INSUFFICIENT_DATA", "K", "ALARM", "OK"),
    ("0XX-X", 3, "ALARM", "ALARM", "ALARM", "ALARM"),
    ("--X--", 3, "ALARM", "K", "ALARM", "OK"),
    ("0-X-X", 2, "ALARM", "ALARM", "ALARM", "ALARM"),
    ("00X0X", 2, "ALARM", "ALARM", "ALARM", "ALARM"),
    ("0-X--", 2, "OK", "OK", "ALARM", "OK"),
    ("----0", 2, "OK", "OK", "ALARM", "OK"),
    ("---X-", 2, "ALARM", "K", "ALARM", "OK"),
]

COLUMNS = ("missing", "ignore", "breaching", "notBreaching")
