"""Hourly counts of decisions for charts; made again from the entries at any time."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("console", "0001_saved_view"), ("ledger", "0014_bypassed_decisions_index")]
    operations = [
        migrations.CreateModel(
            name="Rollup",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("hour", models.DateTimeField()),
                ("agent", models.TextField()),
                ("action", models.TextField()),
                ("risk", models.TextField()),
                ("zone", models.TextField()),
                ("level", models.TextField()),
                ("bypassed", models.BooleanField()),
                ("count", models.BigIntegerField()),
                (
                    "log",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="ledger.log",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["log", "agent", "hour"], name="rollup_agent_hour", include=["count"])
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("log", "hour", "agent", "action", "risk", "zone", "level", "bypassed"),
                        name="rollup_once",
                    )
                ],
            },
        ),
    ]
