import destinations.fields
import django.db.models.deletion
import django.utils.timezone
import sources.models
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    # A database that has all of these applied skips this migration. It cannot name itself here.
    replaces = [
        ('destinations', '0002_sync'),
        ('destinations', '0003_people'),
        ('destinations', '0004_event_filter'),
        ('destinations', '0005_erasure_progress'),
        ('destinations', '0006_identity_change'),
    ]

    initial = True

    dependencies = [
        ('sources', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Destination',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('public_id', models.CharField(default=sources.models.new_public_id, editable=False, max_length=64, unique=True, verbose_name='destination id')),
                ('name', models.CharField(max_length=100)),
                ('type', models.CharField(default='POSTGRES', max_length=30)),
                ('enabled', models.BooleanField(default=True)),
                ('config', models.JSONField(blank=True, default=dict)),
                ('secrets', destinations.fields.EncryptedJSONField(blank=True, default=dict)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('updated_at', models.DateTimeField(auto_now=True)),
            ],
            options={
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='IdentityCheck',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('differences', models.JSONField(default=list, editable=False)),
                ('destination', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='identity_checks', to='destinations.destination')),
            ],
            options={
                'ordering': ['-id'],
            },
        ),
        migrations.CreateModel(
            name='ProfileToken',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100)),
                ('digest', models.CharField(editable=False, max_length=64, unique=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('revoked_at', models.DateTimeField(blank=True, editable=False, null=True)),
                ('destination', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='profile_tokens', to='destinations.destination')),
            ],
            options={
                'ordering': ['name', 'id'],
            },
        ),
        migrations.CreateModel(
            name='Connection',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('enabled', models.BooleanField(default=True)),
                ('start', models.CharField(choices=[('now', 'With the events that arrive from now on'), ('oldest', 'With the oldest event kept')], default='oldest', max_length=10)),
                ('start_position', models.BigIntegerField(editable=False, help_text='The event id after which the first load began.', null=True)),
                ('namespace', models.CharField(blank=True, editable=False, help_text='The schema of the tables, fixed at the first load.', max_length=63)),
                ('position', models.BigIntegerField(default=0, editable=False, help_text='The cursor as last seen; the warehouse holds it.')),
                ('failures', models.PositiveIntegerField(default=0, editable=False)),
                ('retry_at', models.DateTimeField(editable=False, null=True)),
                ('error', models.TextField(blank=True, db_column='last_error', editable=False, verbose_name='last error')),
                ('last_loaded_at', models.DateTimeField(editable=False, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('source', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='connections', to='sources.source')),
                ('destination', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='connections', to='destinations.destination')),
                ('synced_at', models.DateTimeField(editable=False, help_text='When the last scheduled load started.', null=True)),
                ('sync_upto', models.BigIntegerField(default=0, editable=False, help_text='The last event of that load or of a requested load.')),
                ('filter_mode', models.CharField(choices=[('all', 'All events'), ('only', 'Only the events below'), ('except', 'All except the events below')], default='all', max_length=10, verbose_name='event filter')),
                ('filtered_events', models.JSONField(blank=True, default=list, help_text='Names of track events and types of other events.')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('source', 'destination'), name='one_connection_a_pair')],
            },
        ),
        migrations.CreateModel(
            name='Erasure',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('finished_at', models.DateTimeField(editable=False, null=True)),
                ('actor', models.CharField(editable=False, max_length=150)),
                ('reason', models.TextField(blank=True, editable=False)),
                ('mode', models.CharField(editable=False, max_length=10)),
                ('keys', models.JSONField(default=list, editable=False, help_text='Keys (salted hashes) of the erased identifiers.')),
                ('counts', models.JSONField(default=dict, editable=False, help_text='Number of deleted, blanked or cleared rows by table.')),
                ('destination', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='erasures', to='destinations.destination')),
                ('state', models.CharField(choices=[('waiting', 'Waiting'), ('running', 'Running'), ('done', 'Done'), ('failed', 'Failed')], default='waiting', editable=False, max_length=20)),
                ('step', models.CharField(choices=[('warehouse', 'warehouse'), ('log', 'event log'), ('dead_letters', 'dead letters'), ('quarantine', 'quarantine'), ('messages', 'messages')], default='warehouse', editable=False, help_text='The current or last step.', max_length=20)),
                ('held', destinations.fields.EncryptedJSONField(default=dict, help_text='The identifiers; empty after the erasure is done.')),
                ('after_id', models.BigIntegerField(editable=False, help_text='The id before the first event of the log.', null=True)),
                ('upto_id', models.BigIntegerField(editable=False, help_text='The last event of the log when the step started.', null=True)),
                ('position', models.BigIntegerField(editable=False, help_text='The last event or table row that the step has processed.', null=True)),
                ('error', models.TextField(blank=True, editable=False)),
                ('failures', models.PositiveIntegerField(default=0, editable=False)),
                ('retry_at', models.DateTimeField(editable=False, null=True)),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('state', 'done'), _negated=True), ('held', {}), _connector='OR'), name='a_done_erasure_holds_nothing')],
            },
        ),
        migrations.CreateModel(
            name='IdentityChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('action', models.CharField(editable=False, max_length=20)),
                ('form', destinations.fields.EncryptedJSONField(default=dict, help_text='Lists of values by field; empty after the change is done.')),
                ('state', models.CharField(choices=[('counting', 'Counting'), ('counted', 'Waiting for confirmation'), ('confirmed', 'Confirmed'), ('doing', 'Running'), ('done', 'Done'), ('failed', 'Failed')], default='counting', editable=False, max_length=20)),
                ('step', models.CharField(blank=True, editable=False, max_length=40)),
                ('percent', models.PositiveSmallIntegerField(editable=False, null=True)),
                ('effect', destinations.fields.EncryptedJSONField(default=dict)),
                ('error', models.TextField(blank=True, editable=False)),
                ('profile', models.UUIDField(editable=False, help_text='The profile that the change was requested from.', null=True)),
                ('destination', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.CASCADE, related_name='identity_changes', to='destinations.destination')),
                ('erasure', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, to='destinations.erasure')),
                ('user', models.ForeignKey(editable=False, on_delete=django.db.models.deletion.CASCADE, to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'ordering': ['-id'],
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(models.Q(('state', 'done'), _negated=True), ('form', {}), _connector='OR'), name='a_done_change_holds_no_form')],
            },
        ),
    ]
