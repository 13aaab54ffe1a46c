"""The server's log does not repeat itself."""

import logging

import pytest

from impasto.web.guard import logs
from impasto.web.guard.logs import OneLine, kept_short

log = logging.getLogger("impasto.studio")


@pytest.fixture(autouse=True)
def short():
    with kept_short():
        yield


def test_equal_lines_are_said_once_and_then_counted(caplog, monkeypatch) -> None:
    for _ in range(1000):
        log.warning("no room for %s", "a.png")
    assert caplog.messages == ["no room for a.png"]
    monkeypatch.setattr(logs, "EVERY", 0.0)
    log.warning("no room for %s", "a.png")
    assert caplog.messages[1] == "no room for a.png (and 999 more like it)"


def test_lines_of_a_kind_are_few(caplog) -> None:
    for k in range(1000):
        log.warning("no room for %s", k)
    assert len(caplog.messages) == logs.MOST


def test_other_lines_are_said(caplog) -> None:
    for text in ("one", "two", "three"):
        log.warning(text)
    assert caplog.messages == ["one", "two", "three"]


def test_an_error_of_the_system_is_one_line(caplog) -> None:
    for _ in range(3):
        try:
            raise OSError(24, "Too many open files")
        except OSError:
            logging.getLogger("asyncio").exception(
                "socket.accept() out of system resource\nsocket: <0>"
            )
    assert caplog.messages == [
        "socket.accept() out of system resource: [Errno 24] Too many open files"
    ]
    assert caplog.records[0].exc_info is None


def test_what_gradio_does_not_understand_is_one_line(caplog) -> None:
    try:
        raise ValueError("a\nb" * 500)
    except ValueError:
        OneLine.print_exc()
    assert len(caplog.messages) == 1
    assert len(caplog.messages[0].splitlines()) == 1
    assert "ValueError: a ba b" in caplog.messages[0]
    assert "test_logs.py, line" in caplog.messages[0]
    assert len(caplog.messages[0]) < 600
