"""Pages and buttons of one record, and what its templates get."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin


class RecordPages(ModelAdmin):
    """An admin whose records have views of their own, below the record's address."""

    def record_context(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """What the templates of the record's page get beside Django's context."""
        return {}

    def record_views(self) -> dict[str, Callable[..., HttpResponse]]:
        """Views by the rest of their address; each takes the request and the record's pk."""
        return {}

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        record = self.get_object(request, object_id)
        context = self.record_context(request, record) if record is not None else {}
        return super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **context}
        )

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        views = [
            path(f"<int:pk>/{rest}/", wrap(view), name=self._url_name(rest.replace("-", "_")))
            for rest, view in self.record_views().items()
        ]
        return [*views, *super().get_urls()]

    def record_url(self, name: str, pk: int) -> str:
        """The address of a record's view, or of its page by the name "change"."""
        return reverse(f"admin:{self._url_name(name)}", args=[pk])

    def record_redirect(self, pk: int) -> HttpResponse:
        return HttpResponseRedirect(self.record_url("change", pk))

    def changeable(self, request: HttpRequest, pk: int) -> Any:
        """The record, if the user may change it; 403 or 404 otherwise."""
        record = get_object_or_404(self.model, pk=pk)
        if not self.has_change_permission(request, record):
            raise PermissionDenied
        return record

    def _url_name(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name}"
