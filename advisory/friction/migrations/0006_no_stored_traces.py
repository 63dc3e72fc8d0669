"""Traces are worked out from facts and rules when somebody looks; those that were stored quote private values."""

from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("friction", "0005_fewer_indexes_of_advice")]

    operations = [
        migrations.RunSQL(
            "UPDATE friction_frictionadvice SET result = result - 'trace' WHERE result ? 'trace'",
            migrations.RunSQL.noop,
        ),
    ]
