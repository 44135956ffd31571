from __future__ import annotations

import re

import pytest

from rudderhub.env import DEFAULTS, ROOT, Env, SettingError, database_settings, read_env_file


def test_the_environment_wins_over_the_file(tmp_path):
    (tmp_path / "instance.env").write_text("RUDDERHUB_PORT=1\nRUDDERHUB_HOST=127.0.0.9\n")

    env = Env({"RUDDERHUB_VAR_DIR": str(tmp_path), "RUDDERHUB_PORT": "2"})

    assert (env.integer("PORT"), env.text("HOST")) == (2, "127.0.0.9")


def test_a_setting_without_a_value_has_its_default(tmp_path):
    env = Env({"RUDDERHUB_VAR_DIR": str(tmp_path)})

    assert env.integer("PORT") == 8000


def test_a_line_of_the_file_may_hold_an_equals_sign_or_be_a_comment(tmp_path):
    file = tmp_path / "instance.env"
    file.write_text("# a comment = no setting\nRUDDERHUB_SECRET_KEY=a=b==\n")

    assert read_env_file(file) == {"RUDDERHUB_SECRET_KEY": "a=b=="}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda env: env.integer("PORT"), "RUDDERHUB_PORT is not a whole number"),
        (lambda env: env.integer("WEB_WORKERS"), "RUDDERHUB_WEB_WORKERS is 0, expected 1 or more"),
        (lambda env: env.flag("DEBUG"), "RUDDERHUB_DEBUG is 'maybe', expected true or false"),
    ],
)
def test_a_setting_that_cannot_be_read_is_named(tmp_path, read, message):
    env = Env(
        {
            "RUDDERHUB_VAR_DIR": str(tmp_path),
            "RUDDERHUB_PORT": "eighty",
            "RUDDERHUB_WEB_WORKERS": "0",
            "RUDDERHUB_DEBUG": "maybe",
        }
    )

    with pytest.raises(SettingError, match=re.escape(message)):
        read(env)


def test_a_database_url_may_hold_escaped_letters_and_options():
    settings = database_settings("postgresql://me:p%40ss@db.example:6432/my%20db?sslmode=require")

    assert (settings["NAME"], settings["USER"], settings["PASSWORD"]) == ("my db", "me", "p@ss")
    assert (settings["HOST"], settings["PORT"]) == ("db.example", "6432")
    assert settings["OPTIONS"] == {"connect_timeout": 5, "sslmode": "require"}


def test_another_kind_of_database_is_refused():
    with pytest.raises(SettingError, match="starts with 'mysql', not postgresql"):
        database_settings("mysql://localhost/rudderhub")


def test_every_setting_is_documented_with_its_default():
    page = (ROOT / "docs" / "reference" / "settings.md").read_text()

    documented = dict(re.findall(r"^\| `RUDDERHUB_(\w+)` \| (.*?) \|", page, re.MULTILINE))

    assert documented == {
        name: f"`{default}`" if default else "" for name, default in DEFAULTS.items()
    }
