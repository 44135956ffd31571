from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.destinations.warehouse.rows.golden import CASES, DEVIATIONS, is_equal, lines

ROOT = Path(__file__).parents[4]


def transformed_lines(given: bytes) -> list[dict[str, Any]]:
    """What `manage.py transform` prints for these lines."""
    done = subprocess.run(
        [sys.executable, "manage.py", "transform"],
        cwd=ROOT,
        input=given,
        capture_output=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def transformed_line(line: str) -> dict[str, Any]:
    return transformed_lines(line.encode())[0]


def test_every_golden_case_passes_through_the_command():
    cases = lines("golden_warehouse.jsonl")

    printed = transformed_lines((CASES / "golden_warehouse.jsonl").read_bytes())

    assert [line["name"] for line in printed] == [case["name"] for case in cases]
    pairs = zip(printed, cases, strict=True)
    different = {case["name"] for line, case in pairs if not is_equal(line, case)}
    assert different == set(DEVIATIONS)


def test_a_bare_event_is_named_after_its_line():
    line = transformed_line(
        '{"type":"page","name":"Home","messageId":"m","receivedAt":"2024-01-01"}\n'
    )

    assert line["name"] == "line 1"
    assert line["expected"][0]["table"] == "pages"
    assert line["expected"][0]["data"]["received_at"] == "2024-01-01T00:00:00.000Z"


def test_every_line_has_an_answer_whatever_it_says():
    given = [
        b'{"type":"merge"}',
        b'{"type":"audiencelist"}',
        b"not json",
        b"",
        b"\xff",
        b"[1]",
        b"[" * 100_000,
        b'{"name":"x","event":{"type":"page"},"metadata":[1]}',
        b'{"type":"page","properties":{"a":' + b"9" * 5000 + b"}}",
        b'{"type":"page","properties":{"a":1e999}}',
        b'{"type":"page","properties":{"a":1.0,"b":12345678901234567890}}',
    ]

    lines = transformed_lines(b"\n".join(given))

    assert lines[0] == {
        "name": "line 1",
        "expected": [],
        "skipped": "merge events link identities and have no table",
    }
    assert [line["name"] for line in lines if "error" in line] == [
        "line 2",
        "line 3",
        "line 5",
        "line 6",
        "line 7",
        "x",
        "line 9",
        "line 10",
    ]
    assert lines[-1]["expected"][0]["data"]["a"] == 1
    assert lines[-1]["expected"][0]["data"]["b"] == 12345678901234567890
