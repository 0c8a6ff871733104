"""Tools that none of us wrote, each in its own environment, asked about both editions of the template and about the code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.security.authorization import ACTIONS, ARNS
from tests.security.controls import CONTROLS, control_of
from tests.security.editions import ROOT, Edition, cloudformation, text
from tests.security.findings import Finding
from tests.security.narrowest import MADE_BY

ENVIRONMENT = ROOT / ".venv-security"
CODE = ("layers/core/quickstep", "functions")
LAYER_LOCK = "layers/core/requirements.lock"
BILL_OF_MATERIALS = Path("out/sbom.cdx.json")


class ToolBroken(RuntimeError):
    """A tool did not answer as it should; the message has its last lines."""


@dataclass
class Report:
    """What one tool has said. `looked` counts by rule what it looked at; `not_run` says why it did not run, else None."""

    tool: str
    version: str = ""
    looked: Counter[str] = field(default_factory=Counter)
    findings: list[Finding] = field(default_factory=list)
    not_run: str | None = None

    def add(self, rule: str, resource: str, message: str, edition: str = "") -> None:
        self.findings.append(Finding(control_of(self.tool, rule), self.tool, rule, resource, message, edition))


def installed() -> bool:
    """True if `make security` has made the tools' environments."""
    return all((ENVIRONMENT / name / "bin" / "python").exists() for name in ("tools", "checkov"))


def run_tools(editions: Sequence[Edition], template: Path) -> dict[str, Report]:
    """Every tool's report, by its name, and that of the tests. Two are asked at a time. Raises ToolBroken."""
    with tempfile.TemporaryDirectory() as folder:
        for edition in editions:
            (Path(folder) / f"{edition.name}.json").write_text(json.dumps(edition.template, indent=1), encoding="utf-8")
        plain = Path(folder) / "plain" / "template.json"
        plain.parent.mkdir()
        plain.write_text(json.dumps(cloudformation(template), indent=1), encoding="utf-8")
        asked = (
            lambda: [_cfn_lint(plain)],
            lambda: [_checkov(Path(folder), editions)],
            lambda: _inside_tools(editions),
            lambda: [_bandit()],
            lambda: [_cyclonedx()],
            lambda: [run_tests()],
        )
        versions = _versions()
        with ThreadPoolExecutor(max_workers=2) as together:
            reports = [report for one in together.map(lambda ask: ask(), asked) for report in one]
    for report in reports:
        report.version = versions.get(report.tool, "")
    return {report.tool: report for report in reports}


def run_tests() -> Report:
    """The tests that controls name, as `pytest` runs them: a test that fails or is not there is a finding."""
    report = Report("pytest")
    wanted = {node: control.id for control in CONTROLS for node in control.tests}
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={results}", *wanted]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        # 1 = a test failed; anything else but 0 means that pytest could not run them all.
        if done.returncode not in (0, 1) or not results.is_file():
            raise ToolBroken(f"pytest: {_tail(done)}")
        cases = list(ElementTree.parse(results).iter("testcase"))
    for node, control in wanted.items():
        name = node.rsplit("::", 1)[1]
        its = [case for case in cases if str(case.get("name")).split("[")[0] == name]
        failed = [case for case in its if any(case.find(kind) is not None for kind in ("failure", "error", "skipped"))]
        report.looked[node] = len(its)
        if not its:
            report.findings.append(Finding(control, "pytest", node, node, "there is no such test"))
        for case in failed:
            report.findings.append(Finding(control, "pytest", node, str(case.get("name")), "does not pass"))
    return report


# -- one tool each -------------------------------------------------------------------------------------------------------------


def _cfn_lint(plain: Path) -> Report:
    """cfn-lint with its serverless rules, information included; it decides conditions itself, so it gets the whole."""
    report = Report("cfn-lint")
    rules = ("-a", "cfn_lint_serverless.rules", "--include-checks", "I", "--regions", "us-east-1")
    done = _tool("cfn-lint", *rules, "--format", "json", "--", str(plain), accepted=range(16))
    for one in json.loads(done.stdout or "[]"):
        path = one["Location"].get("Path") or []
        where = str(path[1]) if len(path) > 1 else _named(one["Message"])
        report.add(one["Rule"]["Id"], where, one["Message"])
    listed = _tool("cfn-lint", *rules[:2], "--list-rules", accepted=(0,)).stdout
    known = set(re.findall(r"^([EWI]S?\d{4}):", listed, re.MULTILINE))
    for rule in _rules_of("cfn-lint"):
        report.looked[rule] = int(rule in known)
        if rule not in known:
            report.add(rule, "cfn-lint", "has no such rule (any more)")
    return report


