"""What `impasto` and `python -m impasto` run."""

import sys

from impasto.extras import EXTRAS, needs_extra
from impasto.process import prepare_process

__all__ = ["main"]


def main() -> None:
    """Run the command line; Ctrl-C while it is still being imported ends it as it does later."""
    prepare_process()
    try:
        from impasto.cli.main import main as run
    except KeyboardInterrupt:
        print("impasto: stopped", file=sys.stderr)
        sys.exit(130)
    except ImportError as error:
        if error.name not in EXTRAS["cli"]:
            raise
        print(f"impasto: {needs_extra('the command line', 'cli')}", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
