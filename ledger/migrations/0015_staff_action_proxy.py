
from django.db import migrations


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0014_bypassed_decisions_index'),
    ]

    operations = [
        migrations.CreateModel(
            name='StaffAction',
            fields=[
            ],
            options={
                'verbose_name': 'staff action',
                'proxy': True,
                'default_permissions': ('view',),
                'indexes': [],
                'constraints': [],
            },
            bases=('ledger.entry',),
        ),
    ]