def _named(message: str) -> str:
    """The serverless rules tell the resource in words only."""
    found = re.search(r"\b([A-Z]\w+(?:Function|Queue|Topic|Loop|Rule))\b", message)
    return found.group(1) if found else "template"


def _checkov(folder: Path, editions: Sequence[Edition]) -> Report:
    report = Report("checkov")
    given = [part for one in editions for part in ("-f", str(folder / f"{one.name}.json"))]
    options = ("--framework", "cloudformation", "--skip-download", "--compact", "-o", "json")
    done = _tool("checkov", *given, *options, environment="checkov", accepted=(0, 1))
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        raise ToolBroken(f"checkov: {_tail(done)}") from None
    results = (answer[0] if isinstance(answer, list) else answer)["results"]
    if results["parsing_errors"]:
        raise ToolBroken(f"checkov cannot read {results['parsing_errors']}")
    for one in results["passed_checks"] + results["failed_checks"]:
        report.looked[one["check_id"]] += 1
    for one in results["failed_checks"]:
        edition = Path(one["file_path"]).stem
        report.add(one["check_id"], one["resource"].rsplit(".", 1)[-1], one["check_name"], edition)
    return report


def _inside_tools(editions: Sequence[Edition]) -> list[Report]:
    """parliament, cfn-guard and policy_sentry, by the script that runs in their environment."""
    policies = {
        f"{edition.name}/{name}": document
        for edition in editions
        for name, document in policy_documents(edition).items()
    }
    given = {
        "policies": policies,
        "editions": {one.name: one.template for one in editions},
        "guard": (Path(__file__).parent / "rules.guard").read_text(encoding="utf-8"),
        "actions": {name: [list(one.types), one.access] for name, one in ACTIONS.items()},
        "arns": ARNS,
    }
    script = str(Path(__file__).parent / "inside_tools.py")
    done = _tool("python", script, accepted=(0,), given=json.dumps(given))
    answer = json.loads(done.stdout)
    parliament, guard, sentry = Report("parliament"), Report("cfn-guard"), Report("policy_sentry")
    parliament.looked.update(dict.fromkeys(_rules_of("parliament"), answer["parliament"]["looked"]))
    for rule, where, message in answer["parliament"]["findings"]:
        edition, _, name = where.partition("/")
        parliament.add(rule, name, message, edition)
    if answer["cfn-guard"] is None:
        guard.not_run = "its bindings exist for CPython 3.11 on Linux and macOS only; our own assertions decide"
    for edition, one in (answer["cfn-guard"] or {}).items():
        guard.looked.update(one["compliant"])
        for rule, where, message in one["findings"]:
            guard.looked[rule] += 1
            guard.add(rule, where, message, edition)
    sentry.looked.update({"unknown action": len(ACTIONS), "access level": len(ACTIONS)})
    sentry.looked.update({"resource type": len(ACTIONS), "ARN": len(ARNS)})
    for rule, where, message in answer["policy_sentry"]["findings"]:
        sentry.add(rule, where, message)
    return [parliament, guard, sentry]


def _bandit() -> Report:
    report = Report("bandit")
    done = _tool("bandit", "--quiet", "--recursive", "--format", "json", *CODE, accepted=(0, 1))
    answer = json.loads(done.stdout)
    if answer["errors"]:
        raise ToolBroken(f"bandit cannot read {answer['errors']}")
    report.looked["every rule"] = sum(1 for name in answer["metrics"] if name != "_totals")
    for one in answer["results"]:
        report.add(one["test_id"], os.path.relpath(ROOT / one["filename"], ROOT), one["issue_text"])
    return report


def _cyclonedx() -> Report:
    """The layer's bill of materials, in the CycloneDX format, compared with its lock."""
    report = Report("cyclonedx")
    path = ROOT / BILL_OF_MATERIALS
    path.parent.mkdir(exist_ok=True)
    _tool(
        "cyclonedx-py", "requirements", LAYER_LOCK, "--output-file", str(path), "--output-reproducible", accepted=(0,)
    )
    components = {one["name"].lower(): one for one in json.loads(path.read_text(encoding="utf-8"))["components"]}
    lock = (ROOT / LAYER_LOCK).read_text(encoding="utf-8")
    locked = dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[\w,-]+\])?==([^\s;]+)", lock, re.MULTILINE))
    report.looked["bill of materials"] = len(components)
    for name, version in locked.items():
        one = components.get(name.lower(), {})
        if one.get("version") != version:
            report.add("bill of materials", name, f"is {version} in the lock and {one.get('version')} in the bill")
        elif not any(reference.get("hashes") for reference in one.get("externalReferences", ())):
            report.add("bill of materials", name, "has no hash in the bill")
    for name in sorted(set(components) - {name.lower() for name in locked}):
        report.add("bill of materials", name, "is in the bill and not in the lock")
    return report


