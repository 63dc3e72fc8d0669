"""Hiding the quoted reason of a minority: each act is a row that stays as it was written (POLLS section 5)."""

import django.db.models.deletion
from django.db import migrations, models

KEPT = """
CREATE FUNCTION polls_pollminorityact_kept() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RAISE EXCEPTION 'what was hidden and shown stays on record' USING ERRCODE = '42501';
END
$body$;
CREATE TRIGGER polls_pollminorityact_kept BEFORE UPDATE OR DELETE ON polls_pollminorityact
    FOR EACH ROW EXECUTE FUNCTION polls_pollminorityact_kept();
"""


class Migration(migrations.Migration):
    dependencies = [("polls", "0002_immutable")]
    operations = [
        migrations.CreateModel(
            name="PollMinorityAct",
            fields=[
                ("id", models.UUIDField(primary_key=True, serialize=False)),
                ("number", models.SmallIntegerField()),
                ("hides", models.BooleanField()),
                ("actor", models.CharField(max_length=100)),
                ("at", models.DateTimeField()),
                ("reason", models.CharField(max_length=2000)),
                (
                    "poll",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="minority_acts",
                        to="polls.poll",
                    ),
                ),
            ],
            options={
                "default_permissions": (),
                "constraints": [
                    models.UniqueConstraint(fields=("poll", "number"), name="pollminorityact_order"),
                    models.CheckConstraint(
                        condition=models.Q(("reason", ""), _negated=True), name="pollminorityact_reason"
                    )
                ],
            },
        ),
        migrations.RunSQL(
            KEPT,
            reverse_sql="DROP TRIGGER polls_pollminorityact_kept ON polls_pollminorityact; "
            "DROP FUNCTION polls_pollminorityact_kept()",
        ),
    ]
