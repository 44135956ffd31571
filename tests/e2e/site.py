"""A site of its own, on another origin than the server, with one page and the SDK packages."""

from __future__ import annotations

import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from rudderhub.env import ROOT

SDK_DIR = ROOT / "var" / "e2e" / "sdk"
MODULE = "/node_modules/@rudderstack/analytics-js/dist/npm/modern/bundled/esm/index.mjs"
PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<script type="importmap">{{"imports": {{"@rudderstack/analytics-js/bundled": "{module}"}}}}</script>
<body style="font: 1.2rem sans-serif; margin: 2rem">
<h1>{title}</h1>
<p id="state">waiting for the SDK</p>
{content}
</body>
</html>
"""


class Site:
    def __init__(self, title, content):
        page = PAGE.format(title=title, content=content, module=MODULE).encode()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(page))
        self.url = f"http://localhost:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(page):
    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=str(SDK_DIR))

        def do_GET(self):
            if self.path.startswith("/node_modules/"):
                super().do_GET()
                return
            self.send_response_only(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_):
            """Says nothing."""

    return Handler
