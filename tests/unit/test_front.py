"""The gateway: what is passed on, what is held, what is tried again, and how each kind of trouble ends (F72 to F78)."""

from __future__ import annotations

import json

import pytest

from quickstep.errors import (
    AccessDenied,
    ComponentNotFound,
    ModelFailed,
    NoCapacity,
    OutcomeUnknown,
    Rejected,
    Throttled,
)
from quickstep.front.front import Patience
from quickstep.front.http import MAX_BODY_BYTES, Request
from quickstep.front.sse import MAX_HELD_BACK_BYTES, whole
from quickstep.front.waking import Phase, State, Waking
from tests.unit.front_stage import (
    NO_CAPACITY,
    PATIENCE,
    Stage,
    Stream,
    broken,
    comments,
    completion,
    data,
    event,
    sent,
    stage,
)

DONE = b"data: [DONE]\n\n"
WORDS = [event(f"wörd{number} ") for number in range(50)]
"""Fifty chunks with a character of two bytes in each."""


def error_of(document: str | bytes) -> dict:
    return json.loads(document)["error"]


# -- warm ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 64, 10_000], ids=lambda size: f"parts of {size}")
def test_the_bytes_of_a_warm_answer_pass_unchanged_wherever_they_were_cut(size):
    whole = b"".join(WORDS) + DONE
    parts = [whole[at : at + size] for at in range(0, len(whole), size)]
    with stage(outcomes=[Stream(*parts)]) as on:
        response = on.ask()
        assert (response.status, response.content_type) == (200, "text/event-stream")
        assert sent(response) == whole
        assert [what for _, what, _ in on.at] == ["invoke"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b'{"choices": [{"message": {"content": "hi"}}]}'),
        ("application/jsonlines", b'{"token": {"text": "h"}}\n{"token": {"text": "i"}}\n'),
        ("application/octet-stream", bytes(range(256))),
    ],
)
def test_other_formats_pass_unchanged_with_their_type(content_type, body):
    with stage(outcomes=[Stream(body[:5], body[5:], content_type=content_type)]) as on:
        response = on.ask(stream=False)
        assert (response.content_type, sent(response)) == (content_type, body)


def test_an_event_is_never_sent_in_halves_and_costs_no_waiting_when_it_is_whole():
    one, two = event("one"), event("two")
    stream = Stream(one, two[:9], two[9:], DONE)
    with stage(outcomes=[stream]) as on:
        parts = iter(on.ask())
        assert next(parts) == one
        assert stream.taken == 1
        assert next(parts) == two
        assert stream.taken == 3


def test_the_next_part_is_taken_from_the_model_only_when_the_client_took_the_one_before():  # F75
    stream = Stream(*WORDS)
    with stage(outcomes=[stream]) as on:
        parts = iter(on.ask())
        for number in range(1, 20):
            next(parts)
            assert stream.taken == number


@pytest.mark.parametrize("read", [0, 1, 20])
def test_a_client_that_leaves_takes_the_models_connection_with_it(read):  # F74
    stream = Stream(*WORDS)
    with stage(outcomes=[stream]) as on:
        response = on.ask()
        parts = iter(response)
        for _ in range(read):
            next(parts)
        response.end()
        assert stream.hung_up
        assert stream.taken == max(1, read)


def test_an_error_that_the_container_puts_into_a_200_reaches_the_client_as_it_is():  # F76
    failure = b'data: {"error": {"message": "EngineCore died", "code": 500}}\n\n'
    with stage(outcomes=[Stream(WORDS[0], failure)]) as on:
        assert sent(on.ask()) == WORDS[0] + failure


# -- broken streams ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code", ["StreamBroken", "ModelInvocationTimeExceeded", "InternalStreamFailure", "ConnectionLost"]
)
def test_a_stream_that_breaks_ends_with_an_error_event_and_is_not_tried_again(code):  # F73
    half = event("never whole")[:-9]
    with stage(outcomes=[Stream(*WORDS[:3], half, broken(code))]) as on:
        body = sent(on.ask())
        assert body.startswith(b"".join(WORDS[:3]))
        assert half not in body
        error, done = data(body)[3:]
        assert (error_of(error)["code"], error_of(error)["type"], done) == (code, "server_error", "[DONE]")
        assert len(on.told("invoke")) == 1


