
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0003_sealed_parts'),
    ]

    operations = [
        migrations.CreateModel(
            name='Guard',
            fields=[
                ('log', models.OneToOneField(on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='guard', serialize=False, to='ledger.log')),
                ('system_identifier', models.BigIntegerField()),
                ('timeline', models.BigIntegerField()),
                ('postmaster_start', models.DateTimeField()),
                ('size', models.BigIntegerField()),
                ('root', models.BinaryField(max_length=32)),
                ('verdict', models.CharField(max_length=64)),
                ('at', models.DateTimeField()),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='Cursor',
            fields=[
                ('pk', models.CompositePrimaryKey('name', 'log_id', blank=True, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=64)),
                ('next_seq', models.BigIntegerField(default=0)),
                ('log', models.ForeignKey(on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='ledger.log')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Verification',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('requested_by', models.CharField(blank=True, max_length=128)),
                ('started_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('first_seq', models.BigIntegerField(default=0)),
                ('next_seq', models.BigIntegerField(default=0)),
                ('ok', models.BooleanField(null=True)),
                ('kind', models.CharField(blank=True, max_length=64)),
                ('first_bad_seq', models.BigIntegerField(blank=True, null=True)),
                ('report', models.JSONField(default=dict)),
                ('log', models.ForeignKey(on_delete=django.db.models.deletion.DO_NOTHING, related_name='verifications', to='ledger.log')),
            ],
            options={
                'default_permissions': ('view',),
                'indexes': [models.Index(fields=['log', '-started_at'], name='verification_newest')],
            },
        ),
    ]
