from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder

BEFORE_THE_SQUASH = {
    ("destinations", "0001_initial"),
    ("destinations", "0002_sync"),
    ("destinations", "0003_people"),
    ("destinations", "0004_event_filter"),
    ("destinations", "0005_erasure_progress"),
    ("destinations", "0006_identity_change"),
    ("events", "0001_initial"),
    ("events", "0002_loss"),
    ("events", "0003_replay"),
    ("events", "0004_ledger"),
    ("events", "0005_load_reasons"),
    ("events", "0006_quarantined_again"),
    ("events", "0007_personal_data"),
    ("events", "0008_sdks_seen"),
    ("events", "0009_dead_letters_closed"),
    ("events", "0010_newest_standing"),
    ("events", "0011_quarantine_sent_by_workers"),
    ("events", "0012_refused_waiting"),
    ("rudderhub", "0001_roles"),
    ("sources", "0001_initial"),
    ("sources", "0002_revision"),
}
AFTER_THE_SQUASH = {
    ("destinations", "0001_initial"),
    ("events", "0001_initial"),
    ("rudderhub", "0001_roles"),
    ("sources", "0001_initial"),
}
OURS = ["destinations", "events", "rudderhub", "sources"]


@pytest.mark.django_db
def test_the_migrations_hold_every_change_of_the_models():
    call_command("makemigrations", check=True, dry_run=True, verbosity=1)


@pytest.mark.django_db
def test_a_database_migrated_before_the_squash_has_nothing_to_do():
    recorder = MigrationRecorder(connection)
    recorder.migration_qs.filter(app__in=OURS).delete()
    recorder.migration_qs.bulk_create(
        recorder.Migration(app=app, name=name) for app, name in sorted(BEFORE_THE_SQUASH)
    )
    output = StringIO()

    call_command("migrate", interactive=False, stdout=output)

    loader = MigrationExecutor(connection).loader
    assert "No migrations to apply." in output.getvalue()
    assert {key for key in loader.applied_migrations if key[0] in OURS} == BEFORE_THE_SQUASH
    assert {key for key in loader.graph.nodes if key[0] in OURS} == AFTER_THE_SQUASH
