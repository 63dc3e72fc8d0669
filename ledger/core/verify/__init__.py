"""The offline verifier of LEDGER section 15: `python -m ledger.core.verify`.

The same core stands under `manage.py ledger_verify`. It needs Python and `cryptography`, nothing else, and
reaches for the network only when it is given a URL.
"""

from ledger.core.verify.report import KINDS, Finding, Findings, Report
from ledger.core.verify.stream import LogVerifier

__all__ = ["KINDS", "Finding", "Findings", "LogVerifier", "Report"]
