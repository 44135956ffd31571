"""The template filters that show times and ids as rudderhub.admin.base.display does."""

from __future__ import annotations

from django.template import Library
from django.template.defaultfilters import stringfilter

from rudderhub.admin.base import display

register = Library()
register.filter("relative_time", display.relative_time)
register.filter("copyable_text", stringfilter(display.copyable_text))
register.filter("copy_button", stringfilter(display.copy_button))
