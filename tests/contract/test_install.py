"""The ways to install: each names only what exists, deploys the packaged template, and the figures in the docs are counted.

Terraform, the CDK and GitHub are not here: syntax and names are checked, deployments are not.
"""

from __future__ import annotations

import ast
import json
import re
import tomllib

import pytest
import yaml
from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from benchmarks import control_plane_cost
from simulator.report.control_plane_cost import PER_MONTH, PRICES, bill, tables
from simulator.template_values import parameter_values
from tests.contract.translated import ROOT, source

INSTALL = ROOT / "examples" / "install"
DEPLOYED = source()


# -- Serverless Application Repository ---------------------------------------------------------------------------------


def test_the_repository_s_metadata_keeps_the_published_limits_and_tells_the_truth():
    # Limits: SAM developer guide, "AWS SAM template Metadata section properties".
    told = DEPLOYED["Metadata"]["AWS::ServerlessRepo::Application"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert re.fullmatch(r"[a-zA-Z0-9-]{1,140}", told["Name"])
    assert 1 <= len(told["Description"]) <= 256
    assert re.fullmatch(r"[a-z0-9](([a-z0-9]|-(?!-))*[a-z0-9])?", told["Author"])
    assert 1 <= len(told["Labels"]) <= 10
    assert all(re.fullmatch(r"[a-zA-Z0-9+\-_:/@]{1,127}", label) for label in told["Labels"])
    assert told["SemanticVersion"] == project["version"]
    assert told["SpdxLicenseId"] == project["license"]
    for url in ("LicenseUrl", "ReadmeUrl"):
        assert (ROOT / told[url]).is_file() and (ROOT / told[url]).stat().st_size < 5 * 1024 * 1024


def test_the_version_that_is_published_is_the_one_that_a_running_loop_compares():
    told = DEPLOYED["Metadata"]["AWS::ServerlessRepo::Application"]
    assert DEPLOYED["Globals"]["Function"]["Environment"]["Variables"]["CODE_VERSION"] == told["SemanticVersion"]


# -- Terraform ---------------------------------------------------------------------------------------------------------

TERRAFORM = INSTALL / "terraform" / "main.tf"
BRACKETS = {")": "(", "]": "[", "}": "{"}


def terraform_findings(text: str) -> list[str]:
    """What is wrong with the brackets, quotes, variables and references of a Terraform file."""
    found, open_ones = [], []
    plain = re.sub(r"(?m)^\s*#.*$", "", text)
    for number, line in enumerate(plain.splitlines(), 1):
        if line.count('"') % 2:
            found.append(f"line {number}: a quote is not closed")
        for character in re.sub(r'"[^"$]*"', "", line):
            if character in BRACKETS.values():
                open_ones.append(character)
            elif character in BRACKETS and (not open_ones or open_ones.pop() != BRACKETS[character]):
                found.append(f"line {number}: {character} closes nothing")
    found += [f"{one} is not closed" for one in open_ones]
    declared, used = set(re.findall(r'variable "(\w+)"', plain)), set(re.findall(r"\bvar\.(\w+)", plain))
    found += [f"variable {one} is not declared" for one in sorted(used - declared)]
    found += [f"variable {one} is used nowhere" for one in sorted(declared - used)]
    resources = {f"{kind}.{name}" for kind, name in re.findall(r'(?:resource|data) "(\w+)" "(\w+)"', plain)}
    referred = set(re.findall(r"\b(aws_\w+\.\w+)", plain))
    return found + [f"{one} is not there" for one in sorted(referred - resources)]


def test_the_terraform_file_is_whole_and_sets_parameters_that_the_template_accepts():
    text = TERRAFORM.read_text(encoding="utf-8")
    assert terraform_findings(text) == []
    block = re.search(r"parameters = \{\n(.*?)\n  \}", text, re.DOTALL)[1]
    names = re.findall(r"^\s+(\w+)\s+=", block, re.MULTILINE)
    accepted_by_the_template(names)
    defaults = dict(re.findall(r'variable "(\w+)" \{[^}]*?default\s+= "?([^"\n]*)"?\n', text))
    values = {
        name: str(4.5 if "0.9" in rest else defaults.get(rest.strip().removeprefix("var."), "llm"))
        for name, rest in re.findall(r"^\s+(\w+)\s+= (.+)$", block, re.MULTILINE)
    }
    parameter_values(DEPLOYED["Parameters"], values)
    assert set(re.findall(r'outputs\["(\w+)"\]', text)) <= set(DEPLOYED["Outputs"])
    assert 'capabilities       = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]' in text


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("var.stack_name", "var.stackname", "variable stackname is not declared"),
        ('default     = "quickstep"', 'default     = "quickstep', "a quote is not closed"),
        ("aws_s3_object.template.key", "aws_s3_object.packaged.key", "aws_s3_object.packaged is not there"),
        ('    application = "quickstep"\n  }\n}', '    application = "quickstep"\n  }\n', "{ is not closed"),
    ],
    ids=["variable", "quote", "reference", "bracket"],
)
def test_a_broken_terraform_file_is_found_out(old, new, problem):
    text = TERRAFORM.read_text(encoding="utf-8")
    assert old in text
    assert any(problem in one for one in terraform_findings(text.replace(old, new)))


