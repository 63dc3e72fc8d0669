"""Why an erasure is proposed, and that it may be withdrawn; one open proposal for each decision or person."""

from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0015_staff_action_proxy'),
    ]

    operations = [
        migrations.AddField(
            model_name='erasurerequest',
            name='reason',
            field=models.CharField(blank=True, max_length=1000),
        ),
        migrations.AddField(
            model_name='erasurerequest',
            name='withdrawn_at',
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name='erasurerequest',
            name='withdrawn_by',
            field=models.CharField(blank=True, max_length=128),
        ),
        migrations.AddConstraint(
            model_name='erasurerequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('approved_at__isnull', True), ('approved_by', '')), models.Q(models.Q(('approved_by', ''), _negated=True), ('approved_at__isnull', False)), _connector='OR'), name='erasurerequest_approval'),
        ),
        migrations.AddConstraint(
            model_name='erasurerequest',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('withdrawn_at__isnull', True), ('withdrawn_by', '')), models.Q(models.Q(('withdrawn_by', ''), _negated=True), ('run__isnull', True), ('withdrawn_at__isnull', False)), _connector='OR'), name='erasurerequest_withdrawal'),
        ),
        migrations.AddConstraint(
            model_name='erasurerequest',
            constraint=models.CheckConstraint(condition=models.Q(('run__isnull', True), models.Q(('approved_by', ''), _negated=True), _connector='OR'), name='erasurerequest_run_approved'),
        ),
        migrations.AddConstraint(
            model_name='erasurerequest',
            constraint=models.UniqueConstraint(condition=models.Q(('run__isnull', True), ('withdrawn_at__isnull', True)), fields=('log', 'uid'), name='erasurerequest_decision_once'),
        ),
        migrations.AddConstraint(
            model_name='erasurerequest',
            constraint=models.UniqueConstraint(condition=models.Q(('run__isnull', True), ('withdrawn_at__isnull', True)), fields=('log', 'handle_mac'), name='erasurerequest_subject_once'),
        ),
        # Without the column a withdrawn request would look approved, and the next run would carry it out.
        migrations.RunSQL(
            migrations.RunSQL.noop,
            reverse_sql="DELETE FROM ledger_erasurerequest WHERE withdrawn_at IS NOT NULL",
        ),
    ]
