"""Signatures of the files that this user's own runs have written: what they name, the user has
typed."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from impasto.records import read_regular

__all__ = ["is_signed", "key_file", "signed"]

LENGTH = 32  # bytes of the key


def key_file() -> Path:
    """Where this user's secret key lies: in $IMPASTO_HOME, or the user's data folder (XDG)."""
    home = os.environ.get("IMPASTO_HOME")
    # which never raises
    return Path(os.path.expanduser(home) if home else user_data_path("impasto")) / "key"


def signed(record: dict[str, Any]) -> dict[str, Any]:
    """A record as JSON has it, with this user's signature in it; "" where no key can be read or
    made."""
    try:
        with suppress(FileExistsError):
            _make_key(key_file())
        return {**record, "signature": _signature(record)}
    except OSError:
        return {**record, "signature": ""}


def is_signed(record: dict[str, Any]) -> bool:
    """Whether a record that was read back carries the signature of this user, and is as it was
    signed."""
    rest = {name: value for name, value in record.items() if name != "signature"}
    try:
        return hmac.compare_digest(_signature(rest), str(record.get("signature", "")))
    except (OSError, TypeError):  # no key; a signature that is not ASCII
        return False


def _signature(record: dict[str, Any]) -> str:
    key = read_regular(key_file(), LENGTH)
    if len(key) < LENGTH:
        raise OSError(f"{key_file()} is not a key")
    return hmac.new(key, json.dumps(record, sort_keys=True).encode(), hashlib.sha256).hexdigest()


def _make_key(path: Path) -> None:
    """Make a key that appears whole. Raises FileExistsError if there is one, OSError."""
    if path.exists():
        raise FileExistsError(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(LENGTH))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(part, path)  # a rename would replace the key that another process has just made
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()
