from __future__ import annotations

import gzip

import pytest

RUDDERSTACK = """\
(function (global, factory) { factory(typeof exports === 'object' ? exports : global); })(this,
(function (exports) { const config = 'https://api.rudderstack.com';
const cdn = 'https://cdn.rudderlabs.com'; const options = {polyfillIfRequired:true}; }));
"""
SEGMENT = """\
!function(){var a=n||"https://cdn.segment.com",b="api.segment.io/v1"}();
//# sourceMappingURL=standalone.js.map"""
BUNDLE = "schemaFilter.bundle.a6a7.js"
PACKAGES = {
    "@rudderstack/analytics-js": {
        "LICENSE.md": "MIT License of one\n",
        "dist/npm/modern/bundled/umd/index.js": RUDDERSTACK,
        "dist/npm/legacy/bundled/umd/index.js": RUDDERSTACK,
    },
    "@segment/analytics-next": {
        "LICENSE.MD": "MIT License of another\n",
        "dist/umd/standalone.js": SEGMENT,
        f"dist/umd/{BUNDLE}": "bundle()",
    },
}
PATHS = [
    "/v3/modern/rsa.min.js",
    "/v3/legacy/rsa.min.js",
    "/analytics.js/v1/any-key/analytics.min.js",
    f"/analytics-next/bundles/{BUNDLE}",
]


@pytest.fixture
def sdk_dir(settings, tmp_path):
    settings.SDK_DIR = tmp_path
    return tmp_path


@pytest.fixture
def installed(sdk_dir):
    files = [
        (sdk_dir / "node_modules" / package / name, text)
        for package, content in PACKAGES.items()
        for name, text in content.items()
    ]
    for file, text in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return sdk_dir


@pytest.mark.parametrize("path", PATHS)
def test_a_script_goes_out_with_its_licence(client, installed, path):
    response = client.get(path)

    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert response.content.startswith(b"/*!\nMIT License of ")


@pytest.mark.parametrize("path", PATHS)
def test_without_the_packages_a_script_is_404_with_a_hint(client, sdk_dir, path):
    response = client.get(path)

    assert response.status_code == 404
    assert response.content == (
        b"Not found: the browser SDKs are not installed on this server; run make sdk-scripts"
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_any_origin_may_fetch_a_script(client, installed, path):
    response = client.get(path, headers={"origin": "https://shop.example"})

    assert response.headers["Access-Control-Allow-Origin"] == "https://shop.example"


def test_no_vendor_host_is_left_in_the_scripts(client, installed):
    bodies = b"".join(client.get(path).content for path in PATHS)

    assert b"rudderstack.com" not in bodies
    assert b"rudderlabs.com" not in bodies
    assert b"segment.com" not in bodies
    assert b"segment.io" not in bodies


def test_a_package_of_another_version_is_not_served(client, installed):
    file = installed / "node_modules/@segment/analytics-next/dist/umd/standalone.js"
    file.write_text("!function(){}()")

    response = client.get("/analytics.js/v1/any-key/analytics.min.js")

    assert response.status_code == 404
    assert b"(standalone.js is of another version)" in response.content


def test_a_newly_fetched_package_is_served_without_a_restart(client, sdk_dir, request):
    before = client.get(PATHS[0]).status_code
    request.getfixturevalue("installed")

    assert (before, client.get(PATHS[0]).status_code) == (404, 200)


def test_a_browser_that_takes_gzip_gets_it(client, installed):
    plain = client.get(PATHS[0])
    zipped = client.get(PATHS[0], headers={"accept-encoding": "gzip, br"})

    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.content) == plain.content
    assert "Accept-Encoding" in zipped.headers["Vary"]


def test_a_browser_that_has_the_script_gets_304(client, installed):
    etag = client.get(PATHS[0]).headers["ETag"]

    response = client.get(PATHS[0], headers={"if-none-match": etag})

    assert (response.status_code, response.content) == (304, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/v3/other/rsa.min.js",
        "/v3/modern/rsa.js",
        "/analytics.js/v1/analytics.min.js",
        "/analytics.js/v1/a/b/analytics.min.js",
        "/analytics-next/bundles/../../LICENSE.MD",
        "/analytics-next/bundles/sub/name.js",
        "/analytics-next/bundles/..js/",
        "/analytics-next/bundles/missing.js",
    ],
)
def test_there_is_nothing_beside_the_scripts(client, installed, path):
    assert client.get(path).status_code == 404
