"""The first tables."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """Orders and closings."""

    initial = True
    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("day", models.DateField()),
                ("customer", models.CharField(max_length=100)),
                ("remark", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name="Closing",
            fields=[("id", models.BigAutoField(primary_key=True)), ("month", models.DateField(unique=True))],
        ),
    ]
