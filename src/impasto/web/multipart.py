"""Forms with files: so many files in one, and none of them left when a request breaks off."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import FormData

from impasto.web.policy import MOST_PICTURES

__all__ = ["BoundedRoute", "bounded_parser"]

MOST_FILES = 8  # of one upload; the page sends one, and each is an open file while it comes
MOST_FIELDS = 32  # that are no files


class _BoundedRequest(Request):
    """A request whose form has as many files as there are pictures to a painting, at most."""

    def form(self, **_: Any) -> Any:
        return super().form(max_files=MOST_PICTURES, max_fields=MOST_FIELDS)


class BoundedRoute(APIRoute):
    """A route whose forms are bounded while they are read: FastAPI would open a thousand files."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Answer a request as a bounded one."""
        handler = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handler(_BoundedRequest(request.scope, request.receive))

        return bounded


def bounded_parser(parser: type[Any]) -> type[Any]:
    """gradio's parser of forms, bounded; it removes the files of a form that does not come to its
    end."""

    class Bounded(parser):  # type: ignore[misc]
        """Reads a form."""

        def __init__(self, *given: Any, **more: Any):
            files, fields = more.get("max_files", MOST_FILES), more.get("max_fields", MOST_FIELDS)
            more |= {"max_files": min(files, MOST_FILES), "max_fields": min(fields, MOST_FIELDS)}
            super().__init__(*given, **more)

        async def parse(self) -> FormData:
            """The form."""
            try:
                found: FormData = await super().parse()
            # also that the client has gone: gradio removes them at broken forms only
            except BaseException:
                self._remove_but(())
                raise
            self._remove_but([getattr(value, "file", None) for _, value in found.multi_items()])
            return found

        def _remove_but(self, kept: Any) -> None:
            for file in self._files_to_close_on_error:
                if all(file is not each for each in kept):
                    file.close()
                    Path(file.name).unlink(missing_ok=True)

    return Bounded
