from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("destinations", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="connection",
            name="synced_at",
            field=models.DateTimeField(
                editable=False,
                help_text="When the last load by the sync schedule began.",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="connection",
            name="sync_upto",
            field=models.BigIntegerField(
                default=0,
                editable=False,
                help_text="The last event of that load, or of a load asked for.",
            ),
        ),
    ]
