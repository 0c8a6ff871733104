"""Deploy, use, scale, update and delete Quickstep in MiniStack, with the SAM CLI: `make e2e`.

One story in steps; each step says what must hold and fails with what it found instead. Real time: the waits are those of
CloudWatch and of the emulated endpoint.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from account import ACCOUNT, COMPONENT, ENDPOINT, REGION, ROOT, Account, AccountProblem
from botocore.exceptions import BotoCoreError, ClientError
from progress import Progress, Wrong
from sam import SamFailed
from story import Story

USAGE = 2
BUILT = ROOT / ".aws-sam" / "build" / "template.yaml"
STEPS: tuple[tuple[str, Callable[[Story], str]], ...] = (
    ("sam deploy creates every resource of the template, IAM enforced", Story.deploy),
    ("sam remote invoke answers the files of events/", Story.invoke_events),
    ("the control API answers sam remote invoke", Story.ask_control),
    ("a load of real requests makes the high alarm fire", Story.load_until_alarm),
    ("an instance is asked for, before any copy", Story.wait_for_the_ask),
    ("an update is deployed while the instance is on its way", Story.update),
    ("the component is scaled out, and the update has lost nothing", Story.wait_for_scale_out),
    ("sam logs shows the decisions", Story.read_logs),
    ("without the load the component is scaled in", Story.wait_for_scale_in),
    ("a role without one of its permissions fails, and is seen to fail", Story.remove_permissions),
    ("without the permission to set copies nothing is scaled, and that is said", Story.remove_write),
    ("sam delete leaves nothing behind", Story.delete),
)
RELEASE = ("the empty instance is given back", Story.wait_for_release)


def main(arguments: list[str] | None = None) -> int:
    """Run the story; 0 if everything held, 1 if something did not."""
    given = _arguments(arguments)
    work = given.work.resolve()
    _empty(work)
    signal.signal(signal.SIGTERM, _interrupt)
    # Standard output is the result's if that is asked for there.
    out = sys.stderr if given.json == "-" else sys.stdout
    progress = Progress(out, before_s=given.before_s)
    steps = list(STEPS)
    if given.until_released:
        # In place of the wish, which would keep two copies.
        steps[-2] = RELEASE
    failed = None
    try:
        with Account(work, BUILT) as account:
            progress.say(f"MiniStack {account.url}, log in {_shown(account.log)}")
            story = Story(account, _render_events(work), progress)
            try:
                for title, step in steps:
                    with progress.step(title) as done:
                        account.check_alive()
                        done(step(story))
            finally:
                story.stop_load()
    except (AccountProblem, SamFailed, Wrong, ClientError, BotoCoreError, LookupError) as problem:
        failed = f"{type(problem).__name__}: {problem}" if not isinstance(problem, Wrong) else str(problem)
    except KeyboardInterrupt:
        failed = "interrupted"
    result = {"ok": failed is None, "failed": failed, "seconds": progress.elapsed_s(), "steps": progress.finished}
    _write(given.json, result)
    if failed is not None:
        print(f"e2e: failed: {failed}\n     logs are kept in {_shown(work)}: ministack.log, sam-*.log", file=sys.stderr)
        return 1
    print(f"e2e: everything held, {progress.elapsed_s():.0f} s; logs are in {_shown(work)}", file=out)
    return 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make e2e", description=__doc__)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "e2e", help="folder for logs")
    parser.add_argument("--before-s", type=float, default=0.0, help="seconds that were spent before")
    parser.add_argument(
        "--until-released", action="store_true", help="wait until the instance is given back, instead of the wish"
    )
    parser.add_argument(
        "--json", nargs="?", const="-", help="write the result as JSON, to a file or to standard output"
    )
    given = parser.parse_args(arguments)
    if not BUILT.exists():
        print(f"make e2e: there is no {BUILT.relative_to(ROOT)}; run make build first", file=sys.stderr)
        raise SystemExit(USAGE)
    return given


def _empty(work: Path) -> None:
    """Take away what the run before left; the logs of the build stay."""
    work.mkdir(parents=True, exist_ok=True)
    for one in work.iterdir():
        if one.name in ("build.log", "install.log"):
            continue
        shutil.rmtree(one) if one.is_dir() else one.unlink()


def _render_events(work: Path) -> Path:
    """The files of events/ for this account, as `make events` writes them."""
    sys.path[:0] = [str(ROOT), str(ROOT / "layers" / "core")]
    from simulator.cli import render_events

    folder = work / "events"
    given = {"region": REGION, "account": ACCOUNT, "endpoint": ENDPOINT, "component": COMPONENT}
    out = ["--out", str(folder), *(part for name, value in given.items() for part in (f"--{name}", value))]
    printed, sys.stdout = sys.stdout, open(os.devnull, "w")  # noqa: SIM115
    try:
        if render_events.main(out) != 0:
            raise Wrong("the files of events/ could not be rendered")
    finally:
        sys.stdout.close()
        sys.stdout = printed
    return folder


def _write(where: str | None, result: dict[str, Any]) -> None:
    text = json.dumps(result, indent=2) + "\n"
    if where == "-":
        print(text, end="")
    elif where is not None:
        Path(where).parent.mkdir(parents=True, exist_ok=True)
        Path(where).write_text(text, encoding="utf-8")


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    raise SystemExit(main())
