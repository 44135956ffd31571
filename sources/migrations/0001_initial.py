import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import sources.models
from django.db import migrations, models


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
    # A database that has all of these applied skips this migration. It cannot name itself here.
    replaces = [
        ('sources', '0002_revision'),
    ]

    initial = True

    dependencies = [
    ]

    operations = [
        migrations.CreateModel(
            name='Source',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.CharField(default=sources.models.new_public_id, editable=False, max_length=64, unique=True, verbose_name='source id')),
                ('name', models.CharField(max_length=100)),
                ('type', models.CharField(choices=[('Javascript', 'Website (JavaScript)'), ('Android', 'Android'), ('iOS', 'iOS'), ('ReactNative', 'React Native'), ('Flutter', 'Flutter'), ('Node', 'Node.js'), ('Python', 'Python'), ('HTTP', 'HTTP API (any server)'), ('AMP', 'AMP pages'), ('Cloud', 'Cloud app (extract)'), ('Webhook', 'Webhook')], default='Javascript', max_length=30)),
                ('enabled', models.BooleanField(default=True, help_text='Requests to a disabled source get a 404. Its data is kept.')),
                ('on_invalid_event', models.CharField(choices=[('reject', 'Refuse the whole request'), ('quarantine', 'Accept the good events, quarantine the bad ones')], default='reject', help_text='Choose quarantine for rudder-sdk-node: a 4xx response can crash its process.', max_length=20, verbose_name='on an invalid event')),
                ('max_event_bytes', models.PositiveIntegerField(blank=True, help_text="Empty: RUDDERHUB_MAX_EVENT_BYTES of the server.", null=True, validators=[django.core.validators.MinValueValidator(1)])),
                ('max_body_bytes', models.PositiveIntegerField(blank=True, help_text="Empty: RUDDERHUB_MAX_BODY_BYTES of the server.", null=True, validators=[django.core.validators.MinValueValidator(1)])),
                ('rate_limit_requests', models.PositiveIntegerField(blank=True, help_text='Maximum requests per window. Empty: no limit.', null=True, validators=[django.core.validators.MinValueValidator(1)])),
                ('rate_limit_window_seconds', models.PositiveIntegerField(default=60, validators=[django.core.validators.MinValueValidator(1)])),
                ('allowed_origins', models.JSONField(blank=True, default=list, help_text='Browser origins that can send, such as ["https://shop.example"]. Empty: all.')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='WriteKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('key', models.CharField(default=sources.models.new_write_key, editable=False, max_length=64, unique=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('revoked_at', models.DateTimeField(blank=True, help_text='The key is refused from this time on. With a future time, both keys work until then.', null=True)),
                ('last_used_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('source', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='write_keys', to='sources.source')),
            ],
            options={
                'ordering': ['-created_at', '-id'],
            },
        ),
        migrations.RunSQL(CREATE_REVISION, DROP_REVISION),
    ]
