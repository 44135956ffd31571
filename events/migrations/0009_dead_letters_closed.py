from __future__ import annotations

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


KINDS = r"""
UPDATE events_deadletter
SET tried_at = created_at,
    kind = left(regexp_replace(reason, '"[^"]*"|''[^'']*''|[0-9]+', '…', 'g'), 200)
"""


class Migration(migrations.Migration):
    dependencies = [
        ("destinations", "0003_people"),
        ("events", "0008_sdks_seen"),
    ]

    operations = [
        migrations.AddField(
            model_name="deadletter",
            name="attempts",
            field=models.PositiveIntegerField(default=1),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="closed_at",
            field=models.DateTimeField(help_text="When it was loaded or discarded.", null=True),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="closed_by",
            field=models.CharField(blank=True, max_length=150),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="kind",
            field=models.TextField(blank=True, help_text="The reason without its values."),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="note",
            field=models.TextField(blank=True, help_text="Why it was discarded."),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="replay",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="letters",
                to="events.replay",
            ),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="state",
            field=models.CharField(
                choices=[("open", "Open"), ("loaded", "Loaded since"), ("discarded", "Discarded")],
                default="open",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="deadletter",
            name="tried_at",
            field=models.DateTimeField(
                default=django.utils.timezone.now, help_text="The last attempt."
            ),
        ),
        migrations.AddField(
            model_name="load",
            name="added",
            field=models.JSONField(
                default=dict, help_text="New columns by table; a table without any is new itself."
            ),
        ),
        migrations.AddField(
            model_name="load",
            name="discarded",
            field=models.JSONField(default=dict, help_text="Discards by table."),
        ),
        migrations.AddField(
            model_name="load",
            name="repeated",
            field=models.JSONField(
                default=dict, help_text="Rows that came once more or were there already, by table."
            ),
        ),
        migrations.AddField(
            model_name="quarantined",
            name="discarded_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="quarantined",
            name="discarded_by",
            field=models.CharField(blank=True, max_length=150),
        ),
        migrations.AddField(
            model_name="quarantined",
            name="note",
            field=models.TextField(blank=True, help_text="Why it was discarded."),
        ),
        migrations.AddField(
            model_name="replay",
            name="only_dead_letters",
            field=models.BooleanField(
                default=False,
                help_text="It re-runs dead letters, from what they keep of their events.",
            ),
        ),
        migrations.AddField(
            model_name="replay",
            name="skip_reasons",
            field=models.JSONField(default=dict, help_text="Events skipped, by reason."),
        ),
        migrations.AddField(
            model_name="replay",
            name="warnings",
            field=models.JSONField(default=list, help_text="What the destination had to say."),
        ),
        migrations.AddIndex(
            model_name="deadletter",
            index=models.Index(
                condition=models.Q(("state", "open")),
                fields=["connection", "kind"],
                name="open_dead_letters_alike",
            ),
        ),
        migrations.RunSQL(KINDS, migrations.RunSQL.noop),
    ]
