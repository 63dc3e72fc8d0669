# A copy of ecp_project/kernel/errors.py, made by clients/python/copy_core.py; change it there.
"""The one error family of ECP and the register of its problem codes (RFC 9457).

Expected failures are `EcpError`; everything else is a bug and answers 500. `ecp_project.api.problems`
renders them as `application/problem+json`, the console as a page. The register is data so that documents
and tests can be compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem code: its HTTP statuses, a title for people, and what they can do about it."""

    statuses: tuple[int, ...]
    title: str
    advice: str


PROBLEMS: dict[str, Problem] = {
    # --- the bytes are no document (SECURITY section 5.1, LEDGER section 2)
    "malformed_json": Problem((400,), "Not a JSON document", "Send one UTF-8 JSON object without a BOM."),
    "too_deep": Problem((400,), "Nested too deeply", "Keep objects and arrays within 16 levels."),
    "too_many_members": Problem((400,), "Too many members", "Send at most 2,000 members in one document."),
    "duplicate_key": Problem((400,), "A member is named twice", "Send each member once."),
    "number_not_integer": Problem(
        (400,), "Not an integer", "Write whole numbers without sign, point or exponent."
    ),
    "integer_out_of_range": Problem((400,), "Integer out of range", "Stay within -(2^53-1) and 2^53-1."),
    "bad_key": Problem((400,), "Member name not allowed", "Use a-z, 0-9 and underscore, at most 64."),
    "bad_text": Problem((400,), "Character not allowed", "Remove control characters and lone surrogates."),
    "text_not_nfc": Problem((400,), "Text is not in NFC", "Normalise text to Unicode NFC before sending."),
    "not_canonical": Problem((400,), "Not canonical", "Send the RFC 8785 bytes of the statement."),
    # --- the document breaks a rule (LEDGER sections 3 to 6)
    "unknown_field": Problem((400,), "Unknown member", "Remove the member that the pointer names."),
    "missing_field": Problem((400,), "A member is missing", "Add the member that the pointer names."),
    "wrong_type": Problem(
        (400,), "Wrong JSON type", "Send the type that the detail names; nothing is converted."
    ),
    "bad_value": Problem((400,), "Value not allowed", "Correct the value that the pointer or detail names."),
    "explanation_too_short": Problem(
        (400, 422), "Explanation too short", "Explain the decision in at least 10 visible characters."
    ),
    "org_mismatch": Problem((400,), "Wrong organisation", "Use the organisation that owns the log."),
    "idempotency_mismatch": Problem(
        (400,), "Idempotency-Key and id differ", "Send the same UUID in both, or only one of them."
    ),
    "unknown_key": Problem(
        (400,), "Unknown key", "Check the signing key, query parameter or token that is named."
    ),
    "key_not_valid": Problem(
        (400,), "Signing key not valid now", "Register a key whose validity covers now."
    ),
    "key_weak": Problem((400,), "Weak public key", "Generate a fresh Ed25519 key pair."),
    "bad_signature": Problem(
        (400,), "Signature does not verify", "Sign the exact statement bytes for this log."
    ),
    "batch_empty": Problem((400,), "Empty batch", "Send 1 to 1,000 lines."),
    "invalid_cursor": Problem((400,), "Cursor not valid", "Start again from the first page of this list."),
    # --- the query of a list breaks its grammar (CONSOLE section 4.3)
    "empty_value": Problem((400,), "A value is missing", "Write a value behind the colon, or drop the key."),
    "repeated_key": Problem((400,), "A key is given twice", "Join values with a comma, or drop one term."),
    "unclosed_quote": Problem((400,), "A quotation mark is open", "Close the quotation mark that is marked."),
    "query_too_long": Problem((400,), "Query too long", "Keep a query within 512 characters."),
    "too_many_terms": Problem((400,), "Too many terms", "Keep a query within 20 terms."),
    "endpoint_forbidden": Problem((400,), "Delivery address refused", "Use a public https address."),
    # --- polls (POLLS sections 1 to 7)
    "value_invalid": Problem(
        (400, 422), "Value not allowed", "Send one of the values that the detail names."
    ),
    "schema_invalid": Problem((400,), "Not an answer", "Send kid, payload and signature as documented."),
    "cron_invalid": Problem(
        (400,), "Not a schedule", "Write five fields: minute hour day month weekday, 5 minutes apart."
    ),
    "frame_duplicate": Problem((400,), "An agent is in the frame twice", "Name each agent once."),
    "frame_empty": Problem((422,), "Nobody to ask", "Widen the filter, or let agents accept polls."),
    "frame_too_large": Problem((422,), "Too many to draw from", "Narrow the filter to 5,000 agents."),
    "question_mismatch": Problem((422,), "Another question", "Answer the question_hash of the invitation."),
    "agent_mismatch": Problem((422,), "Another agent", "Answer as the agent that was invited."),
    "key_inactive": Problem(
        (422,), "Signing key not active", "Sign with a key that is registered and valid."
    ),
    "signature_invalid": Problem((422,), "Signature does not verify", "Sign the exact payload bytes."),
    "choice_unknown": Problem((422,), "No such option", "Choose one of the options of the poll."),
    "poll_state": Problem((409,), "Not possible in this state", "Look at the state of the poll."),
    "poll_not_open": Problem((409,), "Poll not open", "Answer after it has opened and before its deadline."),
    "poll_closed": Problem((409,), "Poll closed", "The deadline has passed; a late answer is not counted."),
    "poll_open": Problem((409,), "Poll still open", "Results exist after the poll has closed."),
    "nonce_reused": Problem((409,), "Nonce used before", "Make a new nonce for each answer."),
    "already_answered": Problem((409,), "Already answered", "This poll counts the first answer."),
    # --- rule sets, advice and bypasses (FRICTION section 5)
    "ruleset_invalid": Problem((400,), "No rule set", "Correct the lines that errors names."),
    "step_unknown": Problem((400,), "No such step", "Use step numbers of this advice."),
    "bypass_reason_too_short": Problem(
        (400,), "Reason too short", "Give a reason of at least 10 visible characters."
    ),
    "expiry_required": Problem((400,), "No end given", "Say when it ends, within 8 hours."),
    "expiry_too_far": Problem((400,), "End too far away", "Let it end within 8 hours; ask again later."),
    # --- who asks
    "credentials_missing": Problem((401,), "Not signed in", "Send Authorization: Bearer with an API key."),
    "credentials_invalid": Problem((401,), "Credentials not valid", "Check the key, or ask for a new one."),
    "signature_required": Problem((401,), "Signature required", "Sign statements; this key demands it."),
    "role_missing": Problem((403,), "Role missing", "Ask an administrator of your organisation."),
    "scope_missing": Problem(
        (403,), "Scope missing", "Use a key that carries the scope named in the detail."
    ),
    "agent_not_allowed": Problem(
        (403,), "Agent not allowed", "Name a registered, active agent that this key may speak for."
    ),
    "four_eyes": Problem((403,), "Another person is needed", "Ask somebody who did not propose it."),
    "csrf_failed": Problem((403,), "Form expired", "Reload the page and send the form again."),
    # --- what is asked for
    "not_found": Problem((404,), "Not found", "Check the address and the organisation of your key."),
    "not_signed_yet": Problem((404, 409), "Not signed yet", "Try again after the next checkpoint."),
    "method_not_allowed": Problem((405,), "Method not allowed", "Use a method from the Allow header."),
    "not_acceptable": Problem((406,), "Not acceptable", "Ask for a media type that this address serves."),
    "reveal_needed": Problem((409,), "Reason needed", "Say first why you need to read private values."),
    "erasure_state": Problem((409,), "Decided already", "Load the page again; it shows the state now."),
    "id_reused": Problem((409,), "Id already used", "Use a new UUIDv7 for a new decision."),
    "version_exists": Problem((409,), "Version not new", "Raise the version number of the file."),
    "state_invalid": Problem((409,), "Not from this state", "Look at its present state first."),
    "step_already_done": Problem((409,), "Step already done", "Nothing is left to do or to bypass there."),
    "body_too_large": Problem((413,), "Request body too large", "Send less in one request."),
    "batch_too_large": Problem((413,), "Batch too large", "Send at most 1,000 lines and 5 MiB."),
    "too_large": Problem((413,), "Document too large", "Shorten the statement or its private context."),
    "uri_too_long": Problem((414,), "Address too long", "Keep the request target within 4 KiB."),
    "unsupported_media_type": Problem(
        (415,), "Media type not supported", "Send application/json, or application/x-ndjson for a batch."
    ),
    "validation_failed": Problem((422,), "A field is not valid", "Correct the field that the pointer names."),
    "range_too_large": Problem((422,), "Range too large", "Ask for a smaller range."),
    "query_too_expensive": Problem((422,), "Query too expensive", "Add a time range or an agent."),
    "export_too_large": Problem(
        (422,), "Export too large", "Narrow the list, or take the whole log by the API."
    ),
    "rate_limited": Problem((429,), "Too many requests", "Wait as long as Retry-After says."),
    "internal_error": Problem((500,), "Internal error", "Tell your administrator the request id."),
    # --- the ledger or the database cannot take it now
    "ledger_halted": Problem((503,), "Ledger halted", "Nothing was stored. Retry as Retry-After says."),
    "part_failed": Problem((503,), "A part failed", "Leave this part out, or tell whoever runs it."),
    "ledger_busy": Problem((503,), "Ledger busy", "Nothing was stored. Retry as Retry-After says."),
    "outcome_unknown": Problem((503,), "Outcome unknown", "Retry with the same id; it is safe."),
    "database_unavailable": Problem((503,), "Database unavailable", "Retry as Retry-After says."),
}


