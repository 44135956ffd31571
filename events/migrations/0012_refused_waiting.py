from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("events", "0011_quarantine_sent_by_workers"),
    ]

    operations = [
        migrations.AlterField(  # a web process of before goes on adding rows
            model_name="quarantined",
            name="is_waiting",
            field=models.BooleanField(
                db_default=False, default=False, help_text="For a worker that sends it again."
            ),
        ),
        migrations.AddIndex(
            model_name="quarantined",
            index=models.Index(
                condition=models.Q(("is_waiting", True)),
                fields=["asked_at", "id"],
                name="refused_waiting",
            ),
        ),
    ]
