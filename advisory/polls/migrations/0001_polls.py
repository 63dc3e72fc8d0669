"""Tables of polls, with what must hold of their rows."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('ledger', '0014_bypassed_decisions_index'),
    ]

    operations = [
        migrations.CreateModel(
            name='Poll',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('state', models.CharField(choices=[('draft', 'Draft'), ('committed', 'Committed'), ('drawn', 'Drawn'), ('open', 'Open'), ('closed', 'Closed'), ('cancelled', 'Cancelled')], default='draft', max_length=10)),
                ('auto', models.BooleanField(default=False)),
                ('created_by', models.CharField(max_length=100)),
                ('created_at', models.DateTimeField()),
                ('question', models.CharField(max_length=2000)),
                ('options', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), size=None)),
                ('question_hash', models.CharField(max_length=64)),
                ('n', models.IntegerField()),
                ('strata_by', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=64), default=list, size=None)),
                ('filter', models.JSONField(default=dict)),
                ('exclude_same_owner', models.BooleanField(default=False)),
                ('estimator', models.CharField(choices=[('srs', 'Simple random sample'), ('stratified', 'Stratified')], max_length=10)),
                ('confidence_pct', models.SmallIntegerField()),
                ('quorum', models.JSONField()),
                ('revisions', models.CharField(choices=[('none', 'The first answer counts'), ('last', 'The last answer before the close counts')], default='none', max_length=4)),
                ('deadline_minutes', models.IntegerField()),
                ('decision_id', models.UUIDField(null=True)),
                ('deciding_agent', models.CharField(blank=True, max_length=64)),
                ('advice_id', models.UUIDField(null=True)),
                ('due_at', models.DateTimeField(null=True)),
                ('log_id', models.SmallIntegerField(null=True)),
                ('frame_hash', models.CharField(blank=True, max_length=64)),
                ('frame_size', models.IntegerField(null=True)),
                ('strata', models.JSONField(default=list)),
                ('commitment', models.CharField(blank=True, max_length=64)),
                ('committed_at', models.DateTimeField(null=True)),
                ('committed_seq', models.BigIntegerField(null=True)),
                ('committed_id', models.UUIDField(null=True)),
                ('opens_at', models.DateTimeField(null=True)),
                ('deadline', models.DateTimeField(null=True)),
                ('kek_id', models.CharField(blank=True, max_length=22)),
                ('wrapped_secret', models.BinaryField(null=True)),
                ('wrapped_key', models.BinaryField(null=True)),
                ('drawn_id', models.UUIDField(null=True)),
                ('secret', models.BinaryField(max_length=32, null=True)),
                ('public_input', models.CharField(blank=True, max_length=200)),
                ('seed', models.BinaryField(max_length=32, null=True)),
                ('sample_hash', models.CharField(blank=True, max_length=64)),
                ('opened_at', models.DateTimeField(null=True)),
                ('closed_id', models.UUIDField(null=True)),
                ('closed_at', models.DateTimeField(null=True)),
                ('reason', models.CharField(blank=True, max_length=2000)),
                ('early', models.BooleanField(default=False)),
                ('inconclusive', models.BooleanField(null=True)),
                ('results', models.JSONField(null=True)),
                ('responses_root', models.CharField(blank=True, max_length=64)),
                ('organisation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='polls', to='ledger.organisation')),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='PollFrame',
            fields=[
                ('poll', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='frame', serialize=False, to='polls.poll')),
                ('rows', models.JSONField()),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='PollInvitation',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('stratum', models.CharField(blank=True, max_length=500)),
                ('base_model', models.CharField(blank=True, max_length=200)),
                ('ticket', models.CharField(max_length=64)),
                ('option_order', django.contrib.postgres.fields.ArrayField(base_field=models.CharField(max_length=32), size=None)),
                ('transport', models.CharField(choices=[('webhook', 'Webhook'), ('pull', 'Inbox'), ('manual', 'By hand')], max_length=7)),
                ('state', models.CharField(choices=[('pending', 'Pending'), ('delivered', 'Delivered'), ('answered', 'Answered'), ('declined', 'Declined'), ('silent', 'Silent'), ('unreachable', 'Unreachable')], default='pending', max_length=11)),
                ('attempts', models.SmallIntegerField(default=0)),
                ('next_attempt_at', models.DateTimeField(null=True)),
                ('lease_until', models.DateTimeField(null=True)),
                ('delivered_at', models.DateTimeField(null=True)),
                ('reminders', models.SmallIntegerField(default=0)),
                ('refused_answers', models.IntegerField(default=0)),
                ('last_error', models.CharField(blank=True, max_length=64)),
                ('agent', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.agent')),
                ('poll', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='invitations', to='polls.poll')),
            ],
            options={
                'default_permissions': ('view',),
            },
        ),
        migrations.CreateModel(
            name='PollResponse',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('response_sha256', models.BinaryField(max_length=32)),
                ('nonce_mac', models.BinaryField(max_length=32)),
                ('sealed', models.BinaryField(null=True)),
                ('document', models.JSONField(null=True)),
                ('received_at', models.DateTimeField()),
                ('seq', models.BigIntegerField()),
                ('counted', models.BooleanField()),
                ('late', models.BooleanField(default=False)),
                ('supersedes', models.UUIDField(null=True)),
                ('entered_by', models.UUIDField(null=True)),
                ('entered_reason', models.CharField(blank=True, max_length=2000)),
                ('invitation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='responses', to='polls.pollinvitation')),
                ('poll', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='responses', to='polls.poll')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='PollSchedule',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('title', models.CharField(max_length=200)),
                ('cron', models.CharField(max_length=100)),
                ('timezone', models.CharField(default='UTC', max_length=64)),
                ('template', models.JSONField()),
                ('enabled', models.BooleanField(default=True)),
                ('next_due_at', models.DateTimeField(null=True)),
                ('last_due_at', models.DateTimeField(null=True)),
                ('if_open', models.CharField(default='skip', max_length=4)),
                ('catch_up', models.CharField(default='none', max_length=4)),
                ('ends_at', models.DateTimeField(null=True)),
                ('max_runs', models.IntegerField(null=True)),
                ('runs', models.IntegerField(default=0)),
                ('created_by', models.CharField(max_length=100)),
                ('created_at', models.DateTimeField()),
                ('organisation', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='ledger.organisation')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.CreateModel(
            name='PollRun',
            fields=[
                ('id', models.UUIDField(primary_key=True, serialize=False)),
                ('due_at', models.DateTimeField()),
                ('skipped', models.CharField(blank=True, max_length=64)),
                ('poll', models.OneToOneField(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='run', to='polls.poll')),
                ('schedule', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='history', to='polls.pollschedule')),
            ],
            options={
                'default_permissions': (),
            },
        ),
        migrations.AddField(
            model_name='poll',
            name='schedule',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='polls', to='polls.pollschedule'),
        ),
        migrations.AddIndex(
            model_name='pollinvitation',
            index=models.Index(condition=models.Q(('state', 'pending')), fields=['next_attempt_at'], name='pollinvitation_due'),
        ),
        migrations.AddIndex(
            model_name='pollinvitation',
            index=models.Index(fields=['agent', 'state'], name='pollinvitation_inbox'),
        ),
        migrations.AddConstraint(
            model_name='pollinvitation',
            constraint=models.UniqueConstraint(fields=('poll', 'agent'), name='pollinvitation_agent_once'),
        ),
        migrations.AddConstraint(
            model_name='pollinvitation',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['pending', 'delivered', 'answered', 'declined', 'silent', 'unreachable'])), name='pollinvitation_state'),
        ),
        migrations.AddConstraint(
            model_name='pollinvitation',
            constraint=models.CheckConstraint(condition=models.Q(('transport__in', ['webhook', 'pull', 'manual'])), name='pollinvitation_transport'),
        ),
        migrations.AddConstraint(
            model_name='pollinvitation',
            constraint=models.CheckConstraint(condition=models.Q(('attempts__gte', 0), ('attempts__lte', 6)), name='pollinvitation_attempts'),
        ),
        migrations.AddConstraint(
            model_name='pollinvitation',
            constraint=models.CheckConstraint(condition=models.Q(('reminders__gte', 0), ('reminders__lte', 2)), name='pollinvitation_reminders'),
        ),
        migrations.AddIndex(
            model_name='pollresponse',
            index=models.Index(fields=['poll', 'seq'], name='pollresponse_order'),
        ),
        migrations.AddConstraint(
            model_name='pollresponse',
            constraint=models.UniqueConstraint(condition=models.Q(('counted', True)), fields=('invitation',), name='pollresponse_one_counts'),
        ),
        migrations.AddConstraint(
            model_name='pollresponse',
            constraint=models.UniqueConstraint(fields=('poll', 'nonce_mac'), name='pollresponse_nonce_once'),
        ),
        migrations.AddConstraint(
            model_name='pollresponse',
            constraint=models.UniqueConstraint(fields=('poll', 'response_sha256'), name='pollresponse_once'),
        ),
        migrations.AddConstraint(
            model_name='pollresponse',
            constraint=models.CheckConstraint(condition=models.Q(('counted', True), ('late', True), _negated=True), name='pollresponse_late'),
        ),
        migrations.AddConstraint(
            model_name='pollresponse',
            constraint=models.CheckConstraint(condition=models.Q(('sealed__isnull', True), ('document__isnull', True), _connector='OR'), name='pollresponse_blind'),
        ),
        migrations.AddConstraint(
            model_name='pollresponse',
            constraint=models.CheckConstraint(condition=models.Q(('entered_by__isnull', True), models.Q(('entered_reason', ''), _negated=True), _connector='OR'), name='pollresponse_manual'),
        ),
        migrations.AddIndex(
            model_name='pollschedule',
            index=models.Index(condition=models.Q(('enabled', True)), fields=['next_due_at'], name='pollschedule_due'),
        ),
        migrations.AddConstraint(
            model_name='pollschedule',
            constraint=models.CheckConstraint(condition=models.Q(('if_open__in', ['skip', 'run'])), name='pollschedule_if_open'),
        ),
        migrations.AddConstraint(
            model_name='pollschedule',
            constraint=models.CheckConstraint(condition=models.Q(('catch_up__in', ['none', 'one'])), name='pollschedule_catch_up'),
        ),
        migrations.AddConstraint(
            model_name='pollschedule',
            constraint=models.CheckConstraint(condition=models.Q(('max_runs__isnull', True), ('max_runs__gte', models.F('runs')), _connector='OR'), name='pollschedule_runs'),
        ),
        migrations.AddConstraint(
            model_name='pollrun',
            constraint=models.UniqueConstraint(fields=('schedule', 'due_at'), name='pollrun_once'),
        ),
        migrations.AddConstraint(
            model_name='pollrun',
            constraint=models.CheckConstraint(condition=models.Q(('poll__isnull', True), ('skipped', ''), _connector='XOR'), name='pollrun_poll_or_reason'),
        ),
        migrations.AddIndex(
            model_name='poll',
            index=models.Index(fields=['organisation', '-id'], name='poll_newest'),
        ),
        migrations.AddIndex(
            model_name='poll',
            index=models.Index(fields=['organisation', 'question_hash'], name='poll_same_question'),
        ),
        migrations.AddIndex(
            model_name='poll',
            index=models.Index(condition=models.Q(('state__in', ['draft', 'committed', 'drawn', 'open'])), fields=['state', 'deadline'], name='poll_at_work'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['draft', 'committed', 'drawn', 'open', 'closed', 'cancelled'])), name='poll_state'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(('estimator__in', ['srs', 'stratified'])), name='poll_estimator'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(('revisions__in', ['none', 'last'])), name='poll_revisions'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(('n__gte', 1)), name='poll_n'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(('deadline_minutes__gte', 1), ('deadline_minutes__lte', 43200)), name='poll_deadline'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(('confidence_pct__gte', 50), ('confidence_pct__lte', 99)), name='poll_confidence'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['draft', 'cancelled']), models.Q(('committed_id__isnull', False), ('committed_seq__isnull', False), ('deadline__isnull', False)), _connector='OR'), name='poll_committed'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['draft', 'committed', 'cancelled']), models.Q(('drawn_id__isnull', False), ('secret__isnull', False), ('seed__isnull', False)), _connector='OR'), name='poll_drawn'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', 'closed'), _negated=True), models.Q(('closed_id__isnull', False), ('results__isnull', False)), _connector='OR'), name='poll_closed'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(('state', 'closed'), ('results__isnull', True), _connector='OR'), name='poll_blind_until_close'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('due_at__isnull', True), ('schedule__isnull', True)), models.Q(('due_at__isnull', False), ('schedule__isnull', False)), _connector='OR'), name='poll_of_schedule'),
        ),
        migrations.AddConstraint(
            model_name='poll',
            constraint=models.UniqueConstraint(fields=('schedule', 'due_at'), name='poll_once_per_run'),
        ),
    ]
