"""Opinion polls of agents: an optional app; nothing else imports it."""

from __future__ import annotations

from typing import Any

__all__ = ["NetworkOpinionPoll"]


def __getattr__(name: str) -> Any:
    """Give the public face late, since Django's models cannot be imported with their package."""
    if name == "NetworkOpinionPoll":
        from advisory.polls.services import NetworkOpinionPoll  # noqa: PLC0415 - see above

        return NetworkOpinionPoll
    raise AttributeError(name)