# -- CDK ---------------------------------------------------------------------------------------------------------------


def test_the_cdk_app_parses_and_names_properties_of_a_stack_and_parameters_of_the_template():
    tree = ast.parse((INSTALL / "cdk" / "app.py").read_text(encoding="utf-8"))
    calls = {getattr(one.func, "id", ""): one for one in ast.walk(tree) if isinstance(one, ast.Call)}
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", "AWS::CloudFormation::Stack").schema
    known = {snake(name) for name in schema["properties"]}
    assert {one.arg for one in calls["CfnStack"].keywords} <= known
    (given,) = [one.value for one in calls["QuickstepStack"].keywords if one.arg == "parameters"]
    accepted_by_the_template([key.value for key in given.keys])
    (outputs,) = [one.iter for one in ast.walk(tree) if isinstance(one, ast.For)]
    assert set(ast.literal_eval(outputs)) <= set(DEPLOYED["Outputs"])


def snake(name: str) -> str:
    """`TemplateURL` as the CDK for Python spells it: template_url."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


def accepted_by_the_template(names: list[str]) -> None:
    declared = DEPLOYED["Parameters"]
    assert names and set(names) <= set(declared)
    assert {name for name, one in declared.items() if "Default" not in one} <= set(names), (
        "a deployment would stop and ask"
    )


# -- GitHub Actions ----------------------------------------------------------------------------------------------------


def test_the_workflow_tests_builds_once_and_deploys_staging_before_prod_without_a_stored_key():
    text = (INSTALL / "github-actions.yml").read_text(encoding="utf-8")
    workflow = yaml.load(text, Loader=yaml.BaseLoader)
    jobs = workflow["jobs"]
    assert (jobs["staging"]["needs"], jobs["prod"]["needs"]) == ("test", "staging")
    assert workflow["permissions"] == {"contents": "read"}
    for name in ("staging", "prod"):
        assert jobs[name]["if"] == "github.ref == 'refs/heads/main'"
        assert jobs[name]["permissions"] == {"contents": "read", "id-token": "write"}
    assert "secrets." not in text, "roles are assumed through OIDC"
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {one.split()[1] for one in commands if one.startswith("make ")} == {"test", "build"} <= targets


def test_the_workflow_repeats_what_samconfig_sets_since_sam_takes_only_one_of_the_two_lists():
    workflow = yaml.safe_load((INSTALL / "github-actions.yml").read_text(encoding="utf-8"))
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    for name in ("staging", "prod"):
        command = workflow["jobs"][name]["steps"][-1]["run"]
        assert f"--config-env {name} " in command
        given = dict(re.findall(r'"?(\w+)=([^"\s]+)"?', command.partition("--parameter-overrides")[2]))
        kept = dict(one.split("=") for one in config[name]["deploy"]["parameters"]["parameter_overrides"].split())
        assert given.items() >= kept.items()
        accepted_by_the_template(list(given))


# -- the commands of the docs ------------------------------------------------------------------------------------------


def commands(document: str, program: str) -> list[str]:
    """Commands of a document's code blocks that begin with `program` or end in it, lines joined."""
    blocks = re.findall(r"```\n(.*?)```", (ROOT / "docs" / document).read_text(encoding="utf-8"), re.DOTALL)
    lines = [line for block in blocks for line in re.sub(r"\\\n\s*", "", block).splitlines()]
    return [line for line in lines if program in line]


def overridden(command: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)=(\S+)", command.partition("--parameter-overrides")[2]))


def test_every_aws_command_of_the_examples_gives_what_its_template_asks_and_nothing_that_it_does_not_know():
    found = commands("examples.md", "aws cloudformation deploy")
    named = {re.search(r"--template-file (\S+)", command)[1] for command in found}
    assert named == {f"examples/endpoints/{path.name}" for path in (ROOT / "examples" / "endpoints").glob("*.yaml")}
    for command in found:
        path = ROOT / re.search(r"--template-file (\S+)", command)[1]
        example, given = source(path), dict.fromkeys(overridden(command), "1")
        missing = {name for name, one in example["Parameters"].items() if "Default" not in one} - set(given)
        assert not missing and set(given) <= set(example["Parameters"]), command
        roles = any(one["Type"] == "AWS::IAM::Role" for one in example["Resources"].values())
        assert ("--capabilities CAPABILITY_IAM" in command) == roles