def test_json_lines_that_break_end_with_a_line_that_says_so():
    lines = b'{"token": {"text": "a"}}\n'
    with stage(outcomes=[Stream(lines, b'{"tok', broken(), content_type="application/jsonlines")]) as on:
        body = sent(on.ask())
        assert body.startswith(lines)
        assert error_of(body.splitlines()[1])["code"] == "StreamBroken"


def test_a_document_that_breaks_is_cut_off_since_nothing_could_say_it():
    with stage(outcomes=[Stream(b'{"choi', broken(), content_type="application/json")]) as on:
        response = on.ask(stream=False)
        with pytest.raises(type(broken())):
            list(response)


def test_an_answer_is_ended_before_the_time_that_lambda_gives_it_is_over():
    with stage() as on:
        on.outcomes = [Stream(*WORDS, wait=lambda: on.sleep(10))]
        request = completion()
        response = on.front().respond_to(
            Request(**{name: getattr(request, name) for name in request.__slots__} | {"deadline_s": on.now_s + 100})
        )
        body = sent(response)
        assert error_of(data(body)[-2])["code"] == "DeadlineExceeded"
        assert 95 <= on.since_s <= 100


# -- tried again -------------------------------------------------------------------------------------------------------------

PASSING = [
    Throttled("429"),
    OutcomeUnknown("500 or a connection"),
    ModelFailed("", status=503, answer=""),
    ModelFailed("", status=429, answer=""),
]


@pytest.mark.parametrize("error", PASSING, ids=["throttled", "no answer", "container 503", "container 429"])
def test_before_the_first_byte_what_may_pass_is_tried_again_with_growing_waits(error):
    with stage(outcomes=[error, error, error, Stream(*WORDS, DONE)]) as on:
        assert sent(on.ask()) == b"".join(WORDS) + DONE
        assert [at_s for at_s, _ in on.told("invoke")] == [0, 0.25, 0.75, 1.75]


def test_a_stream_that_breaks_before_its_first_part_is_tried_again():
    with stage(outcomes=[Stream(broken()), Stream(*WORDS)]) as on:
        assert sent(on.ask()) == b"".join(WORDS)


def test_waits_are_drawn_between_nothing_and_their_most():
    drawn = iter([0.0, 0.5])
    with stage(outcomes=[Throttled(""), Throttled(""), Stream(DONE)]) as on:
        front = on.front()
        front._draw = lambda: next(drawn)
        sent(front.respond_to(completion()))
        assert [at_s for at_s, _ in on.told("invoke")] == [0, 0, 0.25]


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Throttled("slow"), 429, "throttled"),
        (OutcomeUnknown("lost"), 503, "no_answer"),
        (broken(), 503, "no_answer"),
    ],
)
def test_trying_again_ends_after_five_times(error, status, code):
    with stage(outcomes=[Stream(error) if error.args == ("stream",) else error]) as on:
        response = on.ask()
        assert (response.status, error_of(sent(response))["code"], len(on.told("invoke"))) == (status, code, 5)
        assert dict(response.headers)["retry-after"] == "5"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Rejected("invalid"), 400, "refused"),
        (ComponentNotFound("gone"), 404, "model_not_found"),
        (AccessDenied("no"), 502, "access_denied"),
        (ModelFailed("", status=None, answer="plain text"), 502, "model_error"),
    ],
)
def test_what_will_not_pass_is_answered_at_once(error, status, code):
    with stage(outcomes=[error]) as on:
        response = on.ask()
        assert (response.status, error_of(sent(response))["code"], len(on.told("invoke"))) == (status, code, 1)


def test_a_containers_refusal_is_passed_on_in_its_own_words():
    answer = '{"error": {"message": "max_tokens is too large", "type": "BadRequestError"}}'
    with stage(outcomes=[ModelFailed("", status=400, answer=answer)]) as on:
        response = on.ask()
        assert (response.status, sent(response)) == (400, answer.encode())


# -- cold --------------------------------------------------------------------------------------------------------------------


