from __future__ import annotations

from django.db import migrations, models

import destinations.fields

STATES = [
    ("waiting", "Waiting"),
    ("running", "Running"),
    ("done", "Done"),
    ("failed", "Failed"),
]


def state(default: str) -> models.CharField[str, str]:
    return models.CharField(choices=STATES, default=default, editable=False, max_length=20)


class Migration(migrations.Migration):
    dependencies = [("destinations", "0004_event_filter")]

    operations = [
        migrations.AddField(
            model_name="erasure", name="state", field=state("done")
        ),  # those there are
        migrations.AlterField(model_name="erasure", name="state", field=state("waiting")),
        migrations.AddField(
            model_name="erasure",
            name="step",
            field=models.CharField(
                choices=[
                    ("warehouse", "warehouse"),
                    ("log", "event log"),
                    ("dead_letters", "dead letters"),
                    ("quarantine", "quarantine"),
                    ("messages", "messages"),
                ],
                default="warehouse",
                editable=False,
                help_text="What is next, or was last.",
                max_length=20,
            ),
        ),
        migrations.AddField(
            model_name="erasure",
            name="held",
            field=destinations.fields.EncryptedJSONField(
                default=dict,
                editable=False,
                help_text="The identifiers; nothing once it is done.",
            ),
        ),
        migrations.AddField(
            model_name="erasure",
            name="after_id",
            field=models.BigIntegerField(
                editable=False, help_text="The id before the first event of the log.", null=True
            ),
        ),
        migrations.AddField(
            model_name="erasure",
            name="upto_id",
            field=models.BigIntegerField(
                editable=False,
                help_text="The last event of the log as the step began.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="erasure",
            name="position",
            field=models.BigIntegerField(
                editable=False,
                help_text="Where the step is: the event, or row of a table, that was looked at last.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="erasure",
            name="error",
            field=models.TextField(blank=True, default="", editable=False),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="erasure",
            name="failures",
            field=models.PositiveIntegerField(default=0, editable=False),
        ),
        migrations.AddField(
            model_name="erasure",
            name="retry_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddConstraint(
            model_name="erasure",
            constraint=models.CheckConstraint(
                condition=models.Q(("state", "done"), _negated=True) | models.Q(("held", {})),
                name="a_done_erasure_holds_nothing",
            ),
        ),
    ]
