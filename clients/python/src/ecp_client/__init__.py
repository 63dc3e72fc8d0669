"""Record what an agent decides in an ECP ledger, and verify what the ledger promised.

from ecp_client import Ledger
ledger = Ledger(url, key, agent="pricing-bot")
ledger.record(action="price.change", explanation="Stock is older than 90 days.", context={"stock": 41})
"""

from ecp_client.advice import Advice, Bypass
from ecp_client.aio import AsyncHandle, AsyncLedger
from ecp_client.calls import Outcome, Receipt
from ecp_client.decisions import Deciding
from ecp_client.errors import EcpClientError, InvalidInput, NotInTime, NotQueued, Refused, Unavailable
from ecp_client.ledger import Ledger, SyncHandle
from ecp_client.polls import Invitation, PollReceipt
from ecp_client.recorder import Handle, Stats
from ecp_client.records import RecordFields
from ecp_client.sender import Rejection
from ecp_client.statements import LogIdentity, Signer
from ecp_client.verify import Report, verify_receipt
from ecp_client.watch import Watch

__all__ = [
    "Advice",
    "AsyncHandle",
    "AsyncLedger",
    "Bypass",
    "Deciding",
    "EcpClientError",
    "Handle",
    "InvalidInput",
    "Invitation",
    "Ledger",
    "LogIdentity",
    "NotInTime",
    "NotQueued",
    "Outcome",
    "PollReceipt",
    "Receipt",
    "RecordFields",
    "Refused",
    "Rejection",
    "Report",
    "Signer",
    "Stats",
    "SyncHandle",
    "Unavailable",
    "Watch",
    "verify_receipt",
]
