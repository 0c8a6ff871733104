"""Every default of every peer, each pinned by the file or page of the peer that states it."""

from __future__ import annotations

import inspect

import pytest

from simulator.peers import make_peer
from simulator.peers.aas_alarm import WakeFromZero
from simulator.peers.aas_step import AasStepScaling
from simulator.peers.aas_target_tracking import COOLDOWN_S, LOW_SHARE, AasTargetTracking
from simulator.peers.aibrix import AibrixApa, apa_copies
from simulator.peers.cortex import Cortex
from simulator.peers.dynamo import DynamoLoadLoop, sla_decision
from simulator.peers.hpa import DEFAULT_IN_RATE, DEFAULT_OUT_RATE, HpaBehaviour, KubernetesHpa, RateLimit
from simulator.peers.keda import Keda
from simulator.peers.knative import KnativeKpa, KpaRule
from simulator.peers.ray_serve import RayServe
from simulator.peers.skyserve import SkyServe
from simulator.peers.wva import WvaV2, required_and_spare, saturation


def made(name, min_copies=1):
    return make_peer(name, target_per_copy=5.0, min_copies=min_copies, max_copies=50)


@pytest.mark.parametrize(
    ("got", "want"),
    [
        pytest.param(COOLDOWN_S, 300.0, id="aas cooldown for SageMaker: CDK documentation of BaseTargetTrackingProps"),
        pytest.param(LOW_SHARE, 0.9, id="aas AlarmLow at 0.9 of the target: AWS notebook realtime_endpoints"),
        pytest.param(made("aas-tt-10s").high.points, 3, id="aas AlarmHigh 3 datapoints of 10 s: AWS notebook"),
        pytest.param(made("aas-tt-10s").low.points, 90, id="aas AlarmLow 90 datapoints of 10 s: AWS notebook"),
        pytest.param(made("aas-tt-60s").low.points, 15, id="aas AlarmLow 15 datapoints of 60 s: ECS and Aurora documentation"),
        pytest.param(made("aas-step-sample").high.points, 3, id="aas step sample 3 periods: AWS notebook step_scaling"),
        pytest.param(KpaRule(1).stable_window_s, 60.0, id="knative stable-window 60 s: configmaps/autoscaler.yaml"),
        pytest.param(KpaRule(1).panic_threshold, 2.0, id="knative panic-threshold-percentage 200: configmaps/autoscaler.yaml"),
        pytest.param(KpaRule(1).max_up_rate, 1000.0, id="knative max-scale-up-rate 1000: configmaps/autoscaler.yaml"),
        pytest.param(KpaRule(1).max_down_rate, 2.0, id="knative max-scale-down-rate 2: configmaps/autoscaler.yaml"),
        pytest.param(KpaRule(1).scale_down_delay_s, 0.0, id="knative scale-down-delay 0 s: configmaps/autoscaler.yaml"),
        pytest.param(KpaRule(1).activation_copies, 1, id="knative activation-scale 1: configmaps/autoscaler.yaml"),
        pytest.param(made("knative-kpa").period_s, 2.0, id="knative tick 2 s: scaling/autoscaler.go"),
        pytest.param(DEFAULT_OUT_RATE, RateLimit(copies=4, percent=100.0), id="kubernetes out 4 or 100 % per 15 s: autoscaling/v2/defaults.go"),
        pytest.param(DEFAULT_IN_RATE, RateLimit(percent=100.0), id="kubernetes in 100 % per 15 s: autoscaling/v2/defaults.go"),
        pytest.param(DEFAULT_OUT_RATE.percent_period_s, 15.0, id="kubernetes policies' period 15 s: autoscaling/v2/defaults.go"),
        pytest.param(made("k8s-hpa").period_s, 15.0, id="kubernetes sync period 15 s: horizontal-pod-autoscaler-sync-period"),
        pytest.param(made("dynamo-load").period_s, 5.0, id="dynamo load_adjustment_interval 5 s: config/defaults.py"),
        pytest.param(made("wva-v1").period_s, 60.0, id="wva optimisation interval 60 s"),
        pytest.param(made("skyserve").period_s, 20.0, id="skyserve decision interval 20 s: sky/serve/constants.py"),
        pytest.param(made("skyserve", min_copies=0).period_s, 5.0, id="skyserve interval at zero 5 s: sky/serve/constants.py"),
        pytest.param(made("cortex").period_s, 10.0, id="cortex AutoscalingTickInterval 10 s: pkg/types/spec"),
        pytest.param(made("aibrix-apa").period_s, 10.0, id="aibrix resync 10 s: podautoscaler_controller.go"),
    ],
)  # fmt: skip
def test_the_default_is_the_documented_one(got, want):
    assert got == want


