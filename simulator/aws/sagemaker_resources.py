"""Models and tags: the small resources beside endpoints and components."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from simulator.aws import sagemaker_texts as texts
from simulator.aws.sagemaker_answers import timestamp
from simulator.aws.sagemaker_lists import page
from simulator.aws.sagemaker_world import World

TAGS_PER_PAGE = 50


class ModelAndTagRequests:
    """CreateModel, DescribeModel, DeleteModel, AddTags, ListTags, DeleteTags."""

    def __init__(self, world: World) -> None:
        self._world = world

    def create_model(self, params: dict[str, Any]) -> dict[str, Any]:
        name = params["ModelName"]
        arn = self._world.arn("model", name)
        if name in self._world.models:
            raise texts.already_exists("model", arn)
        model = deepcopy({key: value for key, value in params.items() if key != "Tags"})
        model["ModelArn"] = arn
        model["CreationTime"] = timestamp(self._world.now_s)
        model.setdefault("EnableNetworkIsolation", False)
        self._world.models[name] = model
        self.tag(arn, params.get("Tags", []))
        return {"ModelArn": arn}

    def describe_model(self, params: dict[str, Any]) -> dict[str, Any]:
        return deepcopy(self._model(params["ModelName"]))

    def delete_model(self, params: dict[str, Any]) -> dict[str, Any]:
        del self._world.models[self._model(params["ModelName"])["ModelName"]]
        return {}

    def add_tags(self, params: dict[str, Any]) -> dict[str, Any]:
        arn = self._existing(params["ResourceArn"])
        self.tag(arn, params["Tags"])
        return {"Tags": self._tags(arn)}

    def list_tags(self, params: dict[str, Any]) -> dict[str, Any]:
        return page(params, self._tags(self._existing(params["ResourceArn"])), "Tags", size=TAGS_PER_PAGE)

    def delete_tags(self, params: dict[str, Any]) -> dict[str, Any]:
        arn = self._existing(params["ResourceArn"])
        for key in params["TagKeys"]:
            self._world.tags.get(arn, {}).pop(key, None)
        return {}

    def tag(self, arn: str, tags: list[dict[str, str]]) -> None:
        """Set tags of a resource."""
        if tags:
            self._world.tags.setdefault(arn, {}).update({tag["Key"]: tag["Value"] for tag in tags})

    def _tags(self, arn: str) -> list[dict[str, str]]:
        return [{"Key": key, "Value": value} for key, value in sorted(self._world.tags.get(arn, {}).items())]

    def _model(self, name: str) -> dict[str, Any]:
        if name not in self._world.models:
            raise texts.could_not_find("model", self._world.arn("model", name))
        return self._world.models[name]

    def _existing(self, arn: str) -> str:
        world = self._world
        known = [endpoint.arn for endpoint in world.endpoints.values()]
        known += [component.arn for component in world.components.values()]
        known += [config["EndpointConfigArn"] for config in world.configs.values()]
        known += [model["ModelArn"] for model in world.models.values()]
        if arn not in known:
            kind = arn.split(":")[-1].split("/")[0].replace("-", " ").replace("config", "configuration")
            raise texts.could_not_find(kind, arn)
        return arn
