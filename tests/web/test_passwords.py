"""Wrong passwords: how many are looked at, how late they are answered, what the log says."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from impasto.web.guard import passwords
from impasto.web.guard.passwords import Guesses


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(passwords, "EACH", 0.05)
    monkeypatch.setattr(passwords, "MOST_DUE", 0.5)


def flood(guessed: Guesses, addresses: list[str]) -> tuple[int, float]:
    """How many wrong passwords are looked at when one comes from each address at once, and how long
    it all takes."""

    async def one(address: str) -> bool:
        if guessed.too_many(address):
            return False
        await guessed.wrong(address)
        return True

    async def all_of_them() -> int:
        return sum(await asyncio.gather(*map(one, addresses)))

    began = time.monotonic()
    return asyncio.run(all_of_them()), time.monotonic() - began


def test_each_wrong_password_is_answered_late() -> None:
    guessed, began = Guesses(), time.monotonic()
    for _ in range(4):
        assert flood(guessed, ["192.0.2.1"])[0] == 1
    assert time.monotonic() - began >= 4 * 0.05


@pytest.fixture
def still(monkeypatch) -> None:
    """Has no time pass for the guesses: however slow the machine is, all come at once."""
    monkeypatch.setattr(passwords, "time", SimpleNamespace(monotonic=lambda: 0.0))


def test_few_of_many_passwords_at_once_are_checked(still) -> None:
    assert flood(Guesses(), ["192.0.2.1"] * 500)[0] <= 11


def test_the_password_of_another_address_is_still_checked() -> None:
    assert (
        flood(Guesses(), ["192.0.2.1"] * 100 + ["192.0.2.2"])[0]
        == flood(Guesses(), ["192.0.2.1"] * 100)[0] + 1
    )


def test_a_trusted_address_gets_more_checks(still) -> None:
    guessed = Guesses()
    guessed.right("192.0.2.1")
    few = flood(Guesses(), ["192.0.2.1"] * 500)[0]
    assert (
        few + passwords.TRUSTED
        <= flood(guessed, ["192.0.2.1"] * 500)[0]
        <= few + passwords.TRUSTED + 1
    )


@pytest.mark.slow
def test_the_checks_of_a_trusted_address_are_limited(monkeypatch) -> None:
    now = [0.0]
    monkeypatch.setattr(passwords, "EACH", 0.5)
    monkeypatch.setattr(passwords, "time", SimpleNamespace(monotonic=lambda: now[0]))
    guessed, looked = Guesses(), 0
    guessed.right("192.0.2.1")
    flood(guessed, ["192.0.2.1"] * 500)
    for _ in range(100):
        now[0] += 0.01
        looked += flood(guessed, ["192.0.2.1"] * 3)[0]
    assert passwords.TRUSTED <= looked <= 1.5 * passwords.TRUSTED
    now[0] += 10
    assert not guessed.too_many("192.0.2.1")


def test_an_address_is_checked_again_after_a_while() -> None:
    guessed = Guesses()
    flood(guessed, ["192.0.2.1"] * 100)
    time.sleep(0.15)
    assert not guessed.too_many("192.0.2.1")


def test_few_late_answers_are_held_at_a_time() -> None:
    guessed = Guesses()
    count, took = flood(guessed, [f"192.0.2.{k}" for k in range(200)])
    assert count == 200
    assert took < 0.5


def test_few_addresses_are_remembered(monkeypatch) -> None:
    monkeypatch.setattr(passwords, "ADDRESSES", 10)
    guessed = Guesses()
    flood(guessed, [f"192.0.2.{k}" for k in range(50)])
    for k in range(50):
        guessed.right(f"192.0.2.{k}")
    assert len(guessed._guessers) == len(guessed._trusted) == 10


def test_a_network_of_ipv6_is_one_address(still) -> None:
    assert flood(Guesses(), [f"2001:db8::{k:x}" for k in range(200)])[0] <= 11


def test_the_log_tells_of_an_address_once_in_a_while_and_never_the_password(caplog) -> None:
    flood(Guesses(), ["192.0.2.1"] * 50 + ["192.0.2.2"])
    assert sorted(caplog.messages) == [
        "a wrong password from 192.0.2.1 (1 so far)",
        "a wrong password from 192.0.2.2 (1 so far)",
    ]
