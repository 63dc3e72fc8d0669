"""Working sessions in which private values are shown, and which records were opened in them."""

import datetime
import django.db.models.deletion
import django.db.models.expressions
import uuid
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('console', '0003_exports_and_evidence'),
        ('ledger', '0014_bypassed_decisions_index'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='RevealSession',
            fields=[
                ('id', models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ('actor', models.CharField(max_length=128)),
                ('sign_in', models.CharField(max_length=64)),
                ('reason', models.CharField(max_length=1000)),
                ('began_at', models.DateTimeField()),
                ('ends_at', models.DateTimeField()),
                ('ended_at', models.DateTimeField(blank=True, null=True)),
                ('ended_by', models.CharField(blank=True, choices=[('person', 'the person'), ('sign_out', 'sign-out'), ('time', 'time')], max_length=8)),
                ('records', models.IntegerField(default=0)),
                ('digest', models.CharField(blank=True, max_length=64)),
                ('recorded_at', models.DateTimeField(blank=True, null=True)),
                ('organisation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.organisation')),
                ('person', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='Reveal',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('entry_id', models.BigIntegerField()),
                ('uid', models.UUIDField()),
                ('at', models.DateTimeField()),
                ('session', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reveals', to='console.revealsession')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.AddIndex(
            model_name='revealsession',
            index=models.Index(fields=['organisation', '-began_at'], name='revealsession_newest'),
        ),
        migrations.AddConstraint(
            model_name='revealsession',
            constraint=models.UniqueConstraint(condition=models.Q(('ended_at__isnull', True)), fields=('organisation', 'sign_in'), name='revealsession_one_open'),
        ),
        migrations.AddConstraint(
            model_name='revealsession',
            constraint=models.CheckConstraint(condition=models.Q(('ends_at__gt', models.F('began_at')), ('ends_at__lte', django.db.models.expressions.CombinedExpression(models.F('began_at'), '+', models.Value(datetime.timedelta(seconds=28800))))), name='revealsession_eight_hours'),
        ),
        migrations.AddConstraint(
            model_name='revealsession',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('ended_at__isnull', True), ('ended_by', ''), ('recorded_at__isnull', True)), models.Q(('digest__regex', '^[0-9a-f]{64}$'), ('ended_at__isnull', False), ('ended_by__in', ['person', 'sign_out', 'time'])), _connector='OR'), name='revealsession_end'),
        ),
        migrations.AddConstraint(
            model_name='reveal',
            constraint=models.UniqueConstraint(fields=('session', 'entry_id'), name='reveal_once'),
        ),
    ]
