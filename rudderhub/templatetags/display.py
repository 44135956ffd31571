"""The ways of rudderhub.admin.base.display to show times and ids, for templates."""

from __future__ import annotations

from datetime import datetime

from django.template import Library
from django.utils.safestring import SafeString

from rudderhub.admin.base import display

register = Library()


@register.filter
def when(moment: datetime | None, never: str = "never") -> SafeString:
    return display.when(moment, never)


@register.filter
def copyable(text: object) -> SafeString:
    return display.copyable(str(text))


@register.filter
def copy_button(text: object) -> SafeString:
    return display.copy_button(str(text))
