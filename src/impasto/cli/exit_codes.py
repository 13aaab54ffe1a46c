"""The exit codes of `impasto`; docs/exit_codes.md explains them."""

from __future__ import annotations

BROKEN_PIPE = 1  # the reader of the output has closed it
ERROR = 2  # an error that the user can fix
PARTLY = 3  # some pictures could not be painted
DOUBTFUL = 4  # painted, but the result is doubtful
STOPPED = 130  # stopped before there was a picture, or a stopped batch or film
