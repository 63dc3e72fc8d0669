"""What an entry row must satisfy, whoever writes it: position, id, size, and the hash over its bytes."""

from django.db import migrations

from ledger.migrations._operations import RefuseReversalWithRows

# 1099511627776 is 2^40; `^` would be floating point in SQL.
ADD = """
ALTER TABLE ledger_entry
    ALTER COLUMN entry SET STORAGE EXTERNAL,
    ADD CONSTRAINT entry_position CHECK (
        seq >= 0 AND seq < 1099511627776 AND id = log_id::bigint * 1099511627776 + seq),
    ADD CONSTRAINT entry_size CHECK (octet_length(entry) BETWEEN 2 AND 65535),
    ADD CONSTRAINT entry_leaf_hash CHECK (leaf_hash = sha256('\\x00'::bytea || entry));
ALTER TABLE ledger_tile
    ADD CONSTRAINT tile_size CHECK (octet_length(data) = 8192 AND octet_length(root) = 32);
ALTER TABLE ledger_checkpoint
    ADD CONSTRAINT checkpoint_root CHECK (octet_length(root) = 32 AND size >= 0);
ALTER TABLE ledger_head
    ADD CONSTRAINT head_tip CHECK (octet_length(tip) = 32 AND size >= 0);
"""
DROP = """
ALTER TABLE ledger_head DROP CONSTRAINT head_tip;
ALTER TABLE ledger_checkpoint DROP CONSTRAINT checkpoint_root;
ALTER TABLE ledger_tile DROP CONSTRAINT tile_size;
ALTER TABLE ledger_entry DROP CONSTRAINT entry_leaf_hash, DROP CONSTRAINT entry_size, DROP CONSTRAINT entry_position;
"""


class Migration(migrations.Migration):
    dependencies = [("ledger", "0005_entry_search")]
    operations = [migrations.RunSQL(ADD, reverse_sql=DROP), RefuseReversalWithRows("ledger_entry")]
