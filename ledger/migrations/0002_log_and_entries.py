
import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from ledger.migrations._operations import RefuseReversalWithRows


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0001_identity'),
    ]

    operations = [
        migrations.CreateModel(
            name='Log',
            fields=[
                ('id', models.SmallAutoField(primary_key=True, serialize=False)),
                ('slug', models.CharField(max_length=64, unique=True, validators=[django.core.validators.RegexValidator('^[a-z0-9][a-z0-9._-]{1,63}\\Z', 'Use 2 to 64 characters: a-z, 0-9, point, underscore and hyphen; start with a letter or digit.')])),
                ('origin', models.CharField(max_length=255, unique=True)),
                ('is_public', models.BooleanField(default=False)),
                ('mode', models.CharField(choices=[('active', 'Active'), ('halt', 'Halted')], default='active', max_length=16)),
                ('epoch', models.SmallIntegerField(default=0)),
                ('min_index', models.BigIntegerField(default=0)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('organisation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='logs', to='ledger.organisation')),
                ('prior_log', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.log')),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Head',
            fields=[
                ('log', models.OneToOneField(on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='head', serialize=False, to='ledger.log')),
                ('size', models.BigIntegerField()),
                ('tip', models.BinaryField(max_length=32)),
                ('last_rcvd', models.DateTimeField()),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Entry',
            fields=[
                ('id', models.BigIntegerField(primary_key=True, serialize=False)),
                ('seq', models.BigIntegerField()),
                ('uid', models.UUIDField()),
                ('kind', models.TextField()),
                ('agent', models.TextField(null=True)),
                ('action', models.TextField(null=True)),
                ('zone', models.TextField(null=True)),
                ('risk', models.TextField(null=True)),
                ('level', models.TextField(null=True)),
                ('bypassed', models.BooleanField(null=True)),
                ('ts', models.DateTimeField()),
                ('rcvd', models.DateTimeField()),
                ('late', models.BooleanField()),
                ('entry', models.BinaryField()),
                ('leaf_hash', models.BinaryField(max_length=32)),
                ('log', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='entries', to='ledger.log')),
            ],
            options={
                'verbose_name_plural': 'entries',
                'abstract': False,
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Cosignature',
            fields=[
                ('pk', models.CompositePrimaryKey('log_id', 'size', 'witness', blank=True, editable=False, primary_key=True, serialize=False)),
                ('size', models.BigIntegerField()),
                ('witness', models.TextField()),
                ('line', models.TextField()),
                ('ts', models.DateTimeField()),
                ('log', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='ledger.log')),
            ],
            options={
                'abstract': False,
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Checkpoint',
            fields=[
                ('pk', models.CompositePrimaryKey('log_id', 'size', blank=True, editable=False, primary_key=True, serialize=False)),
                ('size', models.BigIntegerField()),
                ('root', models.BinaryField(max_length=32)),
                ('note', models.TextField()),
                ('created', models.DateTimeField()),
                ('log', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='checkpoints', to='ledger.log')),
            ],
            options={
                'abstract': False,
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Tile',
            fields=[
                ('pk', models.CompositePrimaryKey('log_id', 'level', 'idx', blank=True, editable=False, primary_key=True, serialize=False)),
                ('level', models.SmallIntegerField()),
                ('idx', models.BigIntegerField()),
                ('data', models.BinaryField(max_length=8192)),
                ('root', models.BinaryField(max_length=32)),
                ('log', models.ForeignKey(db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='ledger.log')),
            ],
            options={
                'abstract': False,
                'default_permissions': ('view',),
            },
        ),
        migrations.AddConstraint(
            model_name='log',
            constraint=models.CheckConstraint(condition=models.Q(('mode__in', ['active', 'halt'])), name='log_mode'),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(fields=['log', 'agent', 'seq'], name='entry_agent_seq'),
        ),
        migrations.AddIndex(
            model_name='entry',
            index=models.Index(fields=['log', 'kind', 'seq'], name='entry_kind_seq'),
        ),
        migrations.AddConstraint(
            model_name='entry',
            constraint=models.UniqueConstraint(fields=('log', 'uid'), name='entry_uid_once'),
        ),
        RefuseReversalWithRows("ledger_entry"),
    ]
