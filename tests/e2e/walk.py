"""Walks through the admin in a browser, by scripts that run with playwright's own Python."""

from __future__ import annotations

import json
import os
import subprocess

from rudderhub.env import ROOT

OWN_PYTHON = os.environ.get("RUDDERHUB_E2E_PYTHON") or str(ROOT / ".venv-e2e/bin/python")
FOLDER = ROOT / "var" / "screenshots"
AXE = ROOT / "var/e2e/node/node_modules/axe-core/axe.min.js"


def walk(script, instance, **job):
    """What the script of this folder met; the job is its argument."""
    given = {"base_url": instance.info["base_url"], "folder": str(FOLDER), "axe": str(AXE)}
    done = subprocess.run(  # noqa: S603
        [OWN_PYTHON, f"tests/e2e/{script}", json.dumps(given | job)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
