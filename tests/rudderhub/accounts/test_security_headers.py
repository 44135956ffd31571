from __future__ import annotations

import hashlib
import re

import pytest

from rudderhub.env import ROOT

pytestmark = pytest.mark.django_db

ALPINE = "0d18d7f8d7910e2e0212f0f056b12f50bebc3abb7d88d2f7c7cb4c336fe4519a"


@pytest.mark.parametrize("path", ["/admin/login/", "/admin/nothing/", "/setup/wrong/"])
def test_scripts_and_styles_come_from_this_host_only(client, path):
    policy = client.get(path)["Content-Security-Policy"]

    assert policy.startswith("default-src 'self'; script-src 'self'; style-src 'self'; ")
    assert "unsafe" not in policy


def test_alpine_is_the_build_for_a_policy_without_eval(client):
    served = client.get("/static/unfold/js/alpine/alpine.js")

    assert hashlib.sha256(b"".join(served)).hexdigest() == ALPINE


def test_the_palette_is_no_inline_style(client):
    html = client.get("/admin/login/").content.decode()

    assert "rudderhub/colors.css" in html
    assert "<style" not in html


def test_no_template_holds_an_inline_script_or_style():
    inline = re.compile(r'<style|\sstyle="|\son[a-z]+="|<script(?![^>]*\ssrc=)')
    templates = ROOT.glob("[!.]*/templates/**/*.html")

    assert [path.name for path in templates if inline.search(path.read_text("utf-8"))] == []