def test_a_cold_component_is_knocked_at_before_anything_is_waited_for_and_once():
    with stage(ready_after_s=90, outcomes=[Stream(*WORDS, DONE)]) as on:
        response = on.ask()
        assert on.told("knock") == [(0, 1)]
        assert (response.status, response.content_type) == (200, "text/event-stream")
        body = sent(response)
        assert data(body) == data(b"".join(WORDS) + DONE)
        assert on.told("knock") == [(0, 1)]


def test_a_held_request_hears_of_phase_and_time_at_once_and_every_ten_seconds():
    def seen(at_s: float) -> Waking:
        if at_s < 35:
            return Waking(State.WAKING, Phase.INSTANCES, 90 - at_s)
        return Waking(State.WAKING, Phase.COPIES, None)

    with stage(ready_after_s=60, outcomes=[Stream(DONE)], waking=seen) as on:
        said = comments(sent(on.ask()))
        assert said == [
            "waking component=chat phase=instances eta=90s waited=0s",
            "waking component=chat phase=instances eta=80s waited=10s",
            "waking component=chat phase=instances eta=70s waited=20s",
            "waking component=chat phase=instances eta=60s waited=30s",
            "waking component=chat phase=copies eta=unknown waited=40s",
            "waking component=chat phase=copies eta=unknown waited=50s",
        ]


def test_one_waiting_request_is_one_failed_invocation_however_long_it_waits():
    with stage(ready_after_s=300, outcomes=[Stream(DONE)]) as on:
        sent(on.ask())
        assert [at_s for at_s, _ in on.told("invoke")] == [0, pytest.approx(300, abs=8)]


def test_a_request_that_is_not_streamed_is_held_too_and_gets_the_models_answer():
    whole = b'{"choices": [{"message": {"content": "hi"}}]}'
    with stage(ready_after_s=120, outcomes=[Stream(whole, content_type="application/json")]) as on:
        response = on.ask(stream=False)
        assert (response.status, response.content_type, sent(response)) == (200, "application/json", whole)
        assert on.since_s >= 120
        assert len(on.told("give place up")) == 1


@pytest.mark.parametrize("streams", [True, False])
def test_no_capacity_for_twelve_minutes_ends_in_a_refusal_when_the_time_is_over(streams):  # F72
    with stage(ready_after_s=720, outcomes=[Stream(DONE)]) as on:
        response = on.ask(stream=streams)
        body = sent(response)
        error = error_of(data(body)[0] if streams else body)
        assert error["code"] == "model_not_ready"
        assert on.since_s == pytest.approx(600, abs=1)
        if streams:
            assert (response.status, data(body)[-1]) == (200, "[DONE]")
            assert len(comments(body)) == 60
        else:
            assert (response.status, dict(response.headers)["retry-after"]) == (503, "120")
        assert len(on.told("invoke")) == 1
        assert len(on.told("give place up")) == 1


@pytest.mark.parametrize("streams", [True, False])
def test_more_than_may_be_held_are_turned_away_with_a_time_to_come_back_but_still_knock(streams):  # F78
    with stage(ready_after_s=100, held_ahead=3) as on:
        response = on.ask(stream=streams)
        assert response.status == 503
        assert dict(response.headers)["retry-after"] == "100"
        assert "3 requests already wait" in error_of(sent(response))["message"]
        assert on.told("knock") == [(0, 4)]
        assert len(on.told("give place up")) == 1
        assert on.since_s == 0


def test_the_last_that_may_be_held_is_held():
    with stage(ready_after_s=30, held_ahead=2, outcomes=[Stream(DONE)]) as on:
        assert sent(on.ask()).endswith(DONE)


@pytest.mark.parametrize(
    ("patience", "headers", "held_s"),
    [
        (PATIENCE, {"x-quickstep-hold-seconds": "45"}, 45),
        (PATIENCE, {"x-quickstep-hold-seconds": "9999"}, 600),
        (PATIENCE, {"x-quickstep-hold-seconds": "0"}, 0),
        (Patience(0.0, 10.0, 3), {}, 0),
    ],
)  # fmt: skip
def test_a_client_may_be_less_patient_than_the_gateway_but_not_more(patience, headers, held_s):
    with stage(ready_after_s=5000, outcomes=[Stream(DONE)]) as on:
        response = on.front(patience).respond_to(completion(stream=False, headers=headers))
        assert response.status == 503
        assert on.since_s == pytest.approx(held_s, abs=1)
        assert len(on.told("knock")) >= 1


