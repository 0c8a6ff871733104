"""DynamoDB without HTTP in between answers as moto does with it, refusals included."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from simulator.aws.dynamodb import DynamoDbService
from simulator.errors import ServiceError
from simulator.not_emulated import NotEmulated

TABLE = {
    "TableName": "state",
    "BillingMode": "PAY_PER_REQUEST",
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
        {"AttributeName": "due", "AttributeType": "S"},
        {"AttributeName": "at_s", "AttributeType": "N"},
    ],
    "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "due",
            "KeySchema": [{"AttributeName": "due", "KeyType": "HASH"}, {"AttributeName": "at_s", "KeyType": "RANGE"}],
            "Projection": {"ProjectionType": "ALL"},
        }
    ],
}
T = {"TableName": "state"}
KEY = {"pk": {"S": "a"}, "sk": {"S": "1"}}
ONE = {":one": {"N": "1"}}


def item(sk: str, **more: Any) -> dict:
    return {"pk": {"S": "a"}, "sk": {"S": sk}, **more}


SCRIPT: list[tuple[str, dict[str, Any]]] = [
    ("PutItem", {**T, "Item": item("1", n={"N": "1.50"}, b={"B": b"\x00\xff"}, m={"M": {"l": {"L": [{"S": "x"}, {"NULL": True}]}}})}),
    ("PutItem", {**T, "Item": item("1"), "ConditionExpression": "attribute_not_exists(pk)"}),
    ("PutItem", {**T, "Item": item("2", s={"SS": ["x", "y"]}, due={"S": "LOOP"}, at_s={"N": "20"})}),
    ("PutItem", {**T, "Item": item("3", t={"BOOL": True}, due={"S": "LOOP"}, at_s={"N": "10"})}),
    ("GetItem", {**T, "Key": KEY, "ConsistentRead": True}),
    ("GetItem", {**T, "Key": {**KEY, "sk": {"S": "none"}}}),
    ("GetItem", {**T, "Key": KEY, "ProjectionExpression": "#n", "ExpressionAttributeNames": {"#n": "n"}}),
    ("UpdateItem", {**T, "Key": KEY, "UpdateExpression": "ADD n :one", "ExpressionAttributeValues": ONE, "ReturnValues": "ALL_NEW"}),
    ("UpdateItem", {**T, "Key": KEY, "UpdateExpression": "SET q = if_not_exists(q, :one) + :one", "ExpressionAttributeValues": ONE,
                    "ReturnValues": "UPDATED_NEW"}),
    ("UpdateItem", {**T, "Key": KEY, "UpdateExpression": "SET q = :one", "ConditionExpression": "n > :big",
                    "ExpressionAttributeValues": {**ONE, ":big": {"N": "99"}}, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}),
    ("UpdateItem", {**T, "Key": KEY, "UpdateExpression": "SET q = :one", "ConditionExpression": "n > :big",
                    "ExpressionAttributeValues": {**ONE, ":big": {"N": "99"}}}),
    ("UpdateItem", {**T, "Key": KEY, "UpdateExpression": "SET q = :missing"}),
    ("UpdateItem", {**T, "Key": KEY, "UpdateExpression": "SET q q", "ExpressionAttributeValues": ONE}),
    ("UpdateItem", {**T, "Key": KEY, "UpdateExpression": "REMOVE q, m.l[0]", "ReturnValues": "ALL_OLD"}),
    ("Query", {**T, "KeyConditionExpression": "pk = :a", "ExpressionAttributeValues": {":a": {"S": "a"}}}),
    ("Query", {**T, "KeyConditionExpression": "pk = :a AND sk > :s", "Limit": 1, "ScanIndexForward": False,
               "ExpressionAttributeValues": {":a": {"S": "a"}, ":s": {"S": "1"}}}),
    ("Query", {**T, "IndexName": "due", "KeyConditionExpression": "due = :d AND at_s <= :t",
               "ExpressionAttributeValues": {":d": {"S": "LOOP"}, ":t": {"N": "15"}}}),
    ("Scan", {**T, "FilterExpression": "attribute_exists(t)"}),
    ("TransactWriteItems", {"TransactItems": [
        {"Put": {**T, "Item": item("4")}},
        {"ConditionCheck": {**T, "Key": KEY, "ConditionExpression": "attribute_not_exists(pk)"}}]}),
    ("TransactWriteItems", {"TransactItems": [{"Put": {**T, "Item": item("4")}}, {"Delete": {**T, "Key": KEY}}]}),
    ("BatchGetItem", {"RequestItems": {"state": {"Keys": [{"pk": {"S": "a"}, "sk": {"S": "4"}}]}}}),
    ("DeleteItem", {**T, "Key": {"pk": {"S": "a"}, "sk": {"S": "4"}}, "ReturnValues": "ALL_OLD"}),
    ("DeleteItem", {**T, "Key": KEY, "ConditionExpression": "attribute_exists(pk)"}),
    ("GetItem", {"TableName": "other", "Key": KEY}),
    ("GetItem", {**T, "Key": {"pk": {"S": "a"}}}),
    ("DescribeTimeToLive", T),
]  # fmt: skip


def through_http(calls: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="y")
        names = {api: name for name, api in client.meta.method_to_api_mapping.items()}
        found: list[Any] = []
        for operation, params in calls:
            try:
                answer = getattr(client, names[operation])(**params)
            except ClientError as refused:
                answer = refused.response
            answer.pop("ResponseMetadata")
            # Where the service's error text and modelled members are, in botocore's view of the answer.
            answer.pop("message", None)
            answer.pop("Message", None)
            found.append(answer)
        return found


def directly(calls: list[tuple[str, dict[str, Any]]]) -> list[Any]:
    service = DynamoDbService()
    found: list[Any] = []
    for operation, params in calls:
        try:
            found.append(service.call(operation, params))
        except ServiceError as refused:
            found.append({"Error": {"Code": refused.code, "Message": refused.message}, **refused.members})
    return found


def test_every_answer_and_refusal_is_moto_s():
    calls = [("CreateTable", TABLE), *SCRIPT]
    expected, found = through_http(calls), directly(calls)
    for (operation, params), theirs, ours in zip(calls[1:], expected[1:], found[1:], strict=True):
        assert ours == theirs, (operation, params)


def test_queries_of_many_partitions_are_moto_s_page_by_page_in_both_directions():
    rows = [
        {
            "pk": {"S": f"p{number % 7}"},
            "sk": {"S": f"s{number * 37 % 50:02d}"},
            **({"due": {"S": "LOOP" if number % 3 else "OTHER"}, "at_s": {"N": str(number * 13 % 40)}} if number % 4 else {}),
        }
        for number in range(50)
    ]  # fmt: skip
    calls: list[tuple[str, dict[str, Any]]] = [("CreateTable", TABLE)]
    calls += [("PutItem", {**T, "Item": row}) for row in rows]
    for forward in (True, False):
        for start in ({}, {"ExclusiveStartKey": {"pk": {"S": "p2"}, "sk": {"S": "s20"}}}):
            values = {":p": {"S": "p2"}, ":s": {"S": "s05"}}
            condition = "pk = :p AND sk > :s"
            page = {"Limit": 3, "ScanIndexForward": forward, **start}
            calls.append(
                ("Query", {**T, **page, "KeyConditionExpression": condition, "ExpressionAttributeValues": values})
            )
        due = {":d": {"S": "LOOP"}, ":t": {"N": "25"}}
        condition = "due = :d AND at_s <= :t"
        page = {"IndexName": "due", "Limit": 5, "ScanIndexForward": forward}
        calls.append(("Query", {**T, **page, "KeyConditionExpression": condition, "ExpressionAttributeValues": due}))
    nobody = {":p": {"S": "nobody"}}
    calls.append(("Query", {**T, "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": nobody}))
    wrong = {**T, "IndexName": "none", "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": nobody}
    calls.append(("Query", wrong))
    expected, found = through_http(calls), directly(calls)
    assert found[-8:] == expected[-8:]
    assert sum(len(one.get("Items", ())) for one in found[-8:]) > 15


def test_what_is_read_or_written_shares_nothing_with_the_table():
    service = DynamoDbService()
    service.call("CreateTable", TABLE)
    mine = item("1", m={"M": {"l": {"L": [{"S": "x"}]}}})
    service.call("PutItem", {**T, "Item": mine})
    mine["m"]["M"]["l"]["L"].append({"S": "y"})
    answer = service.call("GetItem", {**T, "Key": KEY})["Item"]
    answer["m"]["M"]["l"]["L"].append({"S": "z"})
    assert service.call("GetItem", {**T, "Key": KEY})["Item"]["m"] == {"M": {"l": {"L": [{"S": "x"}]}}}


def test_two_services_have_tables_of_their_own():
    one, other = DynamoDbService(), DynamoDbService()
    one.call("CreateTable", TABLE)
    one.call("PutItem", {**T, "Item": item("1")})
    other.call("CreateTable", TABLE)
    assert other.call("Scan", T)["Items"] == []


def test_a_table_of_the_template_has_its_ttl_and_its_texts_as_numbers():
    service = DynamoDbService()
    service.create_from_template(
        "mine",
        {
            **{key: value for key, value in TABLE.items() if key != "TableName"},
            "TimeToLiveSpecification": {"AttributeName": "expires_s", "Enabled": "true"},
            "SSESpecification": {"SSEEnabled": True},
            "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
            "DeletionProtectionEnabled": "false",
        },
    )
    ttl = service.call("DescribeTimeToLive", {"TableName": "mine"})["TimeToLiveDescription"]
    assert ttl == {"AttributeName": "expires_s", "TimeToLiveStatus": "ENABLED"}


def test_an_operation_that_moto_has_not_is_a_gap_and_not_an_answer():
    with pytest.raises(NotEmulated):
        DynamoDbService().call("RestoreTableFromBackup2", {})
