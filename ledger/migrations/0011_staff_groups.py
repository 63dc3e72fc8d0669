"""The five staff roles as groups. They carry admin permissions only; the membership decides what counts where."""

from typing import Any

from django.db import migrations

ROLES = ("viewer", "auditor", "operator", "manufacturer", "admin")


def create(apps: Any, schema_editor: Any) -> None:
    group = apps.get_model("auth", "Group")
    for role in ROLES:
        group.objects.using(schema_editor.connection.alias).get_or_create(name=role)


def remove(apps: Any, schema_editor: Any) -> None:
    group = apps.get_model("auth", "Group")
    group.objects.using(schema_editor.connection.alias).filter(name__in=ROLES).delete()


class Migration(migrations.Migration):
    dependencies = [("ledger", "0010_event_triggers"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(create, remove)]
