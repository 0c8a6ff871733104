"""The `quickstep` command. Exit codes: 0 done, 1 a finding or a refused event, 2 unusable input."""

from __future__ import annotations

import sys

import typer

from quickstep.errors import InvalidSettings
from simulator.cli import (
    bench_command,
    dashboard_command,
    invoke_command,
    migrate_command,
    operate_commands,
    serve_command,
    simulate_command,
    suggest_command,
    trace_command,
)
from simulator.cli.failures import UsageProblem
from simulator.template_values import TemplateError

app = typer.Typer(
    name="quickstep",
    help="Autoscaler for generative-AI models on Amazon SageMaker real-time endpoints.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("simulate")(simulate_command.simulate)
app.command("invoke")(invoke_command.invoke)
app.command("serve")(serve_command.serve)
app.command("bench")(bench_command.bench)
app.command("dashboard")(dashboard_command.dashboard)
app.command("calibrate")(bench_command.calibrate)
app.add_typer(trace_command.app, name="trace")
app.command("migrate")(migrate_command.migrate)
app.command("suggest")(suggest_command.suggest)
for command in ("status", "explain", "history", "plan", "watch", "pause", "resume", "pin", "wake", "doctor"):
    app.command(command)(getattr(operate_commands, command))


def main() -> None:
    """Run the command line; unusable input is one clear line on standard error and exit code 2."""
    try:
        app(args=with_standard_output(sys.argv[1:]))
    except (UsageProblem, TemplateError, InvalidSettings) as problem:
        print(f"quickstep: {problem}", file=sys.stderr)
        raise SystemExit(2) from None


def with_standard_output(words: list[str]) -> list[str]:
    """`--json` without a file means standard output: the words with "-" put in there."""
    found = []
    for word, following in zip(words, [*words[1:], ""], strict=True):
        found.append(word)
        if word == "--json" and (not following or (following.startswith("-") and following != "-")):
            found.append("-")
    return found


if __name__ == "__main__":
    main()
