"""docs/openapi.yaml against the routes: every operation is there, and nothing else is answered."""

from __future__ import annotations

import pytest
import schemathesis
import yaml
from django.core.cache import cache
from django.test import override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from events.log import writer
from events.workers import queue
from rudderhub.env import ROOT
from rudderhub.urls import find_route
from rudderhub.wsgi import application
from sources import rate_limits
from tests.support.factories import make_source, make_write_key
from tests.support.http import basic_token

DOCUMENT = yaml.safe_load((ROOT / "docs" / "openapi.yaml").read_text())
METHODS = ("get", "post", "put", "patch", "delete")
OPERATIONS = [
    (method, path)
    for path, item in DOCUMENT["paths"].items()
    for method in METHODS
    if method in item
]
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
)


@pytest.fixture
def keys(transactional_db):
    """Of a site and of a webhook; the application closes connections as a server's does."""
    cache.clear()
    rate_limits.reset_limits()
    with override_settings(UNKNOWN_KEYS_PER_MINUTE=0):
        yield [make_write_key(), make_write_key(make_source(type="Webhook"))]
    writer.close_writer()
    queue.close_enqueuer()


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_route_has_the_methods_that_are_documented(method, path):
    route = find_route(path.replace("{writeKey}", "k").replace("{name}", "a.js"))

    documented = {each.upper() for each in METHODS if each in DOCUMENT["paths"][path]}
    assert route is not None
    assert route.methods - {"HEAD"} == documented


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_an_operation_answers_as_documented(keys, method, path):
    schema = schemathesis.openapi.from_dict(DOCUMENT)
    schema.app = application
    cases = schema[path][method.upper()].as_strategy()

    @settings(
        max_examples=12, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=cases, key=st.sampled_from(keys), known=st.booleans())
    def answers(case, key, known):
        if known:
            internal = path.endswith(("/retl", "/replay")) or path == "/internal/v1/batch"
            name = key.source.public_id if internal else key.key
            case.headers["Authorization"] = f"Basic {basic_token(name)}"
            if "writeKey" in case.query:
                case.query["writeKey"] = key.key
        case.call_and_validate(checks=CHECKS)

    answers()
