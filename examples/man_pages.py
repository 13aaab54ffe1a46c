"""Write a man page for every command: python examples/man_pages.py [FOLDER]

Then `man -l man/impasto-paint.1`.
"""

import sys
from pathlib import Path

import click
from click_man.core import write_man_pages

from impasto.cli.main import cli
from impasto.version import __version__

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write impasto.1, impasto-paint.1 and so on into a folder, by default man/."""
    folder = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "man"
    folder.mkdir(parents=True, exist_ok=True)
    write_man_pages("impasto", cli, version=__version__, target_dir=str(folder))
    click.echo(f"{len(list(folder.glob('*.1')))} pages in {folder}")


if __name__ == "__main__":
    main()
