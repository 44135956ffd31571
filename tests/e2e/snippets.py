"""The lines that our docs tell people to use: what the tests run is what is written there."""

from __future__ import annotations

import re

from rudderhub.env import ROOT


def snippets(page, heading, language):
    """The fenced blocks of a language below a heading of docs/how-to/<page>.md."""
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text()
    sections = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE))
    return re.findall(rf"^```{language}\n(.*?)^```", sections[heading], re.DOTALL | re.MULTILINE)


def filled(snippet, url, write_key):
    return snippet.replace("https://events.example.com", url).replace("WRITE_KEY", write_key)
