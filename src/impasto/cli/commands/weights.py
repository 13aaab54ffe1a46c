"""`impasto weights`: the networks' files: list, fetch, verify."""

from __future__ import annotations

import click

__all__ = ["weights"]


@click.group()
def weights() -> None:
    """The networks' files: list, fetch, verify."""


@weights.command("list")
def list_weights() -> None:
    """List the networks: where each comes from, and whether its file is here."""
    from impasto.backbone.weights import KNOWN, cached, known

    for name in known():
        click.echo(f"{name:18} {KNOWN[name].about}\n{'':18} {cached(name) or 'not here'}")


@weights.command("fetch")
@click.argument("name")
def fetch_weights(name: str) -> None:
    """Download the network NAME, or go on with a download that broke."""
    from impasto.backbone.weights import fetch
    from impasto.cli.progress_bar import downloading, make_console

    with downloading(make_console(), name) as progress:
        click.echo(fetch(name, progress))


@weights.command("verify")
@click.argument("name", required=False)
def verify_weights(name: str | None) -> None:
    """Check the files that are here (or the one of NAME) against their checksums; exit code 2 if
    one is broken."""
    from impasto.backbone.weights import cached, known, verify
    from impasto.errors import WeightsError

    broken = []
    for each in [name] if name else known():
        path = cached(each)
        whole = path is not None and verify(each)
        click.echo(f"{each:18} {'not here' if path is None else 'whole' if whole else 'broken'}")
        if path is not None and not whole:
            broken.append(str(path))
    if broken:
        raise WeightsError(
            f"broken: {', '.join(broken)}; fetch it again, or install impasto again for compact",
            broken,
        )
