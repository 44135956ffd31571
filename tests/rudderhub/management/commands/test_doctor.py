from __future__ import annotations

import json

import psycopg


def test_the_doctor_finds_a_running_instance_well(instance):
    examined = instance.try_manage("doctor")

    assert examined.returncode == 0
    assert [line.split(":")[0] for line in examined.stdout.splitlines()] == [
        "ok    settings",
        "ok    disk",
        "ok    database",
        "ok    migrations",
        "ok    cache",
        "ok    broker",
        "ok    worker",
        "ok    destination Warehouse",
    ]


def test_the_doctor_names_what_is_wrong(instance, monkeypatch):
    monkeypatch.setitem(instance.environment, "RUDDERHUB_CACHE_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setitem(instance.environment, "RUDDERHUB_ENCRYPTION_KEYS", "short")

    examined = instance.try_manage("doctor")

    assert examined.returncode == 1
    assert examined.stderr == ""
    assert [
        line.split(":")[0] for line in examined.stdout.splitlines() if line.startswith("FAIL")
    ] == [
        "FAIL  settings",
        "FAIL  cache",
        "FAIL  broker",
        "FAIL  worker",
        "FAIL  destination Warehouse",
    ]


def test_the_doctor_names_a_database_that_does_not_answer(instance, monkeypatch):
    nowhere = "postgresql://me:hunter2@127.0.0.1:1/ours"
    monkeypatch.setitem(instance.environment, "RUDDERHUB_DATABASE_URL", nowhere)

    examined = instance.try_manage("doctor")

    assert examined.returncode == 1
    assert "FAIL  database: connection failed" in examined.stdout
    assert "hunter2" not in examined.stdout


def test_info_says_how_to_reach_the_instance_and_its_warehouse(instance):
    facts = json.loads(instance.manage("info", "--json"))

    assert facts["base_url"] == instance.environment["RUDDERHUB_BASE_URL"]
    assert facts["admin_url"] == f"{facts['base_url']}/admin/"
    assert facts["setup_url"].startswith(f"{facts['base_url']}/setup/")
    assert (facts["namespace"], facts["identity_schema"]) == ("website", "rudder_identity")
    assert facts["data_dir"] is None
    with psycopg.connect(facts["warehouse_dsn"]) as conn:
        assert conn.execute("SELECT current_database()").fetchone() == (instance.databases[1],)
