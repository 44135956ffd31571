from __future__ import annotations

from typing import Any

from django.contrib.admin import ShowFacets
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from events.masking import PERMISSION


class ReadOnlyAdmin(ModelAdmin):
    """A record of what happened: nobody adds, edits or deletes it here."""

    actions = None
    show_full_result_count = False
    list_per_page = 50
    sortable_by = ()
    show_facets = ShowFacets.NEVER  # they count
    change_form_outer_after_template = "events/parts.html"

    def hide(self, record: Any) -> None:
        """Take what tells of a person out of a record, for those who may not see it."""

    holds_personal_data = False

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        record = super().get_object(request, object_id, from_field)
        if record is not None and not request.user.has_perm(PERMISSION):
            self.hide(record)
        return record

    def _note_look(self, request: HttpRequest, record: Any) -> None:
        if self.holds_personal_data and request.user.has_perm(PERMISSION):
            self.log_change(request, record, "Looked at personal data.")

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
            self._note_look(request, record)
        context = {**(extra_context or {}), "parts": self.parts(request, record) if record else []}
        return super().change_view(request, object_id, form_url, context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
