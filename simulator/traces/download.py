"""Fetches a file over HTTP so that an interruption costs nothing and a wrong file is never taken for the right one.

What has come is kept in `PATH.part`, with what the server said of it in `PATH.part.json`; the next call asks for the rest
(`Range`, `If-Range`) and begins anew if the server does not give ranges or the file has changed. The digest is that of
the file as published; only a file that has it is moved to its place, compressed there if its name ends in .gz.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from simulator.traces.catalogue import TraceFile

TIMEOUT_S = 30.0
ATTEMPTS = 4
"""How often in a row a transfer is taken up again that stops before its end."""
PAUSE_S = 2.0
_CHUNK = 1 << 20
_RETRIED = frozenset({408, 429, 500, 502, 503, 504})

Report = Callable[[str, int, int | None], None]
"""Called with the file's path, bytes so far, and bytes in all (None = not known)."""


class DownloadError(Exception):
    """The file could not be had; the message says why, what is kept, and what to do."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file that is in its place."""

    path: Path
    sha256: str
    """Of the file as published."""
    bytes: int
    """Size as published."""
    verified: bool
    """The digest was known beforehand, and agrees."""
    was_there: bool
    """Nothing was transferred: the file was in its place already."""


def fetch(
    one: TraceFile,
    folder: Path,
    *,
    unverified: bool = False,
    report: Report | None = None,
    pause_s: float = PAUSE_S,
) -> Fetched:
    """Have `one` below `folder`. `unverified`: take it also if its digest is another than the catalogue's.

    Raises DownloadError; what has been transferred is kept unless it is wrong.
    """
    path = folder / one.path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            return _there(one, path, unverified)
        part = path.with_name(path.name + ".part")
        _transfer(one, part, report or (lambda *_: None), pause_s)
        digest, size = _digest(part, compressed=False)
        verified = one.sha256 is not None and digest == one.sha256
        if one.sha256 is not None and not verified and not unverified:
            part.unlink()
            raise DownloadError(
                f"{one.url} has sha256 {digest} ({size:,} bytes), expected {one.sha256}: it is not the file that is "
                "meant, and was removed. Try again, or take it as it is with --unverified"
            )
        _put(part, path)
        _about(part).unlink(missing_ok=True)
    except OSError as error:
        raise DownloadError(f"{path} cannot be written: {error.strerror or error}") from error
    return Fetched(path, digest, size, verified, was_there=False)


def _there(one: TraceFile, path: Path, unverified: bool) -> Fetched:
    try:
        digest, size = _digest(path, compressed=path.name.endswith(".gz"))
    except (EOFError, gzip.BadGzipFile, OSError) as error:
        raise DownloadError(f"{path} is there but cannot be read ({error}); remove it and run this again") from error
    verified = one.sha256 is not None and digest == one.sha256
    if one.sha256 is not None and not verified and not unverified:
        raise DownloadError(
            f"{path} is there with sha256 {digest}, expected {one.sha256}; remove it and run this again, or keep it "
            "with --unverified"
        )
    return Fetched(path, digest, size, verified, was_there=True)


def _transfer(one: TraceFile, part: Path, report: Report, pause_s: float) -> None:
    """Bring `part` to its full length, over several connections if need be."""
    failures = 0
    while True:
        before = part.stat().st_size if part.is_file() else 0
        try:
            if _once(one, part, report):
                return
            what = "the connection was closed early"
        except urllib.error.HTTPError as error:
            with error:
                if error.code not in _RETRIED:
                    raise DownloadError(
                        f"{one.url} answers {error.code} {error.reason}; the publisher may have moved it: see the "
                        "origin that `quickstep trace list` names"
                    ) from error
                what = f"it answers {error.code} {error.reason}"
        except urllib.error.URLError as error:
            what = str(error.reason)
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            what = str(error) or type(error).__name__
        after = part.stat().st_size if part.is_file() else 0
        failures = 1 if after > before else failures + 1
        if failures >= ATTEMPTS:
            raise DownloadError(
                f"{one.url}: {what}, {ATTEMPTS} times in a row; {after:,} bytes are kept in {part.name}, and the same "
                "command goes on from there"
            )
        time.sleep(pause_s)


def _once(one: TraceFile, part: Path, report: Report) -> bool:
    """One connection; True if the file is complete."""
    have = part.stat().st_size if part.is_file() else 0
    about = _read_about(part) if have else {}
    if have and about.get("url") != one.url:
        have = 0
    headers = {"User-Agent": "quickstep-trace", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if about.get("validator"):
            headers["If-Range"] = about["validator"]
    try:
        answer = urllib.request.urlopen(urllib.request.Request(one.url, headers=headers), timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        # Either all of it is here already, or the file has become shorter.
        error.close()
        if have == about.get("bytes"):
            return True
        part.unlink()
        return False
    with answer:
        begin, total = _extent(answer, have)
        validator = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if validator and validator.startswith("W/"):
            validator = None  # a weak one says nothing about bytes
        _about(part).write_text(json.dumps({"url": one.url, "validator": validator, "bytes": total}), encoding="utf-8")
        with part.open("ab" if begin else "wb") as out:
            got, ended = _copy(answer, out, lambda got: report(one.path, begin + got, total))
    return ended and (total is None or begin + got >= total)


def _extent(answer: Any, have: int) -> tuple[int, int | None]:
    """(where what comes begins, how long the whole is); a server that gives no ranges begins anew."""
    length = answer.headers.get("Content-Length")
    if answer.status == 206:
        span, _, whole = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("/")
        if span.partition("-")[0] == str(have):
            return have, int(whole) if whole.isdigit() else None
        raise http.client.HTTPException(f"asked from byte {have}, got range {span!r}")
    return 0, int(length) if length is not None and length.isdigit() else None


def _copy(answer: Any, out: BinaryIO, report: Callable[[int], None]) -> tuple[int, bool]:
    """Bytes that have come, and whether that was the end as far as this connection can tell."""
    got = 0
    while True:
        try:
            chunk = answer.read(_CHUNK)
        except http.client.IncompleteRead as error:
            out.write(error.partial)
            return got + len(error.partial), False
        if not chunk:
            return got, True
        out.write(chunk)
        got += len(chunk)
        report(got)


def _put(part: Path, path: Path) -> None:
    """Move what was transferred to its place, as one step."""
    if not path.name.endswith(".gz"):
        part.replace(path)
        return
    packed = path.with_name(path.name + ".packing")
    # The same bytes whenever it is made.
    with part.open("rb") as plain, packed.open("wb") as raw, gzip.GzipFile("", "wb", mtime=0, fileobj=raw) as out:
        shutil.copyfileobj(plain, out, _CHUNK)
    packed.replace(path)
    part.unlink()


def _digest(path: Path, *, compressed: bool) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with gzip.open(path, "rb") if compressed else path.open("rb") as handle:
        while chunk := handle.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def _about(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _read_about(part: Path) -> dict[str, Any]:
    try:
        found = json.loads(_about(part).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}  # nothing is known of what has come: begin anew
    return found if isinstance(found, dict) else {}
