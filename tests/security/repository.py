"""Own assertions about what lies beside the template: locks, code, deployment settings, the document."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.security.editions import ROOT, Edition, text
from tests.security.permissions import project_code
from tests.security.resources import Looked

LOCKS = (
    "layers/core/requirements.lock",
    "requirements-dev.lock",
    "tests/security/requirements/checkov.lock",
    "tests/security/requirements/tools.lock",
    "tests/security/requirements/uv.lock",
)
DOCUMENT = ROOT / "docs" / "security.md"
LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
NEVER_LOGGED = frozenset({"body", "context", "environ", "event", "headers", "params", "payload", "prompt", "request"})
"""Names of what came from outside, which no log line may take whole."""


def the_stack_is_tagged(root: Path = ROOT) -> Looked:
    """SEC-27: every deployment sets stack tags, which CloudFormation puts on all that it makes."""
    settings = tomllib.loads((root / "samconfig.toml").read_text(encoding="utf-8"))
    for name, environment in settings.items():
        deploy = environment.get("deploy", {}).get("parameters") if isinstance(environment, dict) else None
        if deploy is not None:
            there = "application=" in str(deploy.get("tags", ""))
            yield f"samconfig.toml {name}", None if there else "deploys without the stack tag application"


def everything_is_pinned(root: Path = ROOT) -> Looked:
    """SEC-28: each requirement of every lock is one version with hashes, from no particular place."""
    for name in LOCKS:
        path = root / name
        if not path.is_file():
            yield name, "is not there"
            continue
        requirements = _requirements(path.read_text(encoding="utf-8"))
        for requirement in requirements:
            pinned = (
                re.match(r"[A-Za-z0-9._-]+(\[[\w,-]+\])?==[^\s;]+", requirement) and "--hash=sha256:" in requirement
            )
            yield f"{name} {requirement.split()[0]}", None if pinned else "is not one version with a hash"
        if not requirements:
            yield name, "pins nothing"


def a_vpc_is_explained(root: Path = ROOT) -> Looked:
    """SEC-30: the document says why there is no VPC by default, and how to have one."""
    path = root / "docs" / "security.md"
    written = path.read_text(encoding="utf-8") if path.is_file() else ""
    told = "## No VPC by default" in written and "VpcSubnetIds" in written
    yield "docs/security.md", None if told else "does not explain why there is no VPC by default"


def logs_take_nothing_whole(package: Mapping[str, ast.AST] | None = None) -> Looked:
    """SEC-31: no log call in the package or a handler or print takes an event, a body or the like as a whole."""
    for module, code in (project_code().trees if package is None else package).items():
        yield module, "; ".join(_logged_whole(code)) or None


def events_pass_the_gate(edition: Edition) -> Looked:
    """SEC-32: every function that a rule invokes with an event refuses one of another account, region or source."""
    targets = {
        text(target["Arn"]).removeprefix("${").removesuffix(".Arn}")
        for _, rule in edition.of_type("AWS::Events::Rule")
        if "EventPattern" in rule
        for target in rule["Targets"]
    }
    for name in sorted(targets & set(edition.resources)):
        directory = str(edition.source["Resources"][name]["Properties"]["CodeUri"]).rsplit("/", 1)[-1]
        reached = project_code().reached(directory)
        whole = {"quickstep.events:parse_event", "quickstep.events:_Gate.admit", "quickstep.events:_Gate.admit_alarm"}
        missing = sorted(whole - reached)
        yield name, f"takes events without {', '.join(missing)}" if missing else None


def _requirements(lock: str) -> list[str]:
    joined = re.sub(r"\\\n\s*", " ", lock)
    return [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]


def _logged_whole(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        prints = isinstance(node.func, ast.Name) and node.func.id == "print"
        levels = isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS
        if prints or (levels and "logger" in ast.unparse(node.func)):
            given = [*node.args, *(keyword.value for keyword in node.keywords)]
            inner = [one for value in given for one in ast.walk(value)]
            parts = {id(one.value) for one in inner if isinstance(one, ast.Attribute | ast.Subscript)}
            # What kind of thing it is, or how long, says nothing of what stands in it.
            parts |= {id(a) for one in inner if isinstance(one, ast.Call) and _is_measure(one) for a in one.args}
            whole = {
                one.id for one in inner if isinstance(one, ast.Name) and one.id in NEVER_LOGGED and id(one) not in parts
            }
            yield from (f"line {node.lineno} logs {name} as a whole" for name in sorted(whole))
        if any(keyword.arg == "log_event" for keyword in node.keywords):
            yield f"line {node.lineno} has Powertools log the event"


def _is_measure(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id in ("type", "len")
