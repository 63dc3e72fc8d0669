
import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('ledger', '0004_guard_and_verification'),
    ]

    operations = [
        migrations.CreateModel(
            name='EntrySearch',
            fields=[
                ('entry', models.OneToOneField(db_constraint=False, on_delete=django.db.models.deletion.DO_NOTHING, primary_key=True, related_name='search', serialize=False, to='ledger.entry')),
                ('zone', models.TextField(null=True)),
                ('level', models.TextField(null=True)),
                ('bypassed', models.BooleanField(null=True)),
                ('explanation', django.contrib.postgres.search.SearchVectorField()),
                ('body', models.JSONField()),
            ],
            options={
                'default_permissions': (),
                'indexes': [django.contrib.postgres.indexes.GinIndex(fields=['explanation'], name='entrysearch_text'), django.contrib.postgres.indexes.GinIndex(fields=['body'], name='entrysearch_body', opclasses=['jsonb_path_ops']), models.Index(fields=['zone', '-entry'], name='entrysearch_zone'), models.Index(fields=['level', '-entry'], name='entrysearch_level')],
            },
        ),
    ]
