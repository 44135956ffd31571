"""A form field for a list of texts."""

from __future__ import annotations

from typing import Any

from django import forms
from django.core.exceptions import ValidationError


class LinesField(forms.CharField):
    """A list of texts without repetitions, shown one per line."""

    def items(self, text: str) -> list[str]:
        return [line.strip() for line in text.splitlines() if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        text = "\n".join(value) if isinstance(value, list) else str(value or "")
        return list(dict.fromkeys(self.items(text)))

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != (initial or []))
        except ValidationError:
            return True
