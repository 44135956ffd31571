from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('events', '0004_ledger'),
    ]

    operations = [
        migrations.AddField(
            model_name='load',
            name='skip_reasons',
            field=models.JSONField(default=dict, help_text='Events skipped, by reason.'),
        ),
        migrations.AddField(
            model_name='load',
            name='warnings',
            field=models.JSONField(default=list, help_text='What the destination had to say.'),
        ),
    ]