@pytest.mark.parametrize("document", ["examples.md", "install.md"])
def test_every_sam_command_of_the_docs_is_one_that_the_template_accepts(document):
    found = [one for one in commands(document, "sam deploy") if "--parameter-overrides" in one]
    assert len(found) >= 3
    for command in found:
        parameter_values(DEPLOYED["Parameters"], overridden(command.partition("#")[0]))
    config = tomllib.loads((ROOT / "samconfig.toml").read_text(encoding="utf-8"))
    for name in re.findall(r"--config-env (\w+)", "\n".join(found)):
        (command,) = [one for one in found if f"--config-env {name} " in one]
        kept = dict(one.split("=") for one in config[name]["deploy"]["parameters"]["parameter_overrides"].split())
        assert overridden(command).items() >= kept.items()


# -- what it costs -----------------------------------------------------------------------------------------------------


def test_the_cost_in_the_docs_is_what_the_kept_counts_make_at_the_listed_prices():
    document = control_plane_cost.DOCUMENT.read_text(encoding="utf-8")
    kept = json.loads(control_plane_cost.COUNTS.read_text(encoding="utf-8"))
    assert list(kept) == sorted(control_plane_cost.DAYS)
    assert control_plane_cost.with_cost(document, {name: kept[name] for name in control_plane_cost.DAYS}) == document


@pytest.mark.parametrize(
    ("kind", "a_day", "a_month_usd"),
    [
        ("fast_alarm_months", 3, 0.90),  # three alarms of 10 s, whatever the length of the month
        ("cloudwatch_requests", 1440, 0.438),  # once a minute: 43,800 a month
        ("transitions", 1440, 1.095),
        ("gb_seconds", 3600, 1.46),  # 109,500 GB-s: the price list's own 1.46 for arm64
        ("traces", 1440, 0.219),
        ("writes", 1_000_000, 19.0104),
    ],
)
def test_a_month_is_the_day_s_count_times_its_length_and_the_price(kind, a_day, a_month_usd):
    monthly = bill({**dict.fromkeys(PRICES, 0.0), kind: a_day})
    assert sum(usd for _, usd in monthly.values()) == pytest.approx(a_month_usd, rel=1e-3)
    assert monthly[kind][0] == pytest.approx(a_day * (1 if kind in PER_MONTH else 365 / 12))


def test_half_an_hour_in_the_account_is_counted_by_who_caused_it():
    counted = control_plane_cost.a_day_of("1x30 7x60 1x90", 1800.0)
    shared, component = counted["shared"], counted["component"]
    assert 28 <= shared["invocations"] <= 31, "Reconcile, once a minute"
    assert shared["transitions"] == shared["metrics_read"] == 0
    assert component["fast_alarm_months"] == 3 and shared["fast_alarm_months"] == 0
    assert component["transitions"] > 0 and component["metrics_read"] > 0 and component["writes"] > 0
    assert component["traces"] < component["invocations"], "states of one execution are one trace"
    shown = tables({"half an hour": counted})
    assert "| alarms with 10-s periods | 0 | 3 | $0.300 per alarm-month | 0.000 | 0.900 |" in shown


def test_the_sums_can_be_had_as_json(tmp_path, capsys):
    document = tmp_path / "install.md"
    document.write_text(control_plane_cost.DOCUMENT.read_text(encoding="utf-8"), encoding="utf-8")
    assert control_plane_cost.main(["--render", "--document", str(document), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    shown = document.read_text(encoding="utf-8")
    for name, one in found.items():
        shared, component = one["usd_per_month"]["shared"], one["usd_per_month"]["component"]
        assert f"| {name} | {shared:.2f} | {component:.2f} | **{shared + component:.2f}** |" in shown


def test_a_document_without_its_markers_is_not_written(tmp_path, capsys):
    document, counts = tmp_path / "install.md", tmp_path / "counts.json"
    document.write_text("# Install\n", encoding="utf-8")
    counts.write_text(control_plane_cost.COUNTS.read_text(encoding="utf-8"), encoding="utf-8")
    where = ["--render", "--document", str(document), "--counts", str(counts)]
    assert control_plane_cost.main(where) == 2
    assert capsys.readouterr().err.startswith("cost: the document lacks the lines")
    counts.write_text("{}", encoding="utf-8")
    assert control_plane_cost.main(where) == 2
    assert "run it without --render to count again" in capsys.readouterr().err
    assert document.read_text(encoding="utf-8") == "# Install\n"