# -- how they are run ----------------------------------------------------------------------------------------------------------


def policy_documents(edition: Edition) -> dict[str, Any]:
    """Every policy of the edition with names in place of references, as IAM would get it."""
    found = {name: one["PolicyDocument"] for name, one in edition.of_type("AWS::IAM::ManagedPolicy")}
    for name, role in edition.of_type("AWS::IAM::Role"):
        found |= {f"{name}.{one['PolicyName']}": one["PolicyDocument"] for one in role.get("Policies", [])}
    return {name: _resolved(document, edition) for name, document in found.items()}


def _resolved(value: Any, edition: Edition) -> Any:
    if (
        isinstance(value, Mapping)
        and len(value) == 1
        and next(iter(value)) in ("Ref", "Fn::GetAtt", "Fn::Sub", "Fn::Join")
    ):
        return re.sub(r"\$\{([\w:]+)(\.\w+)?\}", lambda match: _sample(match[1], match[2], edition), text(value))
    if isinstance(value, Mapping):
        return {key: _resolved(inner, edition) for key, inner in value.items()}
    return [_resolved(inner, edition) for inner in value] if isinstance(value, list) else value


def _sample(name: str, attribute: str | None, edition: Edition) -> str:
    """What a reference could stand for: an ARN of the right form, a parameter's default, a name."""
    pseudo = {"AWS::Partition": "aws", "AWS::Region": "eu-west-1", "AWS::AccountId": "111122223333"}
    pseudo |= {"AWS::StackName": "quickstep", "AWS::URLSuffix": "amazonaws.com"}
    if name in pseudo:
        return pseudo[name]
    kind = MADE_BY.get(edition.type_of(name) or "")
    if kind and (attribute or kind == "sns:topic"):
        own = {"Partition": "aws", "Region": "eu-west-1", "Account": "111122223333"}
        if kind == "logs:log-stream":
            # CloudFormation's ARN of a log group ends so, and means its streams.
            return "arn:aws:logs:eu-west-1:111122223333:log-group:" + name + ":*"
        return re.sub(r"\$\{(\w+)\}", lambda match: own.get(match[1], name), ARNS[kind])
    default = edition.template.get("Parameters", {}).get(name, {}).get("Default")
    return str(default) if default not in (None, "") else name


def _rules_of(tool: str) -> list[str]:
    return sorted({rule for control in CONTROLS for named, rule in control.tools if named == tool})


def _versions() -> dict[str, str]:
    """Installed versions, from the metadata of both environments."""
    names = {
        "tools": ("cfn-lint", "parliament", "cfn-guard-rs", "policy-sentry", "bandit", "cyclonedx-bom"),
        "checkov": ("checkov",),
    }
    shown = {"cfn-guard-rs": "cfn-guard", "policy-sentry": "policy_sentry", "cyclonedx-bom": "cyclonedx"}
    found = {}
    program = "import sys,json,importlib.metadata as m\nfound={}\nfor n in sys.argv[1:]:\n try: found[n]=m.version(n)\n except m.PackageNotFoundError: pass\nprint(json.dumps(found))"
    for environment, packages in names.items():
        done = _tool("python", "-c", program, *packages, environment=environment, accepted=(0,))
        found |= {shown.get(name, name): version for name, version in json.loads(done.stdout).items()}
    return found


def _tool(
    name: str, *arguments: str, environment: str = "tools", accepted: Sequence[int] | range, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run one program of an environment in the project's folder. Raises ToolBroken for an exit code that is not accepted."""
    surroundings = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    # No tool is to ask a network for anything.
    surroundings |= {
        "AWS_DEFAULT_REGION": "us-east-1",
        "LOG_LEVEL": "ERROR",
        "BC_SKIP_MAPPING": "TRUE",
        "NO_COLOR": "1",
    }
    command = [str(ENVIRONMENT / environment / "bin" / name), *arguments]
    try:
        done = subprocess.run(
            command, cwd=ROOT, env=surroundings, input=given, capture_output=True, text=True, check=False
        )
    except OSError as problem:
        raise ToolBroken(
            f"{name} cannot be started ({problem.strerror}); remove .venv-security and try again"
        ) from None
    if done.returncode not in accepted:
        raise ToolBroken(f"{name} ended with {done.returncode}: {_tail(done)}")
    return done


def _tail(done: subprocess.CompletedProcess[str]) -> str:
    lines = (done.stderr or done.stdout).strip().splitlines()
    return " / ".join(lines[-3:]) or "it said nothing"
