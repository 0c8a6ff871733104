"""Who waits for a component is counted in the registry's table, by every environment of the gateway alike."""

from __future__ import annotations

import pytest

from quickstep.gateways.held_requests import HeldRequests
from simulator.account import EmulatedAccount
from tests.contract.translated import PARAMETERS, TEMPLATE

NOW_S = 1_800_000_000.0


@pytest.fixture(scope="module")
def account():
    with EmulatedAccount(TEMPLATE, PARAMETERS) as made:
        yield made


@pytest.fixture
def held(account):
    """Two environments of the gateway, which know nothing of each other."""
    table = account.stack["RegistryTable"].name
    yield HeldRequests(table), HeldRequests(table)
    answer = account.call("dynamodb", "Scan", {"TableName": table})
    for item in answer["Items"]:
        if item["pk"]["S"].startswith("HELD#"):
            key = {"pk": item["pk"], "sk": item["sk"]}
            account.call("dynamodb", "DeleteItem", {"TableName": table, "Key": key})


def take(one: HeldRequests, name: str, *, at_s: float, for_s: float = 600.0, component: str = "chat"):
    return one.take_place(component, name, now_s=NOW_S + at_s, until_s=NOW_S + at_s + for_s)


def test_each_sees_who_came_before_whichever_environment_they_came_to(held):
    places = [take(held[number % 2], f"r{number}", at_s=number) for number in range(5)]
    assert [place.ahead for place in places] == [0, 1, 2, 3, 4]


def test_those_who_left_and_those_whose_time_is_over_are_not_counted(held):
    first, _ = take(held[0], "a", at_s=0), take(held[0], "b", at_s=1, for_s=5)
    take(held[1], "c", at_s=2)
    held[0].give_place_up(first)
    assert take(held[1], "d", at_s=5.9).ahead == 2
    assert take(held[1], "e", at_s=6.1).ahead == 2


def test_components_are_counted_apart(held):
    take(held[0], "a", at_s=0)
    assert take(held[1], "b", at_s=1, component="summary").ahead == 0


def test_two_that_come_in_the_same_millisecond_have_an_order(held):
    assert sorted(take(one, name, at_s=0).ahead for one, name in zip(held, "ab", strict=True)) == [0, 1]


def test_an_item_that_nobody_takes_away_is_deleted_by_dynamodb_some_time_later(account, held):
    take(held[0], "a", at_s=0, for_s=100)
    answer = account.call("dynamodb", "Scan", {"TableName": account.stack["RegistryTable"].name})
    (item,) = [item for item in answer["Items"] if item["pk"]["S"] == "HELD#chat"]
    assert int(item["expires_s"]["N"]) == NOW_S + 160