def test_a_knock_that_shows_no_effect_is_repeated():
    with stage(ready_after_s=60, waking=lambda _: Waking(State.COLD, eta_s=90.0), outcomes=[Stream(DONE)]) as on:
        said = comments(sent(on.ask()))
        assert said[0] == "waking component=chat phase=decision eta=90s waited=0s"
        assert [at_s for at_s, _ in on.told("knock")] == [
            0,
            pytest.approx(16, abs=9),
            pytest.approx(32, abs=18),
            pytest.approx(48, abs=27),
        ]


def test_a_knock_or_a_look_that_fails_does_not_lose_the_request():
    with stage(ready_after_s=40, knock_fails=Throttled("429"), outcomes=[Stream(DONE)]) as on:
        assert sent(on.ask()).endswith(DONE)
    with stage(ready_after_s=40, look_fails=Throttled("429"), outcomes=[Stream(DONE)]) as on:
        response = on.ask(patience=Patience(30.0, 10.0, 3))
        assert "no copy serves after 30 s" in error_of(data(sent(response))[0])["message"]


def test_a_component_that_lost_its_copies_again_is_waited_for_further():
    with stage(ready_after_s=20, outcomes=[NoCapacity("again"), Throttled("429"), Stream(*WORDS)]) as on:
        assert data(sent(on.ask())) == data(b"".join(WORDS))


@pytest.mark.parametrize("streams", [True, False])
def test_a_component_that_cannot_serve_any_more_is_not_waited_for(streams):
    failed = Waking(State.FAILED, reason="the inference component does not exist")
    with stage(ready_after_s=500, waking=lambda _: failed) as on:
        response = on.ask(stream=streams)
        body = sent(response)
        error = error_of(data(body)[0] if streams else body)
        assert (error["code"], on.since_s) == ("model_failed", 0)
        assert "does not exist" in error["message"]


def test_a_wake_that_is_refused_for_now_is_waited_for_and_says_why():
    refused = Waking(State.FAILED, Phase.RETRY, reason="QuotaExceeded")
    with stage(ready_after_s=25, waking=lambda _: refused, outcomes=[Stream(DONE)]) as on:
        body = sent(on.ask())
        assert comments(body)[0] == "failed component=chat phase=retry eta=unknown waited=0s reason=QuotaExceeded"
        assert body.endswith(DONE)


def test_json_lines_after_comments_become_events():  # F77
    lines = b'{"token": {"text": "a"}}\n{"token": {"text": "b"}}\n'
    stream = Stream(lines[:7], lines[7:], content_type="application/jsonlines")
    with stage(ready_after_s=20, outcomes=[stream]) as on:
        assert data(sent(on.ask())) == ['{"token": {"text": "a"}}', '{"token": {"text": "b"}}', "[DONE]"]


def test_a_document_after_comments_becomes_one_event():
    stream = Stream(b'{"choices":\n', b"[]}", content_type="application/json")
    with stage(ready_after_s=20, outcomes=[stream]) as on:
        assert data(sent(on.ask())) == ['{"choices": []}', "[DONE]"]


def test_a_refusal_after_the_wake_ends_a_held_stream_with_an_error_event():
    with stage(ready_after_s=20, outcomes=[ModelFailed("", status=400, answer='{"error": {"message": "bad"}}')]) as on:
        body = sent(on.ask())
        assert error_of(data(body)[0])["code"] == "model_error"
        assert data(body)[-1] == "[DONE]"


@pytest.mark.parametrize("read", [0, 1, 3])
def test_a_client_that_leaves_while_it_is_held_gives_its_place_up(read):  # F74
    with stage(ready_after_s=300, outcomes=[Stream(DONE)]) as on:
        response = on.ask()
        parts = iter(response)
        for _ in range(read):
            next(parts)
        response.end()
        assert len(on.told("give place up")) == 1


