from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0007_personal_data")]

    operations = [
        migrations.CreateModel(
            name="SdkSeen",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("source_id", models.BigIntegerField()),
                ("name", models.TextField()),
                ("version", models.TextField(blank=True)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("source_id", "name", "version"), name="one_sdk_of_a_source"
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="quarantined",
            index=models.Index(
                condition=models.Q(("accepted_at", None)),
                fields=["source", "received_at"],
                name="refused_by_time",
            ),
        ),
    ]