class EcpError(Exception):
    """An expected failure with a registered problem code.

    `pointer` is an RFC 6901 pointer into the request document, `reason` the finer word of SECURITY section
    5.1, `retry_after` seconds for the `Retry-After` header; further keywords become members of the problem
    document.
    """

    status: ClassVar[int] = 500

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        pointer: str | None = None,
        reason: str | None = None,
        retry_after: int | None = None,
        **extensions: Any,
    ) -> None:
        assert code in PROBLEMS, code
        assert self.status in PROBLEMS[code].statuses, (code, self.status)
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail or PROBLEMS[code].advice
        self.pointer = pointer
        self.reason = reason
        self.retry_after = retry_after
        self.extensions = extensions

    @property
    def title(self) -> str:
        return PROBLEMS[self.code].title

    def document(self) -> dict[str, Any]:
        """Members of the RFC 9457 problem document, without the request id."""
        members: dict[str, Any] = {
            "type": f"urn:ecp:problem:{self.code}",
            "title": self.title,
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
        }
        if self.pointer is not None:
            members["pointer"] = self.pointer
        if self.reason is not None:
            members["reason"] = self.reason
        return members | self.extensions


class BadRequest(EcpError):
    status = 400


class NotAuthenticated(EcpError):
    status = 401


class PermissionDenied(EcpError):
    status = 403


class NotFound(EcpError):
    status = 404


class MethodNotAllowed(EcpError):
    status = 405


class NotAcceptable(EcpError):
    status = 406


class Conflict(EcpError):
    status = 409


class TooLarge(EcpError):
    status = 413


class UriTooLong(EcpError):
    status = 414


class UnsupportedMediaType(EcpError):
    status = 415


class Invalid(EcpError):
    status = 422


class RateLimited(EcpError):
    status = 429


class Unavailable(EcpError):
    status = 503
