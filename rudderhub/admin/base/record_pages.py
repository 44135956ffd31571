"""The base of admins with further pages for each record, and the context of their templates."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from unfold.admin import ModelAdmin
from unfold.views import ChangeList

_BIGINT_DIGITS = 19


def parse_pk(text: str) -> int | None:
    """The primary key in a URL; None for text that is no bigint."""
    return int(text) if text.isdecimal() and len(text) < _BIGINT_DIGITS else None


class RowsChangeList(ChangeList):
    result_list: list[Any]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = self.model_admin.rows(self.result_list, request)


class RowsAdmin(ModelAdmin):
    """Adds values to the records of a list or a page, for all of them at once."""

    @abstractmethod
    def rows(self, records: Iterable[Any], request: HttpRequest) -> list[Any]:
        """The same records, each with its values."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RowsChangeList]:
        return RowsChangeList

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        record = super().get_object(request, object_id, from_field)
        return self.rows([record], request)[0] if record else None


class RecordPages(ModelAdmin):
    """Adds views below the address of a record, such as its connection test."""

    def record_context(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """The context that the templates of the record's page get in addition to Django's."""
        return {}

    def record_views(self) -> dict[str, Callable[..., HttpResponse]]:
        """The views by the last part of their address; each takes the request and the pk."""
        return {}

    def added_text(self, record: Any) -> str:
        """The message after the record was added; empty for Django's message and redirect."""
        return ""

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

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Redirect to the new record's page, which shows the next step."""
        text = self.added_text(obj)
        if not text or "_popup" in request.POST or "_addanother" in request.POST:
            return super().response_add(request, obj, post_url_continue)
        messages.success(request, text)
        return self.record_redirect(obj.pk)

    def record_page(
        self, request: HttpRequest, pk: int, template: str, context: dict[str, Any]
    ) -> HttpResponse:
        """A page about the record, with a link back to it."""
        shared = {**self.admin_site.each_context(request), "opts": self.opts}
        context = {**shared, "back": self.record_url("change", pk), **context}
        return TemplateResponse(request, template, context)

    def record_url(self, name: str, pk: int) -> str:
        """The address of a record's view by name; "change" is the record's page."""
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