def test_a_held_request_gives_its_place_up_when_its_answer_begins_and_hangs_up_when_the_client_leaves():  # F74
    stream = Stream(*WORDS)
    with stage(ready_after_s=20, outcomes=[stream]) as on:
        response = on.ask()
        parts = iter(response)
        while not next(parts).startswith(b"data: "):
            assert on.told("give place up") == []
        assert len(on.told("give place up")) == 1
        assert not stream.hung_up
        response.end()
        assert stream.hung_up
        assert stream.taken == 1


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
def test_parts_are_cut_after_the_last_end_of_an_event_and_at_no_other_place(end):
    def cut(*parts: bytes) -> list[bytes]:
        return list(whole(parts, b"\n\n"))

    assert cut(end, b"data: 1" + end) == [end, b"data: 1" + end]
    assert cut(b"data: 1" + end[:1], end[1:] + b"da", b"ta: 2" + end) == [b"data: 1" + end, b"data: 2" + end]
    assert cut(b"data: 1" + end + b"data: 2" + end + b"rest") == [b"data: 1" + end + b"data: 2" + end, b"rest"]
    long = b"x" * (MAX_HELD_BACK_BYTES + 1)
    assert cut(long, b"y") == [long, b"y"]


# -- what is refused before anything is asked ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("POST", "/v1/chat/completions", b"{", 400, "invalid_json"),
        ("POST", "/v1/chat/completions", b'{"model": "chat"} x', 400, "invalid_json"),
        ("POST", "/v1/chat/completions", b'["model"]', 400, "invalid_json"),
        ("POST", "/v1/chat/completions", b'{"model": "chat\xff"}', 400, "invalid_json"),
        ("POST", "/v1/chat/completions", b"[" * 100_000, 400, "invalid_json"),
        ("POST", "/v1/chat/completions", b'{"a":' * 100_000, 400, "invalid_json"),
        ("POST", "/v1/chat/completions", b'{"messages": []}', 400, "model_missing"),
        ("POST", "/v1/completions", b'{"model": 7}', 400, "model_missing"),
        ("POST", "/v1/completions", b'{"model": "unknown"}', 404, "model_not_found"),
        ("POST", "/v1/completions", b" " * (MAX_BODY_BYTES + 1), 413, "request_too_large"),
        ("GET", "/v1/chat/completions", b"", 405, "method_not_allowed"),
        ("POST", "/v1/models", b"", 405, "method_not_allowed"),
        ("GET", "/v1/models/unknown", b"", 404, "model_not_found"),
        ("GET", "/", b"", 404, "unknown_path"),
        ("POST", "/v1/embeddings", b"{}", 404, "unknown_path"),
    ],
)
def test_an_unusable_request_gets_one_clear_answer_and_reaches_no_model(method, path, body, status, code):
    with stage(outcomes=[Stream(DONE)]) as on:
        response = on.front().respond_to(Request(method, path, {}, body, "request-1"))
        assert (response.status, error_of(sent(response))["code"]) == (status, code)
        assert on.told("invoke") == []


def test_a_patience_that_is_no_number_is_refused():
    with stage(outcomes=[Stream(DONE)]) as on:
        response = on.front().respond_to(completion(headers={"x-quickstep-hold-seconds": "soon"}))
        assert (response.status, error_of(sent(response))["code"]) == (400, "invalid_header")


# -- models ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (Waking(State.COLD, eta_s=90.04), ("cold", None, 90.0, None)),
        (Waking(State.WAKING, Phase.INSTANCES, 200.0), ("waking", "instances", 200.0, None)),
        (Waking(State.FAILED, Phase.RETRY, reason="QuotaExceeded"), ("failed", "retry", None, "QuotaExceeded")),
        (None, ("ready", None, None, None)),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else "",
)
def test_models_are_listed_with_their_state(seen, said):
    with stage(ready_after_s=0 if seen is None else 100, waking=None if seen is None else lambda _: seen) as on:
        front = on.front()
        listed = json.loads(sent(front.respond_to(Request("GET", "/v1/models"))))
        alone = json.loads(sent(front.respond_to(Request("GET", "/v1/models/chat"))))
        assert (listed["object"], listed["data"]) == ("list", [alone])
        assert (alone["id"], alone["object"], alone["owned_by"]) == ("chat", "model", "llm")
        assert (alone["state"], alone["phase"], alone["eta_s"], alone["reason"]) == said


def test_the_stage_itself_refuses_while_nothing_serves():
    with stage(ready_after_s=10) as on, pytest.raises(type(NO_CAPACITY)):
        Stage.invoke_model(on, None, "llm", remaining_s=1)
