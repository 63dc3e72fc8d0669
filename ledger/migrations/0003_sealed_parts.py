
import django.db.models.deletion
import uuid
from django.db import migrations, models

from ledger.migrations._operations import RefuseReversalWithRows


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0002_log_and_entries'),
    ]

    operations = [
        migrations.CreateModel(
            name='SubjectKey',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, primary_key=True, serialize=False)),
                ('handle_mac', models.BinaryField(max_length=32, null=True, unique=True)),
                ('kek_id', models.CharField(max_length=22)),
                ('wrapped_dek', models.BinaryField()),
                ('created', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='MacRoot',
            fields=[
                ('id', models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ('kek_id', models.CharField(max_length=22)),
                ('wrapped', models.BinaryField()),
                ('created', models.DateTimeField()),
            ],
            options={
                'default_permissions': (),
                'constraints': [models.CheckConstraint(condition=models.Q(('id', 1)), name='macroot_single')],
            },
        ),
        migrations.CreateModel(
            name='SealedPart',
            fields=[
                ('pk', models.CompositePrimaryKey('log_id', 'uid', 'ptr', blank=True, editable=False, primary_key=True, serialize=False)),
                ('uid', models.UUIDField()),
                ('ptr', models.TextField()),
                ('nonce', models.BinaryField(max_length=12)),
                ('ciphertext', models.BinaryField()),
                ('log', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='ledger.log')),
                ('subject_key', models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='parts', to='ledger.subjectkey')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Submission',
            fields=[
                ('pk', models.CompositePrimaryKey('log_id', 'uid', blank=True, editable=False, primary_key=True, serialize=False)),
                ('uid', models.UUIDField()),
                ('request_mac', models.BinaryField(max_length=32)),
                ('log', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.DO_NOTHING, related_name='+', to='ledger.log')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='ErasureRequest',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('uid', models.UUIDField(blank=True, null=True)),
                ('handle_mac', models.BinaryField(blank=True, max_length=32, null=True)),
                ('basis', models.CharField(choices=[('data_subject_request', 'Request of the data subject'), ('consent_withdrawn', 'Consent withdrawn'), ('retention_expired', 'Retention period over'), ('legal_order', 'Legal order'), ('lesson_withdrawn', 'Lesson withdrawn')], max_length=32)),
                ('requested_by', models.CharField(max_length=128)),
                ('requested_at', models.DateTimeField()),
                ('approved_by', models.CharField(blank=True, max_length=128)),
                ('approved_at', models.DateTimeField(blank=True, null=True)),
                ('run', models.UUIDField(blank=True, null=True)),
                ('log', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='erasure_requests', to='ledger.log')),
            ],
            options={
                'default_permissions': ('view',),
                'constraints': [models.CheckConstraint(condition=models.Q(('uid__isnull', False), ('handle_mac__isnull', False), _connector='XOR'), name='erasurerequest_one_target'), models.CheckConstraint(condition=models.Q(('approved_by', ''), models.Q(('approved_by', models.F('requested_by')), _negated=True), _connector='OR'), name='erasurerequest_two_persons')],
            },
        ),
        RefuseReversalWithRows("ledger_sealedpart"),
    ]
