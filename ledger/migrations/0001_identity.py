
import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='Agent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.CharField(max_length=64, validators=[django.core.validators.RegexValidator('^[a-z0-9][a-z0-9._-]{1,63}\\Z', 'Use 2 to 64 characters: a-z, 0-9, point, underscore and hyphen; start with a letter or digit.')])),
                ('title', models.CharField(max_length=200)),
                ('status', models.CharField(choices=[('active', 'Active'), ('suspended', 'Suspended'), ('retired', 'Retired')], default='active', max_length=16)),
                ('owner', models.CharField(blank=True, help_text='The person or team that answers for this agent.', max_length=200)),
                ('labels', models.JSONField(blank=True, default=dict, help_text='Names and values, such as role and base_model; polls use them as strata.')),
                ('endpoint', models.CharField(blank=True, help_text='Public https address for deliveries to this agent, if it has one.', max_length=2048)),
                ('accepts_polls', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
        ),
        migrations.CreateModel(
            name='Organisation',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('slug', models.CharField(max_length=64, unique=True, validators=[django.core.validators.RegexValidator('^[a-z0-9][a-z0-9._-]{1,63}\\Z', 'Use 2 to 64 characters: a-z, 0-9, point, underscore and hyphen; start with a letter or digit.')])),
                ('title', models.CharField(max_length=200)),
                ('context_policy', models.JSONField(blank=True, default=dict, help_text="Context policy by action: {action or '*': policy name@version}. Empty: default@1.")),
                ('created_at', models.DateTimeField(auto_now_add=True)),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('slug__regex', '^[a-z0-9][a-z0-9._-]{1,63}$')), name='organisation_slug')],
            },
        ),
        migrations.CreateModel(
            name='ApiKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('prefix', models.CharField(max_length=8, unique=True)),
                ('digest', models.BinaryField(max_length=32)),
                ('title', models.CharField(blank=True, max_length=200)),
                ('scopes', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), size=None)),
                ('require_signature', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('expires_at', models.DateTimeField()),
                ('last_used_at', models.DateTimeField(blank=True, null=True)),
                ('last_used_network', models.GenericIPAddressField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('agent', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='ledger.agent')),
                ('organisation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='api_keys', to='ledger.organisation')),
            ],
            options={
                'verbose_name': 'API key',
                'verbose_name_plural': 'API keys',
            },
        ),
        migrations.AddField(
            model_name='agent',
            name='organisation',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='agents', to='ledger.organisation'),
        ),
        migrations.CreateModel(
            name='AgentKey',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kid', models.CharField(max_length=22, unique=True)),
                ('public_key', models.BinaryField(max_length=32)),
                ('valid_from', models.DateTimeField()),
                ('valid_until', models.DateTimeField(blank=True, null=True)),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_reason', models.CharField(blank=True, max_length=500)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('agent', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='keys', to='ledger.agent')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('valid_until__isnull', True), ('valid_until__gt', models.F('valid_from')), _connector='OR'), name='agentkey_interval')],
            },
        ),
        migrations.CreateModel(
            name='Membership',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('role', models.CharField(choices=[('viewer', 'Viewer'), ('auditor', 'Auditor'), ('operator', 'Operator'), ('manufacturer', 'Manufacturer'), ('admin', 'Admin')], max_length=16)),
                ('pseudonym', models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('agents', models.ManyToManyField(blank=True, help_text='Only for manufacturers: the agents they may see.', related_name='+', to='ledger.agent')),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='memberships', to=settings.AUTH_USER_MODEL)),
                ('organisation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='memberships', to='ledger.organisation')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('user', 'organisation'), name='membership_once'), models.CheckConstraint(condition=models.Q(('role__in', ['viewer', 'auditor', 'operator', 'manufacturer', 'admin'])), name='membership_role')],
            },
        ),
        migrations.AddConstraint(
            model_name='agent',
            constraint=models.UniqueConstraint(fields=('organisation', 'slug'), name='agent_slug_once'),
        ),
        migrations.AddConstraint(
            model_name='agent',
            constraint=models.CheckConstraint(condition=models.Q(('slug__regex', '^[a-z0-9][a-z0-9._-]{1,63}$')), name='agent_slug'),
        ),
        migrations.AddConstraint(
            model_name='agent',
            constraint=models.CheckConstraint(condition=models.Q(('status__in', ['active', 'suspended', 'retired'])), name='agent_status'),
        ),
    ]
