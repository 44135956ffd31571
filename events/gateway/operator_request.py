"""Builds requests of operators in the form in which senders' requests reach the gateway."""

from __future__ import annotations

import io
from dataclasses import dataclass

from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse


@dataclass(frozen=True)
class Outcome:
    """The answer that a sender would have received."""

    status: int
    answer: str

    @property
    def accepted(self) -> bool:
        return self.status == 200  # noqa: PLR2004


def operator_request(
    path: str,
    content: bytes,
    *,
    method: str = "POST",
    content_type: str = "application/json",
    address: str = "",
    **headers: str,
) -> WSGIRequest:
    """A request for a view: the content of a GET is its query; headers have WSGI names."""
    query, body = (content, b"") if method == "GET" else (b"", content)
    return WSGIRequest(
        {
            "REQUEST_METHOD": method,
            "PATH_INFO": path,
            "QUERY_STRING": query.decode(errors="surrogateescape"),
            "CONTENT_LENGTH": str(len(body)),
            "CONTENT_TYPE": content_type,
            "REMOTE_ADDR": address,
            "SERVER_NAME": "localhost",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            **headers,
        }
    )


def response_outcome(response: HttpResponse) -> Outcome:
    return Outcome(response.status_code, response.content.decode(errors="replace"))
