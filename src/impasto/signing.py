"""Sign the files that a run writes, so that a later run can tell them from files of others.

The paths and addresses in a signed file are the user's own; those in any other file may not be.
"""

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

__all__ = ["is_signed", "key_file", "sign"]

LENGTH = 32  # bytes of the key


def key_file() -> Path:
    """Return the path of this user's key: in $IMPASTO_HOME, or the user's data folder (XDG)."""
    home = os.environ.get("IMPASTO_HOME")
    # unlike Path.expanduser it never raises
    return Path(os.path.expanduser(home) if home else user_data_path("impasto")) / "key"


def sign(record: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON record with this user's signature added; "" if there can be no key."""
    try:
        with suppress(FileExistsError):
            _make_key(key_file())
        return {**record, "signature": _signature(record)}
    except OSError:
        return {**record, "signature": ""}


def is_signed(record: dict[str, Any]) -> bool:
    """Return whether a record has this user's signature, and is unchanged since it was signed."""
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
    """Write a new key atomically. Raises FileExistsError if there is one, or OSError."""
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
            os.link(part, path)  # a rename would replace a key just written by another process
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink()
