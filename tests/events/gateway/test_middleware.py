from __future__ import annotations

import pytest

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("fresh_process")]


@pytest.mark.parametrize("path", ["/v1/unknown", "/v1/track/", "/V1/track", "/internal/v1/x"])
def test_unknown_paths_are_404_in_one_line(client, path):
    response = client.post(path, HTTP_ORIGIN="https://shop.example")

    assert (response.status_code, response.content) == (404, b"Not found")
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Access-Control-Allow-Origin"] == "https://shop.example"


def test_pages_behind_a_login_are_not_for_other_origins(client):
    response = client.get("/admin/", HTTP_ORIGIN="https://evil.example")

    assert response.status_code == 302
    assert "Access-Control-Allow-Origin" not in response


def test_a_route_answers_another_method_with_those_it_allows(client):
    response = client.put("/v1/webhook", HTTP_ORIGIN="https://shop.example")

    assert (response.status_code, response.content) == (405, b"Method not allowed: PUT")
    assert response["Allow"] == "GET, HEAD, POST"
    assert "Access-Control-Allow-Origin" not in response


def test_a_refusal_that_a_view_raises_is_a_line_of_text(client):
    response = client.get("/sourceConfig", HTTP_ORIGIN="https://shop.example")

    assert response.status_code == 401
    assert response.content == b"Missing Authorization Header: failed to read writekey from header"
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["Content-Length"] == str(len(response.content))
    assert response["Access-Control-Allow-Origin"] == "https://shop.example"


def test_a_refusal_is_not_logged_by_django(client, caplog):
    client.post("/v1/track")

    assert [record.name for record in caplog.records if record.name.startswith("django")] == []


def test_a_preflight_of_any_path_is_answered_without_its_view(client):
    response = client.options(
        "/no/such/path",
        HTTP_ORIGIN="https://shop.example",
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST",
        HTTP_ACCESS_CONTROL_REQUEST_HEADERS="authorization",
    )

    assert (response.status_code, response.content) == (204, b"")
    assert response["Access-Control-Allow-Origin"] == "https://shop.example"
    assert response["Access-Control-Allow-Methods"] == "POST"
    assert response["Access-Control-Allow-Headers"] == "authorization"


def test_options_without_a_method_to_ask_for_is_not_allowed(client):
    response = client.options("/v1/track", HTTP_ORIGIN="https://shop.example")

    assert (response.status_code, response.content) == (405, b"Method not allowed: OPTIONS")
    assert response["Allow"] == "POST"


def test_a_preflight_of_a_page_behind_a_login_allows_nothing(client):
    response = client.options(
        "/admin/",
        HTTP_ORIGIN="https://evil.example",
        HTTP_ACCESS_CONTROL_REQUEST_METHOD="POST",
    )

    assert "Access-Control-Allow-Origin" not in response
