"""`impasto weights`: list, download and verify the files of networks."""

from __future__ import annotations

import click


@click.group()
def weights() -> None:
    """List, download and verify the files of networks."""


@weights.command("list")
def list_weights() -> None:
    """List the networks: where each comes from, and whether its file is here."""
    from impasto.backbone.weights import KNOWN, cached, known

    for name in known():
        click.echo(f"{name:18} {KNOWN[name].about}\n{'':18} {cached(name) or 'not here'}")


@weights.command("fetch")
@click.argument("name")
def fetch_weights(name: str) -> None:
    """Download the network NAME, or continue an interrupted download."""
    from impasto.backbone.weights import fetch
    from impasto.cli.progress_bar import download_bar, make_console

    with download_bar(make_console(), name) as progress:
        click.echo(fetch(name, progress))


@weights.command("verify")
@click.argument("name", required=False)
def verify_weights(name: str | None) -> None:
    """Check the downloaded files against their checksums, or only that of NAME.

    The exit code is 2 if one is broken.
    """
    from impasto.backbone.weights import cached, known, verify
    from impasto.errors import WeightsError

    broken = []
    for network in [name] if name else known():
        path = cached(network)
        if path is None:
            state = "not here"
        elif verify(network):
            state = "whole"
        else:
            state = "broken"
            broken.append(str(path))
        click.echo(f"{network:18} {state}")
    if broken:
        raise WeightsError(
            f"broken: {', '.join(broken)}; fetch it again, or install impasto again for compact",
            broken,
        )
