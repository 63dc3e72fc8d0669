
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0011_staff_groups'),
    ]

    operations = [
        migrations.CreateModel(
            name='Decision',
            fields=[
            ],
            options={
                'proxy': True,
                'default_permissions': ('view',),
                'indexes': [],
                'constraints': [],
            },
            bases=('ledger.entry',),
        ),
    ]
