"""The filter of lists that show only open records unless another state is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin import SimpleListFilter
from django.http import HttpRequest
from unfold.views import ChangeList


class OpenStateFilter(SimpleListFilter):
    title = parameter_name = "state"
    open_label = ""
    closed_states: Sequence[tuple[str, str]] = ()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [*self.closed_states, ("all", "All")]

    def choices(self, changelist: ChangeList) -> Any:
        choices = list(super().choices(changelist))
        choices[0]["display"] = self.open_label
        return choices
