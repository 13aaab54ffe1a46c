"""Downloads against a real server on this machine: it obeys ranges, ignores them, cuts the line, or
sends rubbish."""

import hashlib
import itertools
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from impasto.backbone.download import Progress
from impasto.backbone.weights import KNOWN, cache_folder, cached, fetch, load, verify
from impasto.errors import WeightsError
from layouts import GRAY, random_kernels, write_safetensors
from loopback import BODY, Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "not" / "there" / "yet"
    monkeypatch.setenv("IMPASTO_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def published(server: Server, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`vgg19-keras` is published by the local server, and is BODY."""
    source = replace(KNOWN["vgg19-keras"], url=server.url, digest=hashlib.md5(BODY).hexdigest())
    monkeypatch.setitem(KNOWN, "vgg19-keras", source)


@pytest.fixture
def final(home: Path) -> Path:
    return home / "weights.h5"


@pytest.fixture
def part(home: Path) -> Path:
    home.mkdir(parents=True)
    return home / "weights.h5.part"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_whole(folder: Path) -> None:
    assert names_in(folder) == ["weights.h5"]
    assert (folder / "weights.h5").read_bytes() == BODY


def failure(progress: Progress | None = None) -> str:
    """The line that `fetch` fails with."""
    with pytest.raises(WeightsError) as caught:
        fetch("vgg19-keras", progress)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_tells_what_to_do(line: str, server: Server, home: Path) -> None:
    assert server.url in line
    assert str(home) in line
    assert "--backbone vgg19" in line


def test_a_whole_file_comes_in_one_request(server: Server, home: Path, final: Path) -> None:
    assert cached("vgg19-keras") is None
    assert not verify("vgg19-keras")
    assert fetch("vgg19-keras") == final == cached("vgg19-keras")
    assert server.ranges == [None]
    assert verify("vgg19-keras")
    assert_whole(home)


def test_progress_counts_up_to_the_total() -> None:
    seen: list[tuple[int, int]] = []
    fetch("vgg19-keras", lambda done, total: seen.append((done, total)))
    assert {total for _, total in seen} == {len(BODY)}
    assert all(a < b for (a, _), (b, _) in itertools.pairwise(seen))
    assert seen[-1] == (len(BODY), len(BODY))


def test_a_part_is_gone_on_with(server: Server, home: Path, part: Path) -> None:
    part.write_bytes(BODY[:100_000])
    seen: list[tuple[int, int]] = []
    fetch("vgg19-keras", lambda done, total: seen.append((done, total)))
    assert server.ranges == ["bytes=100000-"]
    assert seen[0][0] > 100_000
    assert seen[-1] == (len(BODY), len(BODY))
    assert_whole(home)


def test_a_server_that_ignores_ranges_starts_over(server: Server, home: Path, part: Path) -> None:
    part.write_bytes(b"x" * 100_000)
    server.obeys_ranges = False
    seen: list[tuple[int, int]] = []
    fetch("vgg19-keras", lambda done, total: seen.append((done, total)))
    assert server.ranges == ["bytes=100000-"]
    assert seen[-1] == (len(BODY), len(BODY))
    assert_whole(home)


def test_a_server_that_does_not_say_the_length(server: Server, home: Path) -> None:
    server.says_length = False
    seen: list[tuple[int, int]] = []
    fetch("vgg19-keras", lambda done, total: seen.append((done, total)))
    assert seen[-1] == (len(BODY), len(BODY))
    assert_whole(home)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_cut_line_is_taken_up_where_it_broke(server: Server, home: Path, reset: bool) -> None:
    server.cuts, server.reset = iter([100_000, 50_000]), reset
    fetch("vgg19-keras", server.progress)
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert_whole(home)


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_a_line_that_breaks_every_time_leaves_its_part(
    server: Server, home: Path, reset: bool
) -> None:
    server.cuts, server.reset = itertools.repeat(1000), reset
    assert_tells_what_to_do(failure(server.progress), server, home)
    assert names_in(home) == ["weights.h5.part"]
    had = (home / "weights.h5.part").read_bytes()
    assert had == BODY[: len(had)]
    assert len(had) == 1000 * len(server.ranges) > 1000

    server.cuts = iter(())
    fetch("vgg19-keras")
    assert server.ranges[-1] == f"bytes={len(had)}-"
    assert_whole(home)


def test_an_interrupted_download_leaves_its_part(server: Server, home: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch("vgg19-keras", interrupt)
    assert names_in(home) == ["weights.h5.part"]
    fetch("vgg19-keras")
    assert server.ranges[1] is not None
    assert_whole(home)


@pytest.mark.parametrize("size", [300_000, 300_000 - 12_345])
def test_a_wrong_checksum_leaves_nothing(server: Server, home: Path, size: int) -> None:
    server.body = bytes(size)
    line = failure()
    assert server.url in line
    assert hashlib.md5(server.body).hexdigest() in line
    assert KNOWN["vgg19-keras"].digest in line
    assert names_in(home) == []


def test_only_the_head_of_a_digest_may_be_known(
    server: Server, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = hashlib.sha256(BODY).hexdigest()[:8]
    monkeypatch.setitem(
        KNOWN, "vgg19-keras", replace(KNOWN["vgg19-keras"], algorithm="sha256", digest=head)
    )
    fetch("vgg19-keras")
    assert verify("vgg19-keras")
    assert_whole(home)


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_refusal_is_named(server: Server, home: Path, status: int) -> None:
    server.status = status
    line = failure()
    assert_tells_what_to_do(line, server, home)
    assert str(status) in line
    assert len(server.ranges) == 1
    assert names_in(home) == []


def test_a_refusal_keeps_the_part(server: Server, home: Path, part: Path) -> None:
    part.write_bytes(BODY[:1000])
    server.status = 404
    failure()
    assert part.read_bytes() == BODY[:1000]


def test_no_server_at_all(server: Server, home: Path) -> None:
    server.shutdown()
    server.server_close()
    assert_tells_what_to_do(failure(), server, home)
    assert names_in(home) == []


def test_a_part_that_is_complete_gets_its_name(server: Server, home: Path, part: Path) -> None:
    part.write_bytes(BODY)
    fetch("vgg19-keras")
    assert server.ranges == [f"bytes={len(BODY)}-"]
    assert_whole(home)


@pytest.mark.parametrize("size", [1000, 300_000, 300_001])
def test_a_part_of_something_else_is_not_kept(
    server: Server, home: Path, part: Path, size: int
) -> None:
    part.write_bytes(b"x" * size)
    failure()
    assert names_in(home) == []
    fetch("vgg19-keras")
    assert_whole(home)


@pytest.mark.parametrize(
    "broken",
    [b"", BODY[:-1], b"x" + BODY[1:], BODY + b"x"],
    ids=["empty", "cut", "changed", "long"],
)
def test_a_broken_cache_file_is_fetched_again(
    server: Server, home: Path, final: Path, broken: bytes
) -> None:
    home.mkdir(parents=True)
    final.write_bytes(broken)
    assert cached("vgg19-keras") == final
    assert not verify("vgg19-keras")
    fetch("vgg19-keras")
    assert server.ranges == [None]
    assert_whole(home)


def test_a_whole_cache_file_asks_nobody(server: Server, home: Path, final: Path) -> None:
    home.mkdir(parents=True)
    final.write_bytes(BODY)
    assert fetch("vgg19-keras") == final
    assert server.ranges == []


def test_a_folder_in_the_files_place(server: Server, home: Path, final: Path) -> None:
    final.mkdir(parents=True)
    assert not verify("vgg19-keras")
    assert_tells_what_to_do(failure(), server, home)


def test_a_file_in_the_folders_place(server: Server, home: Path) -> None:
    home.parent.mkdir(parents=True)
    home.write_text("not a folder")
    assert_tells_what_to_do(failure(), server, home)


def test_load_fetches_and_reads(
    server: Server, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.body = write_safetensors(
        tmp_path / "small.safetensors", random_kernels("conv2_1"), GRAY
    ).read_bytes()
    digest = hashlib.md5(server.body).hexdigest()
    url = server.url.replace(".h5", ".safetensors")
    monkeypatch.setitem(KNOWN, "vgg19-keras", replace(KNOWN["vgg19-keras"], url=url, digest=digest))
    seen: list[int] = []
    weights = load("vgg19-keras", lambda done, total: seen.append(done))
    assert weights.name == "vgg19-keras"
    assert list(weights.kernels) == ["conv1_1", "conv1_2", "conv2_1"]
    assert seen[-1] == len(server.body)
    load("vgg19-keras")
    assert len(server.ranges) == 1


def test_impasto_home_comes_first(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == home


def test_impasto_home_may_begin_with_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("IMPASTO_HOME", "~/networks")
    assert cache_folder() == tmp_path / "networks"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="XDG is what Linux has")
@pytest.mark.parametrize("home_is", [None, ""])
def test_the_xdg_cache_folder_comes_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home_is: str | None
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.delenv("IMPASTO_HOME")
    if home_is is not None:
        monkeypatch.setenv("IMPASTO_HOME", home_is)
    assert cache_folder() == tmp_path / "xdg" / "impasto"
    assert fetch("vgg19-keras") == tmp_path / "xdg" / "impasto" / "weights.h5"
