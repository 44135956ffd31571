import django.db.models.deletion
import django.utils.timezone
import events.models
from django.conf import settings
from django.db import migrations, models


# The event log, partitioned by day. The sequence must not cache: ids have to be final below the
# barrier (events.log.writer). The hash index serves the trace; message ids have no length limit.
CREATE_LOG = """
CREATE SEQUENCE events_event_id_seq;
CREATE TABLE events_event (
    id bigint NOT NULL DEFAULT nextval('events_event_id_seq'),
    received_at timestamptz NOT NULL,
    source_id bigint NOT NULL,
    message_id text NOT NULL,
    type text NOT NULL,
    event text NOT NULL,
    user_id text NOT NULL,
    anonymous_id text NOT NULL,
    payload text NOT NULL
) PARTITION BY RANGE (received_at);
ALTER SEQUENCE events_event_id_seq OWNED BY events_event.id;
CREATE INDEX events_event_id ON events_event (id);
CREATE INDEX events_event_message_id ON events_event USING hash (message_id);
"""


class Migration(migrations.Migration):
    # A database that has all of these applied skips this migration. It cannot name itself here.
    replaces = [
        ('events', '0002_loss'),
        ('events', '0003_replay'),
        ('events', '0004_ledger'),
        ('events', '0005_load_reasons'),
        ('events', '0006_quarantined_again'),
        ('events', '0007_personal_data'),
        ('events', '0008_sdks_seen'),
        ('events', '0009_dead_letters_closed'),
        ('events', '0010_newest_standing'),
        ('events', '0011_quarantine_sent_by_workers'),
        ('events', '0012_refused_waiting'),
    ]

    initial = True

    dependencies = [
        ('destinations', '0001_initial'),
        ('sources', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(CREATE_LOG, "DROP TABLE events_event")],
            state_operations=[
                migrations.CreateModel(
                    name='Event',
                    fields=[
                        ('id', models.BigAutoField(primary_key=True, serialize=False)),
                        ('received_at', models.DateTimeField()),
                        ('message_id', models.TextField()),
                        ('type', models.TextField()),
                        ('event', models.TextField(blank=True)),
                        ('user_id', models.TextField(blank=True)),
                        ('anonymous_id', models.TextField(blank=True)),
                        ('payload', models.TextField()),
                        ('source', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='sources.source')),
                    ],
                    options={
                        'ordering': ['-id'],
                        'permissions': [('view_personal_data', 'Can see personal data')],
                    },
                ),
            ],
        ),
        migrations.CreateModel(
            name='Loss',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('day', models.DateField()),
                ('events', models.PositiveBigIntegerField()),
                ('first_id', models.BigIntegerField()),
                ('last_id', models.BigIntegerField()),
                ('reason', models.TextField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('connection', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='losses', to='destinations.connection')),
            ],
            options={
                'verbose_name_plural': 'losses',
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(fields=('connection', 'day'), name='one_loss_a_day')],
            },
        ),
        migrations.CreateModel(
            name='Replay',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('cursor_id', models.BigIntegerField(default=events.models.new_cursor_id, editable=False, unique=True)),
                ('since', models.DateTimeField(help_text='The first received_at; null for the oldest event kept.', null=True)),
                ('after_id', models.BigIntegerField(help_text='The cursor before the first event.')),
                ('upto_id', models.BigIntegerField(help_text='The id of the last event.')),
                ('position', models.BigIntegerField(help_text='The cursor as last seen; the warehouse holds it.')),
                ('expected', models.PositiveBigIntegerField(help_text='Number of events to load; null if counting took too long.', null=True)),
                ('events', models.PositiveBigIntegerField(default=0)),
                ('skipped', models.PositiveBigIntegerField(default=0)),
                ('dead_letters', models.PositiveBigIntegerField(default=0)),
                ('discards', models.PositiveBigIntegerField(default=0)),
                ('state', models.CharField(choices=[('running', 'Running'), ('succeeded', 'Succeeded'), ('cancelled', 'Cancelled')], default='running', max_length=20)),
                ('error', models.TextField(blank=True, editable=False)),
                ('failures', models.PositiveIntegerField(default=0, editable=False)),
                ('retry_at', models.DateTimeField(editable=False, null=True)),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('finished_at', models.DateTimeField(null=True)),
                ('connection', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='replays', to='destinations.connection')),
                ('only_dead_letters', models.BooleanField(default=False, help_text='Whether it re-runs dead letters from their stored events.')),
                ('skip_reasons', models.JSONField(default=dict, help_text='Events skipped, by reason.')),
                ('warnings', models.JSONField(default=list, help_text='Warnings of the destination.')),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(condition=models.Q(('state', 'running')), fields=('connection',), name='one_running_replay_a_connection')],
            },
        ),
        migrations.CreateModel(
            name='LogMark',
            fields=[
                ('upto_id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('totals', models.JSONField(help_text='Number of events by source.')),
            ],
        ),
        migrations.CreateModel(
            name='MinuteCount',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source_id', models.BigIntegerField()),
                ('minute', models.DateTimeField(help_text='The minute of received_at.')),
                ('type', models.TextField()),
                ('events', models.PositiveBigIntegerField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('minute', 'source_id', 'type'), name='one_count_a_minute')],
            },
        ),
        migrations.CreateModel(
            name='SdkSeen',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('source_id', models.BigIntegerField()),
                ('name', models.TextField()),
                ('version', models.TextField(blank=True)),
                ('first_at', models.DateTimeField()),
                ('last_at', models.DateTimeField()),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('source_id', 'name', 'version'), name='one_sdk_of_a_source')],
            },
        ),
        migrations.CreateModel(
            name='Load',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('started_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('finished_at', models.DateTimeField(null=True)),
                ('state', models.CharField(choices=[('running', 'Running'), ('succeeded', 'Succeeded'), ('waiting', 'Waiting: the destination was unavailable'), ('failed', 'Failed')], default='running', max_length=20)),
                ('after_id', models.BigIntegerField(help_text='The cursor at the start of the run.')),
                ('upto_id', models.BigIntegerField(help_text='The cursor that the run has reached.')),
                ('events', models.PositiveBigIntegerField(default=0)),
                ('skipped', models.PositiveBigIntegerField(default=0)),
                ('dead_letters', models.PositiveBigIntegerField(default=0)),
                ('discards', models.PositiveBigIntegerField(default=0)),
                ('rows', models.JSONField(default=dict, help_text='Rows written, by table.')),
                ('error', models.TextField(blank=True)),
                ('connection', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='loads', to='destinations.connection')),
                ('skip_reasons', models.JSONField(default=dict, help_text='Events skipped, by reason.')),
                ('warnings', models.JSONField(default=list, help_text='Warnings of the destination.')),
                ('added', models.JSONField(default=dict, help_text='New columns by table; an empty list means a new table.')),
                ('discarded', models.JSONField(default=dict, help_text='Discards by table.')),
                ('repeated', models.JSONField(default=dict, help_text='Rows that were sent more than once or already existed, by table.')),
            ],
            options={
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['connection', '-id'], name='events_load_connect_168a6e_idx')],
            },
        ),
        migrations.CreateModel(
            name='DeadLetter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('event_id', models.BigIntegerField()),
                ('message_id', models.TextField()),
                ('reason', models.TextField()),
                ('payload', models.TextField()),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('connection', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='dead_letters', to='destinations.connection')),
                ('attempts', models.PositiveIntegerField(default=1)),
                ('closed_at', models.DateTimeField(help_text='When it was loaded or discarded.', null=True)),
                ('closed_by', models.CharField(blank=True, max_length=150)),
                ('kind', models.TextField(blank=True, help_text='The reason without its values.')),
                ('note', models.TextField(blank=True, help_text='Reason for discarding it.')),
                ('replay', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='letters', to='events.replay')),
                ('state', models.CharField(choices=[('open', 'Open'), ('loaded', 'Loaded since'), ('discarded', 'Discarded')], default='open', max_length=20)),
                ('tried_at', models.DateTimeField(default=django.utils.timezone.now, help_text='The last attempt.')),
            ],
            options={
                'ordering': ['-id'],
                'constraints': [models.UniqueConstraint(fields=('connection', 'event_id'), name='one_dead_letter_an_event')],
                'indexes': [models.Index(condition=models.Q(('state', 'open')), fields=['connection', 'kind'], name='open_dead_letters_alike')],
            },
        ),
        migrations.CreateModel(
            name='Standing',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('at', models.DateTimeField(help_text='Only the newest per minute is kept.')),
                ('is_start', models.BooleanField(default=False)),
                ('position', models.BigIntegerField()),
                ('loaded', models.BigIntegerField(default=0)),
                ('skipped', models.BigIntegerField(default=0)),
                ('dead_letters', models.BigIntegerField(default=0)),
                ('accepted', models.BigIntegerField(help_text='Number of events that the source had sent up to the cursor.', null=True)),
                ('connection', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='standings', to='destinations.connection')),
            ],
            options={
                'ordering': ['connection', '-at'],
                'constraints': [models.UniqueConstraint(fields=('connection', 'at', 'is_start'), name='one_standing_a_minute')],
                'indexes': [models.Index(fields=['connection', 'is_start', '-position'], name='newest_standing')],
            },
        ),
        migrations.CreateModel(
            name='Quarantined',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('received_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('route', models.CharField(max_length=100)),
                ('status', models.PositiveSmallIntegerField()),
                ('reason', models.TextField()),
                ('body', models.BinaryField()),
                ('body_bytes', models.PositiveBigIntegerField(help_text='Length of the whole body, which may be more than is kept.')),
                ('source', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='quarantined', to='sources.source')),
                ('accepted_at', models.DateTimeField(help_text='When it was sent again and accepted.', null=True)),
                ('circumstances', models.JSONField(default=dict, help_text='The circumstances of the request that sending it again needs.')),
                ('discarded_at', models.DateTimeField(null=True)),
                ('discarded_by', models.CharField(blank=True, max_length=150)),
                ('note', models.TextField(blank=True, help_text='Reason for discarding it.')),
                ('asked_at', models.DateTimeField(help_text='When the last batch that sends it again was requested.', null=True)),
                ('asked_by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL)),
                ('is_waiting', models.BooleanField(db_default=False, default=False, help_text='Whether a worker is to send it again.')),
            ],
            options={
                'verbose_name': 'quarantined request',
                'ordering': ['-id'],
                'indexes': [models.Index(fields=['source', '-id'], name='events_quar_source__df2860_idx'), models.Index(condition=models.Q(('accepted_at', None)), fields=['source', 'received_at'], name='refused_by_time'), models.Index(condition=models.Q(('asked_at', None), _negated=True), fields=['asked_at', 'id'], name='refused_asked_for'), models.Index(condition=models.Q(('is_waiting', True)), fields=['asked_at', 'id'], name='refused_waiting')],
            },
        ),
    ]
