"""Which AWS operations a Lambda's code can reach: a static call graph over the quickstep package.

It errs on the safe side: any mention of a function counts as a call, and a method that is called on something whose
class is not known counts for every class that has a method of that name. Two things are narrower, because the code
decides them at run time, and `test_iam` checks each in the source: a look writes only what its caller permits (the words
it passes as `permit`), and copies are written for some words, instances for others.
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path

from botocore import xform_name
from botocore.loaders import Loader
from botocore.model import ServiceModel

from quickstep.model.loop import NextWord
from quickstep.usecases import look

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "layers" / "core"
FUNCTIONS = ROOT / "functions"
COPIES = frozenset({NextWord.PLACE_COPIES, NextWord.REMOVE_COPIES})
INSTANCES = frozenset({NextWord.ADD_INSTANCES, NextWord.REMOVE_INSTANCES})
WRITERS = {
    "quickstep.usecases.act:Actor.carry_out": COPIES | INSTANCES,
    "quickstep.usecases.announce:tag_changes": COPIES | INSTANCES,
    "quickstep.usecases.act:Actor._ask_copies": COPIES,
    "quickstep.usecases.act:Actor._ask_instances": INSTANCES,
}
"""What runs only if the caller of the look permits one of these words."""

THE_WORD = "frozenset({word})"
"""How a use case permits the one word that its handler gives it."""

PERMITS = {"FAST_PATH": look.FAST_PATH, "NOTHING": look.NOTHING}
IAM_PREFIXES = {
    "application-autoscaling": "application-autoscaling",
    "cloudformation": "cloudformation",
    "cloudwatch": "cloudwatch",
    "dynamodb": "dynamodb",
    "events": "events",
    "lambda": "lambda",
    "sagemaker": "sagemaker",
    "sagemaker-runtime": "sagemaker",
    "scheduler": "scheduler",
    "sqs": "sqs",
    "stepfunctions": "states",
}
"""Prefix of an IAM action for botocore's name of the service (service authorization reference)."""


