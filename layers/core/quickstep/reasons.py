"""Why a decision came out as it did: a closed vocabulary, one word per cause.

Where Application Auto Scaling (AAS) has a word (`NotScaledReasons`, botocore model `application-autoscaling`), it is
used unchanged, so that a reader of AAS's scaling activities finds the same codes here.
"""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Reason code of one stage's step, and of the decision as a whole."""

    # a stage had nothing to say
    UNCHANGED = "Unchanged"
    NOT_CONFIGURED = "NotConfigured"

    # what demand says
    DEMAND = "Demand"
    NO_TRAFFIC = "NoTraffic"
    NO_DATA = "NoData"
    NO_COPIES = "NoCopies"
    SEASON = "Season"

    # policies
    STEP_ADJUSTMENT = "StepAdjustment"
    TARGET_TRACKING = "TargetTracking"
    ALARM_NOT_IN_ALARM = "AlarmNotInAlarm"
    NO_STEP_MATCHES = "NoStepMatches"
    BREACH_ALREADY_COUNTED = "BreachAlreadyCounted"
    POLICIES_DISAGREE = "PoliciesDisagree"
    SCALE_IN_DISABLED = "ScaleInDisabled"
    FORECAST = "Forecast"
    FORECAST_ONLY = "ForecastOnly"
    FORECAST_SILENT = "ForecastSilent"

    # guards
    BURST_HOLD = "BurstHold"
    PENDING_CAPACITY = "PendingCapacity"
    CHANGE_SETTLING = "ChangeSettling"
    SCALE_IN_HOLD = "ScaleInHold"
    DRAIN_UNSAFE = "DrainUnsafe"
    FLAPPING = "AutoScalingAnticipatedFlapping"
    COOLDOWN_SCALE_OUT = "CooldownScaleOut"
    COOLDOWN_SCALE_IN = "CooldownScaleIn"
    WAKE = "Wake"
    AWAKE_HOLD = "AwakeHold"
    SCHEDULE = "Schedule"
    MANUAL_WISH = "ManualWish"
    BUDGET = "BudgetCap"
    PAUSED = "Paused"
    SHADOW = "Shadow"
    PINNED = "Pinned"
    SUSPENDED = "Suspended"

    # bounds
    AT_MAX = "AlreadyAtMaxCapacity"
    AT_MIN = "AlreadyAtMinCapacity"
    AT_DESIRED = "AlreadyAtDesiredCapacity"
    RAISED_TO_MIN = "RaisedToMinCapacity"
    LOWERED_TO_MAX = "LoweredToMaxCapacity"

    # what the endpoint or the account allows
    NOT_SCALABLE_NOW = "TargetServicePutResourceAsUnscalable"
    DEPLOYMENT_IN_PROGRESS = "DeploymentInProgress"
    FOREIGN_ACTOR = "ForeignActor"
    COMPONENT_NOT_FOUND = "ComponentNotFound"
    ENDPOINT_NOT_FOUND = "EndpointNotFound"
    QUOTA_EXCEEDED = "QuotaExceeded"
    INSUFFICIENT_CAPACITY = "InsufficientInstanceCapacity"
    DEADLINE_PASSED = "DeadlinePassed"
    MANAGED_MAX_INSTANCES = "ManagedInstanceScalingMax"
    BLIND_INSTANCE_SCALE_IN = "BlindInstanceScaleIn"
    THROTTLED = "Throttled"
    LEASE_HELD = "LeaseHeld"

    # refused events
    EVENT_FOREIGN = "EventForeign"
    EVENT_MALFORMED = "EventMalformed"
    EVENT_STALE = "EventStale"
    EVENT_UNKNOWN_TARGET = "EventUnknownTarget"
