"""Limit the files of a form, and delete them when the upload breaks off.

FastAPI has no option for the number of files that it opens for a form (1,000), and gradio leaves
the files of a client that has gone.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from gradio.route_utils import GradioMultiPartParser
from starlette.datastructures import FormData

from impasto.web.jobs.policy import MOST_PICTURES

MOST_FILES = 8  # of one upload: the page sends one, and each is an open file while it comes
MOST_FIELDS = 32  # that are not files


class _BoundedRequest(Request):
    def form(self, **_: Any) -> Any:
        return super().form(max_files=MOST_PICTURES, max_fields=MOST_FIELDS)


class BoundedRoute(APIRoute):
    """A route of ours whose forms have at most MOST_PICTURES files."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, which is given bounded requests."""
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handler(_BoundedRequest(request.scope, request.receive))

        return bounded


class BoundedParser(GradioMultiPartParser):
    """gradio's parser of forms with at most MOST_FILES files."""

    def __init__(self, *given: Any, **more: Any):
        super().__init__(*given, **more)
        self.max_files = min(self.max_files, MOST_FILES)
        self.max_fields = min(self.max_fields, MOST_FIELDS)

    async def parse(self) -> FormData:
        """The form. Deletes all files that are not in it."""
        kept: list[Any] = []
        try:
            form: FormData = await super().parse()
            kept = [getattr(value, "file", None) for _, value in form.multi_items()]
        finally:  # also when the client has gone: gradio deletes them at broken forms only
            for file in self._files_to_close_on_error:
                if all(file is not other for other in kept):
                    file.close()
                    Path(file.name).unlink(missing_ok=True)
        return form
