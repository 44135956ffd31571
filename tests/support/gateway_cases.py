"""Requests and expectations as cases/gateway_cases.json writes them."""

from __future__ import annotations

import base64
import gzip
import json
import re
from datetime import datetime


class Case:
    """A case with its placeholders filled in."""

    def __init__(self, case, values):
        self.values = values
        self.expect = case["expect"]
        self.stored = case.get("stored", {})
        self.case = case

    def request(self, case=None):
        case = case or self.case
        form = case["body"]
        options = {}
        if isinstance(form, dict) and "$chunked" in form:
            form, options = form["$chunked"], {"chunked": True}
        elif isinstance(form, dict) and "$announce" in form:
            form, options = None, {"announce": form["$announce"]}
        headers = {name: self.fill(value).decode() for name, value in case["headers"].items()}
        return {
            "method": case["method"],
            "path": self.fill(case["path"]).decode(),
            "headers": headers,
            "body": None if form is None else self.fill(form),
            **options,
        }

    def fill(self, form):
        """The bytes of a form."""
        if isinstance(form, str):
            return re.sub(r"\{\{(\w+)\}\}", lambda match: self.values[match[1]], form).encode()
        if "$base64" in form:
            return base64.b64decode(form["$base64"])
        if "$repeat" in form:
            return self.fill(form["of"]) * form["$repeat"]
        if "$concat" in form:
            return b"".join(map(self.fill, form["$concat"]))
        packed = gzip.compress(self.fill(form["$gzip"]))
        return packed[: len(packed) - form.get("truncate", 0)]

    def faults_of_answer(self, answer):
        """What differs from the expectation; empty when nothing does."""
        expect, text = self.expect, answer.body.decode(errors="replace")
        contains = expect.get("body_contains", [])
        contains = [contains] if isinstance(contains, str) else contains
        checks = {
            "status": self.matches(answer.status, expect["status"]),
            "body_exact": "body_exact" not in expect
            or text.rstrip() == self.filled(expect["body_exact"]).rstrip(),
            "body_contains": all(self.filled(part) in text for part in contains),
            "body_not_contains": not any(
                self.filled(part).lower() in text.lower()
                for part in expect.get("body_not_contains", [])
            ),
            "body_regex": "body_regex" not in expect or bool(re.search(expect["body_regex"], text)),
            "body_base64": "body_base64" not in expect
            or answer.body == base64.b64decode(expect["body_base64"]),
            "body_json_keys": all(
                key in json.loads(text) for key in expect.get("body_json_keys", [])
            ),
            **{
                path: self.matches(member(json.loads(text), path), wanted)
                for path, wanted in expect.get("body_json_paths", {}).items()
            },
            **{
                name: self.matches(answer.headers.get(name, ABSENT), wanted)
                for name, wanted in expect.get("headers", {}).items()
            },
        }
        return [name for name, fits in checks.items() if not fits]

    def faults_of_event(self, event, wanted):
        return [
            name
            for name, value in wanted.items()
            if not self.matches(event.get(name, ABSENT), value, event)
        ]

    def filled(self, text):
        return self.fill(text).decode()

    def matches(self, value, wanted, event=None):
        if isinstance(wanted, str):
            return value == self.filled(wanted)
        if not isinstance(wanted, dict):
            return value == wanted and type(value) is type(wanted)
        if not any(key.startswith("$") for key in wanted):
            return isinstance(value, dict) and not self.faults_of_event(value, wanted)
        matcher, argument = next(iter(wanted.items()))
        return {
            "$regex": lambda: value is not ABSENT and bool(re.search(argument, str(value))),
            "$absent": lambda: value is ABSENT,
            "$one_of": lambda: value in argument,
            "$type": lambda: isinstance(value, _TYPES[argument]),
            "$peer_ip": lambda: value == "127.0.0.1",
            "$received_at_plus_ms": lambda: (
                milliseconds(value) == milliseconds(event["receivedAt"]) + argument
            ),
        }[matcher]()


ABSENT = object()
_TYPES = {"string": str, "object": dict, "array": list, "boolean": bool, "number": (int, float)}


def member(value, path):
    parts = path[1:].split("/") if path.startswith("/") else path.split(".")
    for part in parts:
        if not isinstance(value, dict) or part not in value:
            return ABSENT
        value = value[part]
    return value


def milliseconds(text):
    return round(datetime.fromisoformat(text).timestamp() * 1000)
