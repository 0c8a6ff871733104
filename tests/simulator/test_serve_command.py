"""What `quickstep serve` refuses. No account runs beside: its functions take this process's `stderr` while they run."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from simulator.cli import main as command_line


@pytest.fixture(scope="module")
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--port", "TAKEN"], "cannot listen on 127.0.0.1:TAKEN: Address already in use; give another --port, or 0"),
        (["--port", "70000"], "cannot listen on 127.0.0.1:70000: "),
        (["--host", "192.0.2.1", "--port", "0"], "cannot listen on 192.0.2.1:0: "),
        (["--host", "no such host", "--port", "0"], "cannot listen on no such host:0: "),
        (["--speed", "0"], "speed 0 is not possible; give one above 0 and up to 3600"),
        (["--speed", "1e9"], "speed 1e+09 is not possible"),
        (["--policy", "Best"], "policy 'Best' is not one of StepsAndDemand, StepsOnly, DemandOnly"),
        (["--scenario", "nope.yaml"], "there is no scenario file nope.yaml"),
        (["--trace", "nope.csv"], "there is no trace nope.csv"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_exit_code_2(words, said, taken_port, monkeypatch, capsys):
    words = [word.replace("TAKEN", str(taken_port)) for word in words]
    monkeypatch.setattr("sys.argv", ["quickstep", "serve", *words])
    with pytest.raises(SystemExit) as end:
        command_line.main()
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said.replace("TAKEN", str(taken_port)) in line
