"""The base of pages that show records nobody edits, with their personal data masked."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ShowFacets
from django.db.models.constants import LOOKUP_SEP
from django.http import HttpRequest
from django.utils.safestring import SafeString

from events.protocol.masking import PERMISSION
from rudderhub.admin.base.personal_data_audit import RECORD_READ, audit_list
from rudderhub.admin.base.record_pages import RecordPages


class ReadOnlyAdmin(RecordPages):
    """Records that nobody adds, edits or deletes here."""

    actions = None
    show_full_result_count = False
    list_per_page = 50
    sortable_by = ()
    show_facets = ShowFacets.NEVER  # they count
    change_form_outer_after_template = "rudderhub/base/record_parts.html"

    holds_personal_data = False
    lists_personal_data = False
    personal_fields: tuple[str, ...] = ()
    """Fields that only users with the permission may filter by, since filters reveal values."""
    masked_search_fields: tuple[str, ...] | None = None
    masked_search_help_text = ""

    def mask(self, record: Any) -> None:
        """Mask the personal data of a record, for users without the permission."""

    def mask_listed(self, record: Any) -> None:
        """Mask the personal data that the list shows of a record."""

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> Any:
        record = super().get_object(request, object_id, from_field)
        if record is not None and not _may_see_personal_data(request):
            self.mask(record)
        return record

    def get_search_fields(self, request: HttpRequest) -> Any:
        if _may_see_personal_data(request) or self.masked_search_fields is None:
            return super().get_search_fields(request)
        return self.masked_search_fields

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        is_personal = lookup.partition(LOOKUP_SEP)[0] in self.personal_fields
        if is_personal and not _may_see_personal_data(request):
            return False
        return super().lookup_allowed(lookup, value, request)

    def audit_read(self, request: HttpRequest, record: Any) -> None:
        if self.holds_personal_data and _may_see_personal_data(request):
            self.log_change(request, record, RECORD_READ)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changelist = super().get_changelist_instance(request)
        if not _may_see_personal_data(request):
            self._mask_changelist(changelist)
        elif self.lists_personal_data:
            audit_list(request.user, self.model)
        return changelist

    def _mask_changelist(self, changelist: Any) -> None:
        changelist.search_help_text = self.masked_search_help_text or changelist.search_help_text
        for record in changelist.result_list:
            self.mask_listed(record)

    def parts(self, request: HttpRequest, record: Any) -> list[tuple[str, SafeString]]:
        """Titles and contents that are shown over the whole width below the fields."""
        return []

    def record_context(self, request: HttpRequest, record: Any) -> dict[str, Any]:
        """The parts of the record; viewing them is audited."""
        if request.method == "GET" and self.has_view_permission(request):
            self.audit_read(request, record)
        return {"parts": self.parts(request, record)}

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _may_see_personal_data(request: HttpRequest) -> bool:
    return request.user.has_perm(PERMISSION)
