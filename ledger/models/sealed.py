"""Private values beside the log: mutable, erasable, never hashed into an entry (LEDGER sections 5 and 14)."""

from __future__ import annotations

import uuid

from django.db import models

from ledger.models.log import Log


class MacRoot(models.Model):
    """The one MAC root, wrapped under the KEK; handles and replay tests derive their keys from it."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    kek_id = models.CharField(max_length=22)
    wrapped = models.BinaryField()
    created = models.DateTimeField()

    class Meta:
        default_permissions = ()
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="macroot_single")]

    def __str__(self) -> str:
        return f"MAC root under {self.kek_id}"


class SubjectKey(models.Model):
    """Data encryption key of one data subject, or of one decision without a named subject."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    handle_mac = models.BinaryField(max_length=32, null=True, unique=True)
    kek_id = models.CharField(max_length=22)
    wrapped_dek = models.BinaryField()
    created = models.DateTimeField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.id)


class SealedPart(models.Model):
    """Ciphertext of one private value.

    The sequencer locks the key row itself, so no foreign key is checked twice.
    """

    pk = models.CompositePrimaryKey("log_id", "uid", "ptr")
    log = models.ForeignKey(
        Log, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    uid = models.UUIDField()
    ptr = models.TextField()
    subject_key = models.ForeignKey(
        SubjectKey, on_delete=models.DO_NOTHING, db_constraint=False, related_name="parts"
    )
    nonce = models.BinaryField(max_length=12)
    ciphertext = models.BinaryField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.uid}{self.ptr}"


class Submission(models.Model):
    """MAC of a submitted record: tells a retry from another record under the same id."""

    pk = models.CompositePrimaryKey("log_id", "uid")
    log = models.ForeignKey(
        Log, on_delete=models.DO_NOTHING, db_constraint=False, db_index=False, related_name="+"
    )
    uid = models.UUIDField()
    request_mac = models.BinaryField(max_length=32)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return str(self.uid)


class ErasureBasis(models.TextChoices):
    DATA_SUBJECT_REQUEST = "data_subject_request", "Request of the data subject"
    CONSENT_WITHDRAWN = "consent_withdrawn", "Consent withdrawn"
    RETENTION_EXPIRED = "retention_expired", "Retention period over"
    LEGAL_ORDER = "legal_order", "Legal order"
    LESSON_WITHDRAWN = "lesson_withdrawn", "Lesson withdrawn"


_WAITING = models.Q(run__isnull=True, withdrawn_at__isnull=True)


class ErasureRequest(models.Model):
    """A request to erase one decision or one data subject; another person approves it, or it is withdrawn."""

    log = models.ForeignKey(Log, on_delete=models.PROTECT, related_name="erasure_requests")
    uid = models.UUIDField(null=True, blank=True)
    handle_mac = models.BinaryField(max_length=32, null=True, blank=True)
    basis = models.CharField(max_length=32, choices=ErasureBasis)
    reason = models.CharField(max_length=1000, blank=True)
    requested_by = models.CharField(max_length=128)
    requested_at = models.DateTimeField()
    approved_by = models.CharField(max_length=128, blank=True)
    approved_at = models.DateTimeField(null=True, blank=True)
    run = models.UUIDField(null=True, blank=True)
    withdrawn_by = models.CharField(max_length=128, blank=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        default_permissions = ("view",)
        constraints = [
            models.CheckConstraint(
                condition=models.Q(uid__isnull=False) ^ models.Q(handle_mac__isnull=False),
                name="erasurerequest_one_target",
            ),
            models.CheckConstraint(
                condition=models.Q(approved_by="") | ~models.Q(approved_by=models.F("requested_by")),
                name="erasurerequest_two_persons",
            ),
            models.CheckConstraint(
                condition=models.Q(approved_by="", approved_at__isnull=True)
                | (~models.Q(approved_by="") & models.Q(approved_at__isnull=False)),
                name="erasurerequest_approval",
            ),
            models.CheckConstraint(
                condition=models.Q(withdrawn_by="", withdrawn_at__isnull=True)
                | (~models.Q(withdrawn_by="") & models.Q(withdrawn_at__isnull=False, run__isnull=True)),
                name="erasurerequest_withdrawal",
            ),
            models.CheckConstraint(
                condition=models.Q(run__isnull=True) | ~models.Q(approved_by=""),
                name="erasurerequest_run_approved",
            ),
            models.UniqueConstraint(
                fields=["log", "uid"], condition=_WAITING, name="erasurerequest_decision_once"
            ),
            models.UniqueConstraint(
                fields=["log", "handle_mac"], condition=_WAITING, name="erasurerequest_subject_once"
            ),
        ]

    def __str__(self) -> str:
        return f"erasure request {self.pk}"
