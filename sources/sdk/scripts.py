"""Reads the browser SDKs that the instance serves, so that a page needs no other host.

`make sdk-scripts` installs the packages of sources/sdk/package.json with npm below
RUDDERHUB_SDK_DIR. A file is served with its licence in front, and with our own host in place of its
vendor's.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from django.conf import settings

HINT = "the browser SDKs are not installed on this server; run make sdk-scripts"


class ScriptMissingError(Exception):
    """The packages are missing, or have another version than expected."""


@dataclass(frozen=True)
class Script:
    body: bytes
    gzipped: bytes
    etag: str


# The name of a package, and its file with the licence.
_RUDDERSTACK = ("@rudderstack/analytics-js", "LICENSE.md")
_SEGMENT = ("@segment/analytics-next", "LICENSE.MD")

# Text before the file, text after it, and replacements in it.
_Wrap = tuple[str, str, tuple[tuple[str, str], ...]]

# A browser without currentScript (IE 11) finds the tag by its address.
_START = """\
(function () {
  var script = document.currentScript || document.querySelector('script[src*="%s"]');
  var origin = script.src.split("/", 3).join("/");
"""

# The package exports its class into `exports` instead of over the snippet's queue, which the new
# instance then replays. Old browsers load polyfills from a third host only when the page asks.
_RUDDERSTACK_WRAP: _Wrap = (
    _START % "/rsa.min.js" + "  var exports = {}, module = { exports: exports }, define;\n",
    "\n  new exports.RudderAnalytics();\n})();\n",
    (
        ("'https://api.rudderstack.com'", "origin"),
        ("'https://cdn.rudderlabs.com'", "origin"),
        ("polyfillIfRequired:true", "polyfillIfRequired:false"),
    ),
)

# The SDK finds its own host by itself over https only; _cdn names it over http, too.
_SEGMENT_WRAP: _Wrap = (
    _START % "/analytics.min.js"
    + """\
  var name = script.getAttribute("data-global-segment-analytics-key") || "analytics";
  var queue = (window[name] = window[name] || []);
  queue._cdn = queue._cdn || origin;
""",
    "\n})();\n",
    (
        ('"https://cdn.segment.com', 'origin+"'),
        ('"api.segment.io/v1"', 'origin.split("//")[1]+"/v1"'),
    ),
)
_UNCHANGED: _Wrap = ("", "", ())


def rudderstack_script(build: str) -> Script:
    """The SDK with its plugins; build is "modern" or "legacy", as the snippet requests it."""
    return _script(_RUDDERSTACK, f"dist/npm/{build}/bundled/umd/index.js", _RUDDERSTACK_WRAP)


def segment_script() -> Script:
    return _script(_SEGMENT, "dist/umd/standalone.js", _SEGMENT_WRAP)


def segment_bundle(name: str) -> Script:
    """A file that Segment's SDK loads later; its name has no slash."""
    return _script(_SEGMENT, f"dist/umd/{name}", _UNCHANGED)


def _script(package: tuple[str, str], name: str, wrap: _Wrap) -> Script:
    package_name, licence = package
    folder = Path(settings.SDK_DIR) / "node_modules" / package_name
    try:
        changed_ns = (folder / name).stat().st_mtime_ns
    except OSError as error:
        raise ScriptMissingError(HINT) from error
    return _read_script(folder / name, changed_ns, folder / licence, wrap)


@lru_cache(maxsize=64)
def _read_script(file: Path, _changed_ns: int, licence: Path, wrap: _Wrap) -> Script:
    before, after, replacements = wrap
    code = file.read_text(encoding="utf-8")
    for old, new in replacements:
        if old not in code:
            raise ScriptMissingError(f"{HINT} ({file.name} is of another version)")
        code = code.replace(old, new)
    notice = licence.read_text(encoding="utf-8").replace("*/", "* /").strip()
    body = f"/*!\n{notice}\n*/\n{before}{code}{after}".encode()
    digest = hashlib.sha256(body).hexdigest()[:32]
    return Script(body, gzip.compress(body, mtime=0), f'"{digest}"')
