"""Cut the SDK's descriptions of AWS services down to what the package calls; run while the layer is built.

SageMaker's alone describes 425 operations; reading it takes a good part of a cold start and of a function's memory. What
is kept: the operations of operations.json, every shape that they reach, and the facts about the service. Texts for
people go. A service that the file does not name stays whole. Standard library only: any Python can run it.

    python3 trim_models.py DATA_FOLDER operations.json
"""

import gzip
import json
import sys
from pathlib import Path

ENDPOINT_NAMES = {"monitoring", "states", "api.sagemaker", "runtime.sagemaker", "sts", "lambda"}
"""What the list calls services whose folder has another name, and those that credentials or signing may ask for."""


def main(data: Path, wanted: Path) -> None:
    """Trim every service that `wanted` names, in place. Exits with 1 for an operation that the SDK does not know."""
    for service, operations in json.loads(wanted.read_text(encoding="utf-8")).items():
        for packed in sorted((data / service).glob("*/service-2.json.gz")):
            model = json.loads(gzip.decompress(packed.read_bytes()))
            unknown = sorted(set(operations) - set(model["operations"]))
            if unknown:
                sys.exit(f"trim_models: {service} has no operation {unknown[0]}; correct {wanted.name}")
            text = json.dumps(trimmed(model, operations), separators=(",", ":"), sort_keys=True)
            # Not packed: unpacking would be work at every cold start. The layer is zipped anyway.
            packed.with_suffix("").write_text(text, encoding="utf-8")
            packed.unlink()
        # Nothing waits for a state or looks at an example.
        for unused in (*(data / service).glob("*/waiters-*"), *(data / service).glob("*/examples-*")):
            unused.unlink()
    listed = data / "endpoints.json"
    services = {folder.name for folder in data.iterdir() if folder.is_dir()} | ENDPOINT_NAMES
    endpoints = known_endpoints(json.loads(listed.read_text(encoding="utf-8")), services)
    listed.write_text(json.dumps(endpoints, separators=(",", ":")), encoding="utf-8")


def known_endpoints(endpoints: dict, services: set) -> dict:
    """The SDK's list of endpoints (1.2 MB, read for the first client) without services that are not in the layer."""
    partitions = [
        {**one, "services": {name: body for name, body in one["services"].items() if name in services}}
        for one in endpoints["partitions"]
    ]
    return {**endpoints, "partitions": partitions}


def trimmed(model: dict, operations: list) -> dict:
    """The service's description with these operations and what they reach, without texts."""
    kept = {name: _untold(model["operations"][name]) for name in operations}
    waiting = [body[key]["shape"] for body in kept.values() for key in ("input", "output") if key in body]
    waiting += [error["shape"] for body in kept.values() for error in body.get("errors", [])]
    # Errors that an operation does not list are still raised by their class.
    waiting += [name for name, shape in model["shapes"].items() if shape.get("exception")]
    reached: dict = {}
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached[name] = _untold(model["shapes"][name])
            waiting.extend(_shapes_in(model["shapes"][name]))
    facts = {key: value for key, value in model.items() if key not in ("operations", "shapes", "documentation")}
    return {**facts, "operations": kept, "shapes": reached}


def _shapes_in(shape: dict) -> list:
    parts = [*shape.get("members", {}).values(), *(shape[key] for key in ("member", "key", "value") if key in shape)]
    return [part["shape"] for part in parts if isinstance(part, dict) and "shape" in part]


def _untold(value: object) -> object:
    """Without `documentation` texts; a member of that name, which is a shape, stays."""
    if isinstance(value, dict):
        return {k: _untold(v) for k, v in value.items() if not (k == "documentation" and isinstance(v, str))}
    return [_untold(one) for one in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
