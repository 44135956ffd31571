from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("events", "0005_load_reasons")]

    operations = [
        migrations.AddField(
            model_name="quarantined",
            name="accepted_at",
            field=models.DateTimeField(
                help_text="When it was sent again from the admin and accepted.", null=True
            ),
        ),
        migrations.AddField(
            model_name="quarantined",
            name="circumstances",
            field=models.JSONField(
                default=dict, help_text="How it came, beside its body: what a re-run needs."
            ),
        ),
    ]
