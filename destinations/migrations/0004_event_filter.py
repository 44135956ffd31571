from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("destinations", "0003_people")]

    operations = [
        migrations.AddField(
            model_name="connection",
            name="filter_mode",
            field=models.CharField(
                choices=[
                    ("all", "All events"),
                    ("only", "Only the events below"),
                    ("except", "All but the events below"),
                ],
                default="all",
                max_length=10,
                verbose_name="event filter",
            ),
        ),
        migrations.AddField(
            model_name="connection",
            name="filtered_events",
            field=models.JSONField(
                blank=True,
                default=list,
                help_text="Names of track events, and types of others.",
            ),
        ),
    ]
