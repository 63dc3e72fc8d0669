"""Calls as decisions: recorded before they act, and afterwards how they ended.

The annotation of an outcome is public, so of an exception it tells the type and never the message.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from ecp_client.recorder import Handle, Recorder

P = ParamSpec("P")
R = TypeVar("R")
_DONE = "The action ended without an exception."


class Deciding:
    """One decision and its outcome, for `with` and `async with` alike: neither waits for anything."""

    def __init__(self, recorder: Recorder[Any], fields: dict[str, Any]) -> None:
        self._recorder = recorder
        self._fields = fields
        self._outcome: tuple[str, str] | None = None
        self.handle: Handle | None = None

    @property
    def id(self) -> str:
        """Id of the decision, from entry on."""
        return self.handle.id if self.handle is not None else ""

    def outcome(self, status: str, text: str) -> None:
        """Say at the end this instead of the plain sentence; an exception has the last word."""
        self._outcome = (status, text)

    def __enter__(self) -> Self:
        self.handle = self._recorder.record(**cast("Any", self._fields))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.handle is None or self.handle.state == "not_kept":
            return
        status, text = self._outcome or ("success", _DONE)
        if kind is not None:
            # An interrupt or a cancelled task says nothing about what the action did.
            status = "failure" if issubclass(kind, Exception) else "unknown"
            text = f"The action ended with {kind.__name__}."
        try:
            self._recorder.annotate(self.handle.id, "outcome", text, status)
        except Exception:
            if kind is None:  # strict; but an exception of the action itself goes first
                raise

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


class Decorator:
    """`explanation` is a format string over the arguments' names, or a callable that gets the arguments."""

    def __init__(
        self, recorder: Recorder[Any], context_from: tuple[str, ...], fields: dict[str, Any]
    ) -> None:
        self._recorder = recorder
        self._context_from = context_from
        self._fields = fields

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError("a generator has no single outcome: use `with ledger.deciding(...)` inside it")
        signature = inspect.signature(function)
        if unknown := [name for name in self._context_from if name not in signature.parameters]:
            raise TypeError(f"{function.__qualname__} has no argument {', '.join(unknown)}")
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def acting(*args: P.args, **kwargs: P.kwargs) -> Any:
                with Deciding(self._recorder, self._fields_for(signature, args, kwargs)):
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", acting)

        @functools.wraps(function)
        def act(*args: P.args, **kwargs: P.kwargs) -> R:
            with Deciding(self._recorder, self._fields_for(signature, args, kwargs)):
                return function(*args, **kwargs)

        return act

    def _fields_for(
        self, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """The record of one call. What fails here leaves the explanation out, and the record is refused."""
        fields = dict(self._fields)
        try:
            explanation = fields.get("explanation")
            if callable(explanation):
                fields["explanation"] = explanation(*args, **kwargs)
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            if isinstance(explanation, str):
                fields["explanation"] = explanation.format_map(bound.arguments)
            if self._context_from:
                chosen = {name: bound.arguments[name] for name in self._context_from}
                fields["context"] = dict(fields.get("context") or {}) | chosen
        except Exception:  # noqa: BLE001 - the action goes on; the record without explanation is refused and logged
            fields.pop("explanation", None)
        return fields
