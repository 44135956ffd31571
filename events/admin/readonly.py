from __future__ import annotations

from typing import Any

from django.contrib.admin import ShowFacets
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from events.admin.looks import LOOKED, note_list
from events.masking import PERMISSION


class ReadOnlyAdmin(ModelAdmin):
    """A record of what happened: nobody adds, edits or deletes it here."""

    actions = None
    show_full_result_count = False
    list_per_page = 50
    sortable_by = ()
    show_facets = ShowFacets.NEVER  # they count
    change_form_outer_after_template = "events/parts.html"

    holds_personal_data = False
    lists_personal_data = False
    personal_fields: tuple[str, ...] = ()
    """Nobody filters by them who may not see them: part by part a value could be told."""
    masked_search_fields: tuple[str, ...] | None = None
    masked_search_help_text = ""

    def hide(self, record: Any) -> None:
        """Take what tells of a person out of a record, for those who may not see it."""

    def hide_listed(self, record: Any) -> None:
        """The same for a record in the list, which shows less of it."""

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        record = super().get_object(request, object_id, from_field)
        if record is not None and not _sees(request):
            self.hide(record)
        return record

    def get_search_fields(self, request: HttpRequest) -> Any:
        if _sees(request) or self.masked_search_fields is None:
            return super().get_search_fields(request)
        return self.masked_search_fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        if lookup.partition(LOOKUP_SEP)[0] in self.personal_fields and not _sees(request):
            return False
        return super().lookup_allowed(lookup, value, request)

    def note_look(self, request: HttpRequest, record: Any) -> None:
        if self.holds_personal_data and _sees(request):
            self.log_change(request, record, LOOKED)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        found = super().get_changelist_instance(request)
        if not _sees(request):
            self._hide_list(found)
        elif self.lists_personal_data:
            note_list(request.user, self.model)
        return found

    def _hide_list(self, found: Any) -> None:
        found.search_help_text = self.masked_search_help_text or found.search_help_text
        for record in found.result_list:
            self.hide_listed(record)

    def parts(self, request: HttpRequest, record: Any) -> list[tuple[str, SafeString]]:
        """Titles and contents shown over the whole width below the fields."""
        return []

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        record = self.get_object(request, object_id)
        if record is not None and request.method == "GET" and self.has_view_permission(request):
            self.note_look(request, record)
        context = {**(extra_context or {}), "parts": self.parts(request, record) if record else []}
        return super().change_view(request, object_id, form_url, context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _sees(request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)
