"""manage.py transform: print the warehouse rows of events from standard input."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from django.core.management.base import BaseCommand

from destinations.warehouse.rows.transform import (
    Metadata,
    Options,
    TransformError,
    skip_reason,
    transform,
)


class Command(BaseCommand):
    help = (
        "Show the warehouse rows of events without storing them. Reads JSON lines from standard "
        "input. Each line is an event, or an object with event, destination_options, metadata and "
        "name."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: object, **options: object) -> None:
        for number, line in enumerate(sys.stdin.buffer, start=1):
            if line.strip():
                self.stdout.write(_output_line(line, f"line {number}"))


def _output_line(line: bytes, name: str) -> str:
    """The rows of a line as JSON, or the reason why it has none."""
    try:
        case = _case(json.loads(line))
        if isinstance(case.get("name"), str):
            name = case["name"]
        return json.dumps({"name": name, **_rows(case)}, allow_nan=False)
    except RecursionError:
        return json.dumps({"name": name, "error": "the line is nested too deep"})
    except ValueError as error:  # no JSON, no UTF-8, a number past all limits, a TransformError
        return json.dumps({"name": name, "error": str(error)})


def _case(value: Any) -> dict[str, Any]:
    """The line as a case; an event alone, which has a type, becomes a case without a name."""
    if not isinstance(value, dict):
        raise TransformError(f"the line is {type(value).__name__}, expected an object")
    is_case = "type" not in value and isinstance(value.get("event"), dict)
    return value if is_case else {"event": value}


def _rows(case: dict[str, Any]) -> dict[str, Any]:
    event = case["event"]
    rows = transform(
        event,
        _metadata(_object(case, "metadata")),
        Options.from_config(_object(case, "destination_options")),
        new_id=lambda: str(uuid4()),
    )
    reason = skip_reason(event)
    if reason is None:
        listed = [{"table": row.table, "columns": row.types, "data": row.values} for row in rows]
        return {"expected": listed}
    if event["type"].lower() == "merge":
        return {"expected": [], "skipped": reason}
    return {"error": reason}


def _object(case: dict[str, Any], key: str) -> dict[str, Any]:
    value = case.get(key)
    if value is not None and not isinstance(value, dict):
        raise TransformError(f"{key} is {type(value).__name__}, expected an object")
    return value or {}


def _metadata(values: dict[str, Any]) -> Metadata:
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    return Metadata(
        source_id=values.get("sourceId") or "",
        source_type=values.get("sourceType") or "",
        source_category=values.get("sourceCategory"),
        destination_id=values.get("destinationId") or "",
        destination_type=values.get("destinationType") or "POSTGRES",
        received_at=values.get("receivedAt") or now,
    )
