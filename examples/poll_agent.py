"""An agent that answers polls: a small HTTP service, standard library and `cryptography` only.

    python examples/poll_agent.py --slug pricing-bot --key agent.key --port 9801

It takes the invitation that ECP posts, decides, and answers with a signed statement. `--key` is the file that
`manage.py agentkey_create` wrote. Replace `decide` by what your agent thinks.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DOMAIN = b"ECP-POLL-RESPONSE-v1\n"
INVITATION = "ecp.poll.invitation/1"
MAX_INVITATION = 16 * 1024


def canonical(value: Any) -> bytes:
    """RFC 8785 for what answers hold: no floats, ASCII names."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def decide(invitation: dict[str, Any]) -> tuple[str, int, str]:
    """Choice, confidence in percent, and why. This one is for whatever it reads first, and says so."""
    choice = next(option for option in invitation["options"] if option != "abstain")
    return choice, 60, "It is the first option that I read, and I know nothing against it."


def answer(invitation: dict[str, Any], *, slug: str, seed: bytes) -> bytes:
    """Sign an answer. The nonce follows from the invitation, so a repeated question gets the same bytes."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    choice, confidence_pct, rationale = decide(invitation)
    payload = {
        "schema": "ecp.poll.response/1",
        "poll_id": invitation["poll_id"],
        "question_hash": invitation["question_hash"],
        "invitation_id": invitation["invitation_id"],
        "agent_id": slug,
        "choice": choice,
        "confidence_pct": confidence_pct,
        "rationale": rationale,
        "answered_at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        "nonce": hashlib.sha256(seed + invitation["invitation_id"].encode()).hexdigest()[:32],
    }
    public_key = key.public_key().public_bytes_raw()
    kid = base64.urlsafe_b64encode(hashlib.sha256(public_key).digest()[:16]).rstrip(b"=").decode()
    signature = key.sign(DOMAIN + canonical(payload)).hex()
    return canonical({"kid": kid, "payload": payload, "signature": signature})


def handler(slug: str, seed: bytes) -> type[BaseHTTPRequestHandler]:
    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            if not 0 < length <= MAX_INVITATION:
                self.send_error(413)
                return
            document = json.loads(self.rfile.read(length))
            if document.get("v") != INVITATION:  # such as news of a step of friction
                self.send_response(202)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = answer(document, slug=slug, seed=seed)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Stay quiet."""

    return Answers


def read_seed(path: Path) -> bytes:
    """The private half: the last word of the key file, base64url."""
    text = path.read_text(encoding="ascii").split()[-1]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--slug", required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--port", type=int, default=9801)
    arguments = parser.parse_args()
    service = ThreadingHTTPServer(
        ("127.0.0.1", arguments.port), handler(arguments.slug, read_seed(arguments.key))
    )
    print(f"{arguments.slug} answers polls at http://127.0.0.1:{arguments.port}/")
    service.serve_forever()


if __name__ == "__main__":
    main()
