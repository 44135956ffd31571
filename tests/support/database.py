"""The database of a test: as its migrations left it after each test, and for processes."""

from __future__ import annotations

import os

from django.contrib.auth.management import create_permissions
from django.contrib.contenttypes.management import create_contenttypes
from django.db import connection
from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.models.signals import post_migrate

KEPT = {"auth_permission", "django_content_type"}  # as the models have them, whatever a test does


class FewTables(DatabaseOperations):
    """Deletes the rows of the few tables that hold any; TRUNCATE of all takes ten times as long."""

    def sql_flush(self, style, tables, *, reset_sequences=False, allow_cascade=False):
        names = [self.quote_name(table) for table in tables if table not in KEPT]
        with self.connection.cursor() as cursor:
            cursor.execute(
                " UNION ALL ".join(f"SELECT '{name}' WHERE EXISTS (TABLE {name})" for name in names)
            )
            return [f"DELETE FROM {name}" for (name,) in cursor.fetchall()]  # noqa: S608


def empty_few_tables():
    connection.ops = FewTables(connection)
    post_migrate.disconnect(create_contenttypes)
    post_migrate.disconnect(dispatch_uid=f"{create_permissions.__module__}.create_permissions")


def process_environment(**variables):
    """The environment of a Django process that uses this test's database."""
    server, _, _ = os.environ["RUDDERHUB_DATABASE_URL"].rpartition("/")
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "rudderhub.settings",
        "RUDDERHUB_DATABASE_URL": f"{server}/{connection.settings_dict['NAME']}",
        **variables,
    }
