"""The form of a source."""

from __future__ import annotations

import re
from typing import ClassVar

from django import forms
from django.core.exceptions import ValidationError
from unfold.widgets import UnfoldAdminTextareaWidget

from rudderhub.admin.base.lines_field import LinesField
from sources.models import Source

_ORIGIN = re.compile(r"https?://(?:[a-z0-9.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")


def normalised_origin(text: str) -> str:
    """The origin as browsers send it: scheme and host, and the port unless it is the default."""
    origin = text.lower().removesuffix("/")
    if not _ORIGIN.fullmatch(origin):
        raise ValidationError(
            "%(text)s is not an origin. Enter only scheme, host and port, like "
            "https://shop.example",
            params={"text": text},
        )
    default_port = ":443" if origin.startswith("https:") else ":80"
    return origin.removesuffix(default_port)


class OriginsField(LinesField):
    """A list of origins, shown one per line; spaces separate them as well."""

    def items(self, text: str) -> list[str]:
        return [normalised_origin(origin) for origin in text.split()]


class SourceForm(forms.ModelForm):  # type: ignore[type-arg]
    allowed_origins = OriginsField(
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text=(
            "Web sites that can send from a browser, one per line, such as https://shop.example. "
            "Leave empty to allow all. Servers send no origin and are always allowed."
        ),
    )

    class Meta:
        model = Source
        fields = (
            "name",
            "type",
            "enabled",
            "on_invalid_event",
            "allowed_origins",
            "rate_limit_requests",
            "rate_limit_window_seconds",
            "max_event_bytes",
            "max_body_bytes",
        )
        labels: ClassVar = {
            "rate_limit_requests": "Maximum requests",
            "rate_limit_window_seconds": "per … seconds",
            "max_event_bytes": "Maximum bytes per event",
            "max_body_bytes": "Maximum bytes per request",
        }
