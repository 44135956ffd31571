"""What people read is plain English: no riddles, and no words of our own for common ones."""

from __future__ import annotations

import ast
import re

import pytest
from django.apps import apps

from rudderhub.env import ROOT

APPS = ("destinations", "events", "rudderhub", "sources")
BETTER = {
    r"anew": "again",
    r"mend(s|ed|ing)?": "fix",
    r"by (itself|themselves)": "automatically",
    r"told": "shown, known",
    r"whose": "with, of",
    r"whoever": "users who",
    r"whys": "reasons",
    r"so many": "the number",
    r"(a|no|of this|this|one) look": "view",
    r"needs a look": "needs attention",
    r"what was said|the said": "the message",
    r"([Oo]ne|events|requests|rows|columns|users|identifiers|bytes) an? "
    r"(line|second|minute|hour|day|table|event|device|profile|request)": "per",
    r"too(?=[.;:)])": "also, as well",
    r"(What|Who|Whoever|Whose|Whom)\b(?=[^?|]*?[.:;](\s|$))": "a noun as the subject",
}
"""A pattern of what no sentence has, and what to write in its place."""
PATTERNS = [re.compile(rf"(?<![\w-])(?:{pattern})(?![\w-])") for pattern in BETTER]

ALLOWED: dict[str, set[str]] = {}
"""Phrases by the file in which they stay, since they are the words of somebody else."""


def relative_path(path):
    return str(path.relative_to(ROOT))


def riddles(name, texts):
    """Each phrase that is not plain, with the beginning of its text."""
    allowed = ALLOWED.get(name, set())
    return [
        (found[0], text[:120])
        for text in texts
        for pattern in PATTERNS
        for found in pattern.finditer(" ".join(text.split()))
        if found[0] not in allowed
    ]


def sentences(prose):
    return re.split(r"(?<=[.!?])\s+|\s*\|\s*|\n{2,}|\n(?=[#*-])", prose)


def template_texts(source):
    """What a template shows: texts between tags, and the attributes that are read out."""
    plain = re.sub(r"{#.*?#}|{%.*?%}|<(script|style|pre)\b.*?</\1>", " ", source, flags=re.DOTALL)
    plain = re.sub(r"{{.*?}}", "X", plain)
    attributes = re.findall(r'(?:aria-label|title|placeholder|alt)="([^"]*)"', plain)
    plain = re.sub(r"</?(a|b|code|em|span|strong)\b[^>]*>", " ", plain)
    return sentences("\n\n".join([*attributes, re.sub(r"<[^>]*>", "\n\n", plain)]))


def doc_texts(source):
    """A page without its code."""
    plain = re.sub(r"^```.*?^```", " ", source, flags=re.DOTALL | re.MULTILINE)
    plain = re.sub(r"^ {4}.*$|`[^`]*`|\]\([^)]*\)", " X ", plain, flags=re.MULTILINE)
    return sentences(plain)


def strings(source):
    """Texts of several words, such as labels, help texts and messages; no docstrings, no SQL."""
    tree = ast.parse(source)
    alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in alone and " " in node.value.strip():
            yield from sentences(node.value)


def docstrings(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            yield from sentences(str(node.value.value))


def riddles_of(paths, texts_of):
    """By file; none of a file that is plain."""
    found = {
        relative_path(path): riddles(relative_path(path), texts_of(path.read_text()))
        for path in paths
    }
    return {name: phrases for name, phrases in found.items() if phrases}


def test_a_riddle_is_found_and_a_question_is_none():
    texts = ["One a line.", "What it has done stays.", "What is a source?", "Loads run, too."]

    assert [phrase for phrase, _ in riddles("", texts)] == ["One a line", "What", "too"]


@pytest.mark.parametrize("app", APPS)
def test_templates_are_plain(app):
    assert riddles_of(sorted((ROOT / app).rglob("*.html")), template_texts) == {}


def test_docs_are_plain():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

    assert riddles_of(pages, doc_texts) == {}


@pytest.mark.parametrize("app", APPS)
def test_texts_of_models_are_plain(app):
    texts = [
        str(text)
        for model in apps.get_app_config(app).get_models()
        for field in model._meta.get_fields()  # noqa: SLF001
        for text in (getattr(field, "help_text", ""), getattr(field, "verbose_name", ""))
    ]

    assert riddles(app, texts) == []


@pytest.mark.parametrize("app", APPS)
def test_messages_are_plain(app):
    assert riddles_of(sorted((ROOT / app).rglob("*.py")), strings) == {}


@pytest.mark.parametrize("app", APPS)
def test_docstrings_are_plain(app):
    assert riddles_of(sorted((ROOT / app).rglob("*.py")), docstrings) == {}
