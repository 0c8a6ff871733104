"""What the server answers on its own paths, and how it refuses: one account in this process, asked over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from simulator.serve.app import make_app
from simulator.serve.driver import AccountDriver
from tests.simulator.test_serve_driver import CHAT, driven


async def _echo(request: Request) -> JSONResponse:
    driver: AccountDriver = request.app.state.driver
    fleet_in_flight = await driver.call(lambda live: live.fleet(CHAT).in_flight)
    return JSONResponse({"name": request.path_params["name"], "in_flight": fleet_in_flight})


@pytest.fixture(scope="module")
def web() -> Iterator[TestClient]:
    data_plane = [Route("/endpoints/{name}/invocations", _echo, methods=["POST"])]
    with driven() as driver, TestClient(make_app(driver, data_plane=data_plane)) as client:
        yield client


def headers(scope: str, **more: str) -> dict[str, str]:
    credential = f"Credential=test/20260101/eu-west-1/{scope}/aws4_request"
    return {"authorization": f"AWS4-HMAC-SHA256 {credential}, SignedHeaders=host, Signature=0", **more}


def test_state_load_and_advance_together_show_a_scale_out(web):
    before = web.get("/_quickstep/state").json()
    assert before["resources"][CHAT]["copies_desired"] == 1
    assert before["speed"] == 1.0
    loaded = web.post("/_quickstep/load", json={"in_flight": 40}).json()
    assert loaded["resources"][CHAT]["load_in_flight"] == 40
    after = web.post("/_quickstep/advance", json={"seconds": 180}).json()
    assert after["now_s"] >= before["now_s"] + 180
    assert after["resources"][CHAT]["in_flight"] == 40
    assert after["resources"][CHAT]["copies_desired"] > 1
    assert after["problems"] == []
    quiet = web.post("/_quickstep/load", json={"in_flight": 0, "resource_id": CHAT}).json()
    assert quiet["resources"][CHAT]["load_in_flight"] == 0


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("advance", {"seconds": 0}, "seconds: Input should be greater than 0 (got 0)"),
        ("advance", {"seconds": 1e9}, "seconds: Input should be less than or equal to 604800 (got 1000000000.0)"),
        ("advance", {}, "seconds: Field required"),
        ("load", {"in_flight": -1}, "in_flight: Input should be greater than or equal to 0 (got -1)"),
        ("load", {"in_flight": 1, "resource_id": "inference-component/nope"}, "'inference-component/nope' takes no traffic"),
        ("load", {"in_flight": 1, "resourceId": CHAT}, "resourceId: Extra inputs are not permitted"),
        ("load", [1], "Input should be an object"),
    ],
)  # fmt: skip
def test_a_body_that_cannot_be_used_says_which_member_and_why(web, path, body, said):
    answer = web.post(f"/_quickstep/{path}", json=body)
    assert answer.status_code == 400
    assert said in answer.json()["error"]
    assert web.post(f"/_quickstep/{path}", content=b"{").status_code == 400


def test_the_data_plane_gets_its_paths_and_the_driver(web):
    assert web.post("/endpoints/llm/invocations").json()["name"] == "llm"


def test_a_control_path_that_does_not_exist_is_told_the_ones_that_do(web):
    answer = web.get("/_quickstep/nope")
    assert answer.status_code == 404
    assert "/_quickstep/state" in answer.json()["error"]
    assert web.get("/_quickstep/load").status_code == 405


def test_an_unsigned_request_is_told_what_is_missing(web):
    answer = web.get("/")
    assert answer.status_code == 403
    assert "not signed" in answer.json()["message"]
    assert "dummy credentials" in answer.json()["message"]


@pytest.mark.parametrize(
    ("scope", "target", "said"),
    [
        ("cloudwatch-nothing", "Nope.Do", "neither the emulated account nor moto has this service"),
        ("sagemaker", "SageMaker.ListTrainingJobs", "sagemaker ListTrainingJobs is not emulated"),
        ("states", "AWSStepFunctions.CreateActivity", "stepfunctions CreateActivity; emulated are Describe"),
    ],
)
def test_what_is_not_emulated_is_one_clear_error_that_no_sdk_repeats(web, scope, target, said):
    answer = web.post("/", content=b'{"name": "a"}', headers=headers(scope, **{"x-amz-target": target}))
    assert answer.status_code == 501
    assert answer.headers["x-amzn-errortype"] == "NotImplemented"
    assert said in answer.json()["message"]


@pytest.mark.parametrize(
    ("scope", "more", "said"),
    [
        (
            "dynamodb",
            {"x-amz-target": "DynamoDBStreams_20120810.ListStreams"},
            "DynamoDBStreams_20120810.ListStreams is no",
        ),
        ("states", {}, "POST / is no operation of states"),
        ("sagemaker", {"x-amz-target": "Nope.Do"}, "Nope.Do is no operation of sagemaker"),
    ],
)
def test_a_request_to_one_of_its_services_never_goes_to_moto_which_knows_nothing_of_them(web, scope, more, said):
    answer = web.post("/", content=b"{}", headers=headers(scope, **more))
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (404, "UnknownOperationException")
    assert said in answer.json()["message"]


def test_a_payload_that_is_no_text_is_refused_as_lambda_does(web):
    driver: AccountDriver = web.app.state.driver
    name = driver.submit(lambda live: live.account.stack["ControlFunction"].name).result()
    answer = web.post(f"/2015-03-31/functions/{name}/invocations", content=b"\xff\x00", headers=headers("lambda"))
    assert (answer.status_code, answer.headers["x-amzn-errortype"]) == (400, "InvalidRequestContentException")


def test_an_emulation_that_breaks_is_an_internal_failure_and_noted_as_a_problem(web):
    driver: AccountDriver = web.app.state.driver

    class Broken:
        def call(self, operation, params):
            raise RuntimeError("out of order")

    sns = driver.submit(lambda live: live.account.services["sns"]).result()
    driver.submit(lambda live: live.account.services.update(sns=Broken())).result()
    try:
        answer = web.post("/", data={"Action": "ListTopics", "Version": "2010-03-31"}, headers=headers("sns"))
    finally:
        driver.submit(lambda live: live.account.services.update(sns=sns)).result()
    assert answer.status_code == 500
    assert "<Code>InternalFailure</Code>" in answer.text
    assert "out of order" in web.get("/_quickstep/state").json()["problems"][-1]


def test_application_auto_scaling_is_quickstep_and_below_incumbent_it_is_awss_own(web):
    describe = headers("application-autoscaling", **{"x-amz-target": "AnyScaleFrontendService.DescribeScalableTargets"})
    body = json.dumps({"ServiceNamespace": "sagemaker"}).encode()
    web.post("/_quickstep/advance", json={"seconds": 70})
    ours = web.post("/", content=body, headers=describe).json()["ScalableTargets"]
    assert [one["ResourceId"] for one in ours] == [CHAT]
    for path in ("/incumbent", "/incumbent/"):
        assert web.post(path, content=body, headers=describe).json() == {"ScalableTargets": []}
    register = {**describe, "x-amz-target": "AnyScaleFrontendService.RegisterScalableTarget"}
    copies = "sagemaker:inference-component:DesiredCopyCount"
    target = {"ServiceNamespace": "sagemaker", "ResourceId": CHAT, "ScalableDimension": copies}
    there = web.post("/incumbent", content=json.dumps({**target, "MinCapacity": 1, "MaxCapacity": 3}), headers=register)
    assert there.status_code == 200
    refused = web.post("/", content=json.dumps({**target, "MaxCapacity": 4}), headers=register)
    assert refused.json()["__type"] == "ValidationException"
    assert "is scaled already by" in refused.json()["message"]
    misspelt = web.post("/", content=b'{"ServiceNamespac": "sagemaker"}', headers=describe).json()
    assert misspelt["__type"] == "ValidationException"
    assert web.post("/", content=b"[", headers=describe).json()["__type"] == "SerializationException"
