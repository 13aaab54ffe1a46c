"""A download that resumes, is checked, and only then gets its name."""

from __future__ import annotations

import hashlib
import os
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from impasto.errors import WeightsError

__all__ = ["Progress", "digest_of", "download"]

Progress = Callable[[int, int], None]
TRIES = 4
BLOCK = 1 << 20


def download(
    url: str, path: Path, algorithm: str, digest: str, progress: Progress | None = None
) -> None:
    """Fetch `url` to `path` by way of `path`.part, which a later call goes on with.

    A cut connection is taken up again where it broke. The file gets its name only if its digest
    starts with `digest`. Raises OSError when the server cannot be reached or refuses, WeightsError
    when what came has another checksum.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    for attempt in range(TRIES):
        try:
            total = _append(url, part, progress)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code != 416:  # 416: nothing after what we have
                raise
            total = part.stat().st_size
        except (OSError, HTTPException) as error:
            before = part.stat().st_size if part.exists() else 0
            if attempt == TRIES - 1 or not before:
                raise OSError(str(error)) from error
            continue
        if part.stat().st_size >= total:
            break
    else:
        raise OSError(
            f"the connection broke {TRIES} times at {part.stat().st_size:,} of {total:,} bytes"
        )
    found = digest_of(part, algorithm)
    if not found.startswith(digest):
        part.unlink()
        raise WeightsError(
            f"{url} sent a file with {algorithm} {found}, expected {digest}: it was thrown away",
            found,
            digest,
        )
    os.replace(part, path)


def digest_of(path: Path, algorithm: str) -> str:
    """The hexadecimal digest of a file, read in blocks."""
    state = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            state.update(block)
    return state.hexdigest()


def _append(url: str, part: Path, progress: Progress | None) -> int:
    """Add to `part` what the server has after it; the whole file's size in bytes (what came, if it
    does not say)."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=30) as answer:
        resumed = answer.status == 206
        have = have if resumed else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else 0
        with part.open("ab" if resumed else "wb") as file:
            # what is there: a cut line must not lose a block half come
            while block := answer.read1(BLOCK):
                file.write(block)
                have += len(block)
                if progress:
                    progress(have, max(total, have))
    return total or have
