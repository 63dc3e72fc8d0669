import django.contrib.postgres.fields
import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('console', '0002_rollup'),
        ('ledger', '0014_bypassed_decisions_index'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='EvidencePack',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('actor', models.CharField(max_length=128)),
                ('state', models.CharField(choices=[('queued', 'waiting for the worker'), ('running', 'running'), ('complete', 'complete'), ('failed', 'failed'), ('expired', 'file removed')], default='queued', max_length=16)),
                ('problem', models.CharField(blank=True, max_length=64)),
                ('rows', models.BigIntegerField(default=0)),
                ('bytes', models.BigIntegerField(default=0)),
                ('next_seq', models.BigIntegerField(default=0)),
                ('has_file', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField()),
                ('moved_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('records', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
                ('found', django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), default=list, size=None)),
                ('withheld', models.JSONField(default=list)),
                ('size', models.BigIntegerField(default=0)),
                ('digest', models.CharField(blank=True, max_length=64)),
                ('log', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.log')),
                ('organisation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.organisation')),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'abstract': False,
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['organisation', '-created_at'], name='pack_newest')],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['queued', 'running', 'complete', 'failed', 'expired'])), name='pack_state')],
            },
        ),
        migrations.CreateModel(
            name='Export',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('actor', models.CharField(max_length=128)),
                ('state', models.CharField(choices=[('queued', 'waiting for the worker'), ('running', 'running'), ('complete', 'complete'), ('failed', 'failed'), ('expired', 'file removed')], default='queued', max_length=16)),
                ('problem', models.CharField(blank=True, max_length=64)),
                ('rows', models.BigIntegerField(default=0)),
                ('bytes', models.BigIntegerField(default=0)),
                ('next_seq', models.BigIntegerField(default=0)),
                ('has_file', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField()),
                ('moved_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('format', models.CharField(choices=[('csv', 'CSV'), ('json', 'JSON'), ('ndjson', 'NDJSON')], max_length=8)),
                ('only_decisions', models.BooleanField()),
                ('query', models.TextField()),
                ('columns', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), default=list, size=None)),
                ('as_of', models.BigIntegerField()),
                ('first_seq', models.BigIntegerField(default=0)),
                ('end_seq', models.BigIntegerField(default=0)),
                ('manifest', models.TextField(blank=True)),
                ('log', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.log')),
                ('organisation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.organisation')),
                ('owner', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'abstract': False,
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['organisation', '-created_at'], name='export_newest')],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['queued', 'running', 'complete', 'failed', 'expired'])), name='export_state')],
            },
        ),
    ]
