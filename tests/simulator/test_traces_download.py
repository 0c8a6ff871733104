"""Fetching public traces from a server of the test's own: resumed, verified, and never half of a file in its place."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from simulator.traces.catalogue import CatalogueError, TraceFile, chosen, read_catalogue
from simulator.traces.download import ATTEMPTS, DownloadError, fetch

CONTENT = b"timestamp_s,input_tokens,output_tokens\n" + b"".join(b"%d,100,10\n" % k for k in range(20_000))
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Publisher(ThreadingHTTPServer):
    """Serves `content` at every path; what goes wrong is set by the test."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.content, self.etag = CONTENT, '"one"'
        self.ranges = True
        self.statuses: list[int] = []
        """Answers of the next requests; afterwards 200 or 206."""
        self.cuts: list[int] = []
        """After so many bytes each of the next answers breaks off."""
        self.chunked = False
        self.seen: list[str | None] = []
        """The Range of every request."""

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/data/trace.csv"


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, wanted = self.server, self.headers.get("Range")
        server.seen.append(wanted)
        if server.statuses and (status := server.statuses.pop(0)) != 200:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        begin = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and server.ranges else 0
        if self.headers.get("If-Range") not in (None, server.etag):
            begin = 0
        if begin and begin >= len(server.content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = server.content[begin:]
        self.send_response(206 if begin else 200)
        if begin:
            self.send_header("Content-Range", f"bytes {begin}-{len(server.content) - 1}/{len(server.content)}")
        self.send_header("ETag", server.etag)
        if server.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = server.cuts.pop(0) if server.cuts else None
        body = body[:cut]
        if server.chunked:
            pieces = [body[at : at + 10_000] for at in range(0, len(body), 10_000)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
            body += b"0\r\n\r\n" if cut is None else b""
        self.wfile.write(body)
        self.close_connection = cut is not None

    def log_message(self, *_):
        pass


@pytest.fixture
def publisher():
    server = Publisher()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def get(publisher, folder, *, path="t.csv", sha256=SHA256, **options):
    return fetch(TraceFile(path=path, url=publisher.url, sha256=sha256), folder, pause_s=0.0, **options)


def test_a_file_comes_whole_and_is_verified(publisher, tmp_path):
    told = []
    fetched = get(publisher, tmp_path, report=lambda *row: told.append(row))
    assert (tmp_path / "t.csv").read_bytes() == CONTENT
    assert (fetched.sha256, fetched.bytes, fetched.verified, fetched.was_there) == (SHA256, len(CONTENT), True, False)
    assert told[-1] == ("t.csv", len(CONTENT), len(CONTENT))
    assert sorted(one.name for one in tmp_path.iterdir()) == ["t.csv"]


def test_what_is_named_gz_is_compressed_and_verified_as_published(publisher, tmp_path):
    get(publisher, tmp_path, path="deep/t.csv.gz")
    packed = (tmp_path / "deep" / "t.csv.gz").read_bytes()
    assert gzip.decompress(packed) == CONTENT
    assert get(publisher, tmp_path / "again", path="t.csv.gz").verified
    assert (tmp_path / "again" / "t.csv.gz").read_bytes() == packed


def test_a_file_that_is_there_is_checked_and_not_fetched(publisher, tmp_path):
    get(publisher, tmp_path, path="t.csv.gz")
    again = get(publisher, tmp_path, path="t.csv.gz")
    assert again.was_there and again.verified
    assert len(publisher.seen) == 1
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"another"))
    with pytest.raises(DownloadError, match="is there with sha256 .* expected .* remove it"):
        get(publisher, tmp_path, path="t.csv.gz")
    (tmp_path / "t.csv.gz").write_bytes(b"no gzip")
    with pytest.raises(DownloadError, match="is there but cannot be read"):
        get(publisher, tmp_path, path="t.csv.gz")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(publisher, tmp_path, chunked):
    publisher.cuts, publisher.chunked = [70_000, 50_000], chunked
    fetched = get(publisher, tmp_path)
    assert (tmp_path / "t.csv").read_bytes() == CONTENT
    assert fetched.verified
    assert publisher.seen == [None, "bytes=70000-", "bytes=120000-"]


def test_what_has_come_is_kept_for_the_next_command(publisher, tmp_path):
    publisher.cuts = [70_000]
    publisher.statuses = [200] + [503] * ATTEMPTS
    with pytest.raises(DownloadError, match=r"503.*70,000 bytes are kept in t\.csv\.part.*goes on"):
        get(publisher, tmp_path)
    assert not (tmp_path / "t.csv").exists()
    assert get(publisher, tmp_path).verified
    assert publisher.seen[-1] == "bytes=70000-"


def test_it_gives_up_only_when_nothing_comes_any_more(publisher, tmp_path):
    publisher.cuts = [10_000] * (2 * ATTEMPTS)
    assert get(publisher, tmp_path).verified
    assert len(publisher.seen) == 2 * ATTEMPTS + 1