def sources() -> dict[str, str]:
    """Every module of the package, as it is on disk: dotted name -> source."""
    found = {}
    for path in sorted((PACKAGE / "quickstep").glob("**/*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def handlers() -> dict[str, str]:
    """The source of every function's `app.py`, by the function's directory."""
    return {path.parent.name: path.read_text(encoding="utf-8") for path in sorted(FUNCTIONS.glob("*/app.py"))}


def iam_action(service: str, method: str) -> str:
    """`sagemaker`, `add_tags` -> `sagemaker:AddTags`, by botocore's own model. Raises KeyError for what is no operation."""
    return f"{IAM_PREFIXES[service]}:{_operation_names(service)[method]}"


@cache
def _operation_names(service: str) -> dict[str, str]:
    loader = Loader(include_default_search_paths=True)
    return {
        xform_name(name): name for name in ServiceModel(loader.load_service_model(service, "service-2")).operation_names
    }


class Code:
    """The parsed package together with every handler; a handler is known by its function's directory."""

    def __init__(self, package: Mapping[str, str], functions: Mapping[str, str]) -> None:
        modules = {**package, **{f"functions.{name}": text for name, text in functions.items()}}
        self.trees = {name: ast.parse(text) for name, text in modules.items()}
        self.definitions: dict[str, ast.AST] = {}
        """`module:name` or `module:Class.method` -> its definition (of a variable: its value)."""
        for module, tree in self.trees.items():
            self.definitions |= _definitions(module, tree)
        self._methods: dict[str, list[str]] = {}
        for name in self.definitions:
            if "." in name.split(":")[1]:
                self._methods.setdefault(name.rsplit(".", 1)[1], []).append(name)
        self._imports = {module: _imports(tree, self.trees) for module, tree in self.trees.items()}
        self._mentions: dict[str, frozenset[str]] = {}
        self._calls: dict[str, frozenset[str]] = {}
        self._permits: dict[str, frozenset[str]] = {}

    def actions(self, function: str) -> frozenset[str]:
        """IAM actions of every AWS operation that the function's handler can reach."""
        permitted = self.permitted(function)
        cut = {name for name, words in WRITERS.items() if not words & permitted}
        return frozenset(action for name in self.reached(function, cut) for action in self._actions_of(name))

    def permitted(self, function: str) -> frozenset[NextWord]:
        """Words whose writes the function permits, from what its handler and the use cases pass as `permit`."""
        own = {
            NextWord[node.attr]
            for node in ast.walk(self.trees[f"functions.{function}"])
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "NextWord"
        }
        words: set[NextWord] = set()
        for name in self.reached(function):
            for text in self._permits_of(name):
                assert text == THE_WORD or text in PERMITS, f"{name} permits {text}, which this test cannot read"
                words |= own if text == THE_WORD else PERMITS[text]
        return frozenset(words)

    def reached(self, function: str, cut: Collection[str] = ()) -> set[str]:
        """Every definition that the function's handler can reach without entering one of `cut`."""
        reached: set[str] = set()
        waiting = [f"functions.{function}:handler"]
        while waiting:
            name = waiting.pop()
            if name not in reached and name not in cut:
                reached.add(name)
                waiting.extend(self._mentioned(name))
        return reached

    def _permits_of(self, name: str) -> frozenset[str]:
        if name not in self._permits:
            self._permits[name] = frozenset(_permits(self.definitions[name], name))
        return self._permits[name]

    def _actions_of(self, name: str) -> frozenset[str]:
        if name not in self._calls:
            body = self.definitions[name]
            # A class is its methods, which are definitions of their own.
            found = set() if isinstance(body, ast.ClassDef) else operations(body)
            self._calls[name] = frozenset(iam_action(*one) for one in found)
        return self._calls[name]

    def _mentioned(self, name: str) -> frozenset[str]:
        if name not in self._mentions:
            self._mentions[name] = frozenset(self._mentions_of(name))
        return self._mentions[name]

    def _mentions_of(self, name: str) -> Iterator[str]:
        module, _, local = name.partition(":")
        definition = self.definitions[name]
        if isinstance(definition, ast.ClassDef):
            yield from (f"{name}.{one}" for one in ("__init__", "__post_init__") if f"{name}.{one}" in self.definitions)
            return
        owner = local.rsplit(".", 1)[0] if "." in local else None
        for node in ast.walk(definition):
            if isinstance(node, ast.Name):
                found = self._imports[module].get(node.id, f"{module}:{node.id}")
                if found in self.definitions:
                    yield found
            elif isinstance(node, ast.Attribute):
                yield from self._attribute(module, owner, node)

    def _attribute(self, module: str, owner: str | None, node: ast.Attribute) -> Iterator[str]:
        on = node.value.id if isinstance(node.value, ast.Name) else ""
        known = self._imports[module].get(on)
        if known in self.trees:
            if f"{known}:{node.attr}" in self.definitions:
                yield f"{known}:{node.attr}"
        elif on in ("self", "cls") and f"{module}:{owner}.{node.attr}" in self.definitions:
            yield f"{module}:{owner}.{node.attr}"
        else:
            yield from self._methods.get(node.attr, ())


def operations(definition: ast.AST) -> set[tuple[str, str]]:
    """(service, method) of every AWS call in one definition. Raises AssertionError for a client whose use is not understood.

    Understood are `client("x").method(...)`, a variable that holds such a client, and the registry's one call by name.
    """
    calls = [node for node in ast.walk(definition) if isinstance(node, ast.Call)]
    clients = {id(node): node for node in calls if _service(node)}
    found, understood = set(), set()
    for node in ast.walk(definition):
        if isinstance(node, ast.Assign) and id(node.value) in clients:
            service, names = _service(node.value), {t.id for t in node.targets if isinstance(t, ast.Name)}
            understood.add(id(node.value))
            found |= {(service, c.func.attr) for c in calls if _is_method_of(c, names)}
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and id(node.func.value) in clients:
            understood.add(id(node.func.value))
            found.add((_service(node.func.value), node.func.attr))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and id(node.args[0]) in clients:
            assert ast.unparse(node) == "getattr(aws.client('dynamodb'), operation)", ast.unparse(node)
            understood.add(id(node.args[0]))
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "self._call":
            assert isinstance(node.args[0], ast.Constant), f"the operation must be written out: {ast.unparse(node)}"
            found.add(("dynamodb", node.args[0].value))
    assert set(clients) == understood, [ast.unparse(c) for i, c in clients.items() if i not in understood]
    return found


def _service(node: ast.AST) -> str | None:
    """The service of `client("x")`, `write_client("x")`, `stream_client("x", …)` and `aws.client("x")`; None for any other."""
    makers = ("client", "write_client", "stream_client")
    if not isinstance(node, ast.Call) or ast.unparse(node.func).removeprefix("aws.") not in makers:
        return None
    assert isinstance(node.args[0], ast.Constant), f"the service must be written out: {ast.unparse(node)}"
    return node.args[0].value


def _is_method_of(node: ast.Call, names: set[str]) -> bool:
    return (
        isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name) and node.func.value.id in names
    )


def _permits(definition: ast.AST, where: str) -> Iterator[str]:
    """Expressions that a definition passes as `permit`, but for one that only passes on its own."""
    for node in ast.walk(definition):
        if not isinstance(node, ast.Call):
            continue
        given = [keyword.value for keyword in node.keywords if keyword.arg == "permit"]
        if where.startswith("quickstep.usecases.loop:") and isinstance(node.func, ast.Name) and node.func.id == "_look":
            given.append(node.args[2])
        yield from (text for text in map(ast.unparse, given) if text != "permit")


def _definitions(module: str, tree: ast.Module) -> dict[str, ast.AST]:
    found: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found[f"{module}:{node.name}"] = node
        elif isinstance(node, ast.ClassDef):
            found[f"{module}:{node.name}"] = node
            found |= {f"{module}:{node.name}.{m.name}": m for m in node.body if isinstance(m, ast.FunctionDef)}
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {f"{module}:{t.id}": node.value for t in targets if isinstance(t, ast.Name)}
    return found


def _imports(tree: ast.Module, trees: Mapping[str, ast.Module]) -> dict[str, str]:
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found[alias.asname or alias.name] = whole if whole in trees else f"{node.module}:{alias.name}"
        elif isinstance(node, ast.Import):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname}
    return found
