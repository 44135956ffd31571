from __future__ import annotations

from django.db import migrations

# The gateway keeps all keys in memory and re-reads them when this number changes. Statement-level
# triggers notice every way of changing a row: the admin, psql, a restore. That a key was used
# changes nothing.
CREATE_REVISION = """
CREATE TABLE sources_revision (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    revision bigint NOT NULL
);
INSERT INTO sources_revision (revision) VALUES (1);

CREATE FUNCTION sources_bump_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sources_revision SET revision = revision + 1;
    RETURN NULL;
END
$$;

CREATE TRIGGER sources_source_revision
AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON sources_source
FOR EACH STATEMENT EXECUTE FUNCTION sources_bump_revision();

CREATE TRIGGER sources_writekey_revision
AFTER INSERT OR UPDATE OF source_id, key, revoked_at OR DELETE OR TRUNCATE ON sources_writekey
FOR EACH STATEMENT EXECUTE FUNCTION sources_bump_revision();
"""

DROP_REVISION = """
DROP TRIGGER sources_writekey_revision ON sources_writekey;
DROP TRIGGER sources_source_revision ON sources_source;
DROP FUNCTION sources_bump_revision();
DROP TABLE sources_revision;
"""


class Migration(migrations.Migration):
    dependencies = [("sources", "0001_initial")]

    operations = [migrations.RunSQL(CREATE_REVISION, DROP_REVISION)]