def test_a_server_without_ranges_gives_all_of_it_again(publisher, tmp_path):
    publisher.ranges, publisher.cuts = False, [70_000]
    assert get(publisher, tmp_path).verified
    assert (tmp_path / "t.csv").read_bytes() == CONTENT
    assert publisher.seen == [None, "bytes=70000-"]


def test_a_file_that_has_changed_meanwhile_is_fetched_anew(publisher, tmp_path):
    publisher.cuts, publisher.statuses = [70_000], [200] + [503] * ATTEMPTS
    with pytest.raises(DownloadError):
        get(publisher, tmp_path, sha256=None)
    publisher.content, publisher.etag = CONTENT.upper(), '"two"'
    fetched = get(publisher, tmp_path, sha256=None)
    assert (tmp_path / "t.csv").read_bytes() == CONTENT.upper()
    assert not fetched.verified


def test_a_part_that_is_whole_already_is_taken(publisher, tmp_path):
    (tmp_path / "t.csv.part").write_bytes(CONTENT)
    (tmp_path / "t.csv.part.json").write_text(
        json.dumps({"url": publisher.url, "validator": None, "bytes": len(CONTENT)})
    )
    assert get(publisher, tmp_path).verified
    assert publisher.seen == [f"bytes={len(CONTENT)}-"]


def test_a_part_of_another_address_is_not_gone_on_with(publisher, tmp_path):
    (tmp_path / "t.csv.part").write_bytes(b"something else")
    (tmp_path / "t.csv.part.json").write_text('{"url": "http://127.0.0.1/other", "validator": null, "bytes": 99}')
    assert get(publisher, tmp_path).verified
    assert publisher.seen == [None]


def test_a_wrong_file_is_removed_unless_it_is_wanted(publisher, tmp_path):
    publisher.content = CONTENT + b"1,1,1\n"
    with pytest.raises(DownloadError, match=f"expected {SHA256}.*was removed.*--unverified"):
        get(publisher, tmp_path)
    assert not any(one.suffix in (".csv", ".part") for one in tmp_path.iterdir())
    fetched = get(publisher, tmp_path, unverified=True)
    assert not fetched.verified
    assert (tmp_path / "t.csv").read_bytes() == publisher.content


def test_a_file_that_is_gone_is_said_at_once(publisher, tmp_path):
    publisher.statuses = [404]
    with pytest.raises(DownloadError, match="answers 404 Not Found; the publisher may have moved it"):
        get(publisher, tmp_path)
    assert publisher.seen == [None]


def test_a_server_that_cannot_be_reached_is_named(tmp_path):
    with Publisher() as closed:
        url = closed.url
    with pytest.raises(DownloadError, match=re.escape(url) + ".*refused"):
        fetch(TraceFile(path="t.csv", url=url), tmp_path, pause_s=0.0)


def test_a_folder_that_cannot_be_written_is_named(publisher, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DownloadError, match="cannot be written"):
        get(publisher, tmp_path / "file")


# ---------------------------------------------------------------- the catalogue


def test_every_slice_of_a_public_trace_finds_its_files_under_the_catalogues_names():
    from simulator.bench.slices import read_slices

    known = {file.path for one in read_catalogue() for file in one.files}
    by_slice = {name: one for one in read_catalogue() for name in one.slices}
    for one in read_slices():
        if one.trace is None:
            continue
        names = (one.trace,) if isinstance(one.trace, str) else one.trace
        assert by_slice[one.name].files == () or set(names) <= known, one.name


def test_every_file_is_pinned_to_a_commit_or_has_no_digest():
    for one in read_catalogue():
        for file in one.files:
            assert (file.sha256 is None) == (file.bytes is None), file.path
            pinned = re.search(r"/([0-9a-f]{7}|[0-9a-f]{40})/", file.url)
            assert pinned or file.sha256 is None, file.path
            assert file.url.startswith("https://")
        assert one.licence and one.licence_url.startswith("https://") and one.cite


def test_names_of_traces_and_of_slices_are_understood():
    traces = read_catalogue()
    assert [one.name for one in chosen(traces, ["P6", "azure-2023", "P1"])] == ["azure-2023", "servegen"]
    with pytest.raises(CatalogueError, match="'azure'; choose among servegen, azure-2023"):
        chosen(traces, ["azure"])
    with pytest.raises(CatalogueError, match="sageserve cannot be fetched: .*digitised"):
        chosen(traces, ["P7"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("traces: []", "no list under traces"),
        ("traces: [{name: x}]", "trace x: what"),
        ("- [", "not YAML"),
        (
            "traces: [{name: x, what: w, origin: o, licence: l, licence_url: u, cite: c, files: "
            "[{path: ../x.csv, url: 'https://h/x'}]}]",
            "trace x: files.0.path.*not below",
        ),
        (
            "traces: [{name: x, what: w, origin: o, licence: l, licence_url: u, cite: c, files: "
            "[{path: x.csv, url: 'file:///etc/passwd'}]}]",
            "trace x: files.0.url",
        ),
    ],
)
def test_a_catalogue_that_cannot_be_used_is_refused(tmp_path, text, message):
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(CatalogueError, match=message):
        read_catalogue(tmp_path / "c.yaml")
