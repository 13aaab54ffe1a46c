"""The entry point of `impasto`: it prints an error as one line, and exits with a code."""

from __future__ import annotations

import logging
import sys
from copy import copy
from typing import TYPE_CHECKING

import click

from impasto.cli import exit_codes
from impasto.cli.commands.batch import batch
from impasto.cli.commands.compare import compare
from impasto.cli.commands.curves import curves
from impasto.cli.commands.demo import demo
from impasto.cli.commands.features import features
from impasto.cli.commands.film import film
from impasto.cli.commands.grid import grid
from impasto.cli.commands.info import info
from impasto.cli.commands.paint import paint
from impasto.cli.commands.presets import presets
from impasto.cli.commands.reconstruct import reconstruct
from impasto.cli.commands.resume import resume
from impasto.cli.commands.serve import serve
from impasto.cli.commands.sheet import sheet
from impasto.cli.commands.show import show
from impasto.cli.commands.texture import texture
from impasto.cli.commands.weights import weights
from impasto.cli.streams import accept_any_text
from impasto.errors import ImpastoError, out_of_memory, use_option_names
from impasto.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with a code. arguments: None: the process's."""
    accept_any_text()
    before = use_option_names()
    try:
        _run(arguments)
    finally:
        use_option_names(before)


def _run(arguments: Sequence[str] | None) -> None:
    # Pillow's remarks on broken files: our error message is enough
    logging.getLogger("PIL").addHandler(logging.NullHandler())
    try:
        code = cli.main(
            None if arguments is None else list(arguments), "impasto", standalone_mode=False
        )
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(exit_codes.ERROR)
    except click.ClickException as error:
        _fail(error.format_message())
    except ImpastoError as error:
        _fail(str(error))
    except (KeyboardInterrupt, click.Abort):
        click.echo("impasto: stopped", err=True)
        sys.exit(exit_codes.STOPPED)
    except BrokenPipeError:
        sys.exit(exit_codes.BROKEN_PIPE)
    except (MemoryError, RuntimeError) as error:
        if not out_of_memory(error):
            raise
        _fail("not enough memory for this size: give a smaller --size")
    sys.exit(code or 0)


def _fail(message: str) -> None:
    line = " ".join(message.split())
    click.echo(f"impasto: {line}", err=True)
    sys.exit(exit_codes.ERROR)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="impasto")
def cli() -> None:
    """Paint any picture in the style of any other."""


for command in (
    paint,
    resume,
    batch,
    film,
    demo,
    sheet,
    texture,
    compare,
    reconstruct,
    grid,
    curves,
    features,
    serve,
    show,
    presets,
    weights,
    info,
):
    cli.add_command(command)

progress = copy(grid)  # the former name of `grid`
progress.hidden = True
cli.add_command(progress, "progress")
