"""Offline verification: no network, no trust in the server, only a key that came from elsewhere."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ecp_client._core.ledger.merkle import ProofInvalid
from ecp_client._core.ledger.note import Verifier
from ecp_client._core.ledger.verify.evidence import check_receipt
from ecp_client._core.ledger.verify.report import Report
from ecp_client.calls import Receipt
from ecp_client.errors import InvalidInput, problem

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Report", "verify_receipt"]


def verify_receipt(receipt: Receipt | Mapping[str, Any] | str, entry: bytes, vkey: str) -> Report:
    """Whether a receipt puts exactly these entry bytes under a checkpoint that `vkey` signed.

    The receipt is that of this client, its JSON, or the tlog-proof text. `ok` of the report says whether all
    that could be checked is sound, `incomplete` what could not be checked yet. A vkey from the same server
    proves only that the server agrees with itself.
    """
    try:
        verifier = Verifier(vkey.strip())
    except ProofInvalid as error:
        raise InvalidInput(problem("bad_value", f"the verifier key cannot be read: {error}")) from None
    if isinstance(receipt, Receipt):
        receipt = receipt.document
    text = receipt if isinstance(receipt, str) else json.dumps(receipt)
    return check_receipt(text, entry, verifier)