@pytest.mark.parametrize(
    ("kind", "option", "want"),
    [
        pytest.param(AasTargetTracking, "out_points", 3, id="aas AlarmHigh: AWS notebook realtime_endpoints"),
        pytest.param(AasTargetTracking, "repeat_s", 60.0, id="aas actions repeat per minute: CloudWatch user guide"),
        pytest.param(AasStepScaling, "cooldown_s", 300.0, id="aas step Cooldown: botocore application-autoscaling"),
        pytest.param(WakeFromZero, "period_s", 30.0, id="aas wake alarm 30 s: scale_down_to_zero.ipynb"),
        pytest.param(WakeFromZero, "cooldown_s", 60.0, id="aas wake cooldown 60 s: scale_down_to_zero.ipynb"),
        pytest.param(KnativeKpa, "panic_window_share", 0.1, id="knative panic-window-percentage 10: configmaps/autoscaler.yaml"),
        pytest.param(KnativeKpa, "to_zero_grace_s", 30.0, id="knative scale-to-zero-grace-period: configmaps/autoscaler.yaml"),
        pytest.param(HpaBehaviour, "out_window_s", 0.0, id="kubernetes scale-up stabilization: autoscaling/v2/defaults.go"),
        pytest.param(HpaBehaviour, "in_window_s", 300.0, id="kubernetes scale-down stabilization: autoscaling/v2/defaults.go"),
        pytest.param(KubernetesHpa, "tolerance", 0.1, id="kubernetes tolerance: horizontal-pod-autoscaler-tolerance"),
        pytest.param(Keda, "polling_s", 30.0, id="keda pollingInterval: scaledobject_types.go"),
        pytest.param(Keda, "cooldown_s", 300.0, id="keda cooldownPeriod: scaledobject_types.go"),
        pytest.param(Keda, "activation", 0.0, id="keda activation threshold: scalers"),
        pytest.param(RayServe, "look_back_s", 30.0, id="ray look_back_period_s: serve/config.py"),
        pytest.param(RayServe, "up_delay_s", 30.0, id="ray upscale_delay_s: serve/config.py"),
        pytest.param(RayServe, "down_delay_s", 600.0, id="ray downscale_delay_s: serve/config.py"),
        pytest.param(RayServe, "up_factor", 1.0, id="ray upscaling_factor: serve/config.py"),
        pytest.param(RayServe, "down_factor", 1.0, id="ray downscaling_factor: serve/config.py"),
        pytest.param(SkyServe, "up_delay_s", 300.0, id="skyserve upscale delay: sky/serve/constants.py"),
        pytest.param(SkyServe, "down_delay_s", 1200.0, id="skyserve downscale delay: sky/serve/constants.py"),
        pytest.param(AibrixApa, "window_s", 180.0, id="aibrix stable window: podautoscaler metrics"),
        pytest.param(AibrixApa, "up_cooldown_s", 0.0, id="aibrix scale-up cooldown: context/context.go"),
        pytest.param(AibrixApa, "down_cooldown_s", 300.0, id="aibrix scale-down cooldown: context/context.go"),
        pytest.param(AibrixApa, "up_tolerance", 0.1, id="aibrix up tolerance: context/context.go"),
        pytest.param(apa_copies, "down_tolerance", 0.1, id="aibrix down tolerance: context/context.go"),
        pytest.param(AibrixApa, "max_up_rate", 2.0, id="aibrix max scale up rate: context/context.go"),
        pytest.param(AibrixApa, "max_down_rate", 2.0, id="aibrix max scale down rate: context/context.go"),
        pytest.param(saturation, "kv_threshold", 0.80, id="wva kvCacheThreshold: saturation config"),
        pytest.param(saturation, "queue_threshold", 5.0, id="wva queueLengthThreshold: saturation config"),
        pytest.param(saturation, "kv_spare_trigger", 0.1, id="wva kvSpareTrigger: saturation config"),
        pytest.param(saturation, "queue_spare_trigger", 3.0, id="wva queueSpareTrigger: saturation config"),
        pytest.param(required_and_spare, "up_share", 0.85, id="wva scaleUpThreshold: saturation_v2"),
        pytest.param(required_and_spare, "down_share", 0.70, id="wva scaleDownBoundary: saturation_v2"),
        pytest.param(WvaV2, "retention_s", 600.0, id="wva scale-to-zero retention 10 min"),
        pytest.param(DynamoLoadLoop, "up_at", 1.0, id="dynamo _DECODE_THROUGHPUT_SCALE_UP: core/load_scaling.py"),
        pytest.param(DynamoLoadLoop, "down_at", 0.6, id="dynamo _DECODE_THROUGHPUT_SCALE_DOWN: core/load_scaling.py"),
        pytest.param(sla_decision, "sensitivity", 0.8, id="dynamo load_scaling_down_sensitivity 80: config/defaults.py"),
        pytest.param(Cortex, "window_s", 60.0, id="cortex window: pkg/types/spec/validations.go"),
        pytest.param(Cortex, "up_stabilization_s", 60.0, id="cortex upscale stabilization: pkg/types/spec/validations.go"),
        pytest.param(Cortex, "down_stabilization_s", 300.0, id="cortex downscale stabilization: pkg/types/spec/validations.go"),
        pytest.param(Cortex, "max_up_factor", 1.5, id="cortex max_upscale_factor: pkg/types/spec/validations.go"),
        pytest.param(Cortex, "max_down_factor", 0.75, id="cortex max_downscale_factor: pkg/types/spec/validations.go"),
        pytest.param(Cortex, "tolerance", 0.05, id="cortex tolerances: pkg/types/spec/validations.go"),
    ],
)  # fmt: skip
def test_the_option_left_out_is_the_documented_one(kind, option, want):
    assert inspect.signature(kind).parameters[option].default == want
