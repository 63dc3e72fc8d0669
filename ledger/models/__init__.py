"""Models of the ledger: who acts, what is logged, what is sealed beside it, and how it is run."""

from ledger.models.identity import Agent, AgentKey, AgentStatus, ApiKey, Membership, Organisation, Role
from ledger.models.log import (
    POSITIONS_PER_LOG,
    AppendOnlyError,
    Checkpoint,
    Cosignature,
    Decision,
    Entry,
    Head,
    Log,
    Mode,
    StaffAction,
    Tile,
)
from ledger.models.operations import Cursor, Guard, Verification
from ledger.models.sealed import ErasureBasis, ErasureRequest, MacRoot, SealedPart, SubjectKey, Submission
from ledger.models.search import EntrySearch

__all__ = [
    "POSITIONS_PER_LOG",
    "Agent",
    "AgentKey",
    "AgentStatus",
    "ApiKey",
    "AppendOnlyError",
    "Checkpoint",
    "Cosignature",
    "Cursor",
    "Decision",
    "Entry",
    "EntrySearch",
    "ErasureBasis",
    "ErasureRequest",
    "Guard",
    "Head",
    "Log",
    "MacRoot",
    "Membership",
    "Mode",
    "Organisation",
    "Role",
    "SealedPart",
    "StaffAction",
    "SubjectKey",
    "Submission",
    "Tile",
    "Verification",
]
