"""Words of the pages of polls: states, classes of silence, and what each step makes irrevocable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_stubs_ext import StrOrPromise

STATES: Mapping[str, StrOrPromise] = {
    "draft": _("draft"),
    "committed": _("committed, not drawn yet"),
    "drawn": _("drawn, not open yet"),
    "open": _("open"),
    "closed": _("closed"),
    "cancelled": _("cancelled"),
}
# What an entry of the log says of a poll.
TAKEN: Mapping[str, StrOrPromise] = {
    "committed": _("committed"),
    "drawn": _("drawn"),
    "closed": _("closed"),
    "cancelled": _("cancelled"),
}
# Each drawn agent is in one of these; none of them is an opinion.
CLASSES: Mapping[str, tuple[StrOrPromise, StrOrPromise]] = {
    "answered": (_("answered"), _("a valid answer came before the deadline")),
    "opinion": (_("gave an opinion"), _("a valid answer that names an option")),
    "abstained": (_("abstained"), _("a valid answer that gives no opinion")),
    "pending": (_("not reached yet"), _("the question is still being delivered")),
    "silent": (_("silent"), _("the question arrived, no answer came")),
    "unreachable": (_("unreachable"), _("no delivery succeeded, or the inbox was never read")),
    "declined": (_("declined"), _("the agent refused to answer")),
    "invalid": (_("invalid"), _("only answers that failed a check")),
    "late": (_("late"), _("a valid answer after the deadline; kept, not counted")),
}
TRANSPORTS: Mapping[str, StrOrPromise] = {
    "webhook": _("called at the agent's endpoint"),
    "pull": _("fetched by the agent from its inbox"),
    "manual": _("asked by a person"),
}
# Why a run of a schedule was left out; other reasons are codes of problems.
SKIPPED: Mapping[str, StrOrPromise] = {
    "downtime": _("nothing was running at that time"),
    "previous_open": _("the poll before was still running"),
    "frame_empty": _("no agent could be asked"),
    "frame_too_large": _("too many agents could be asked"),
}
METHODS: Mapping[str, StrOrPromise] = {
    "hypergeometric_exact": _("exact, by counting all possible agents' opinions"),
    "stratified_wilson": _("weighted by the size of each stratum"),
}
MODELS: Mapping[str, StrOrPromise] = {
    "no_answers": _("no opinion was given"),
    "one_model": _("one model answered, under however many names"),
    "all_models_differ": _("every agent is of another model, or declares none"),
    "unanimous": _("all agree, so each model counts once"),
}
ESTIMATORS: Mapping[str, StrOrPromise] = {
    "srs": _("every agent weighs the same (srs)"),
    "stratified": _("strata are weighted by their size (stratified)"),
}
REVISIONS: Mapping[str, StrOrPromise] = {
    "none": _("the first answer counts"),
    "last": _("the last answer before the close counts"),
}


class StepWords:
    """A step as its button, its question and its warning say it."""

    __slots__ = ("button", "done", "title", "warning")

    def __init__(
        self, title: StrOrPromise, warning: StrOrPromise, button: StrOrPromise, done: StrOrPromise
    ) -> None:
        self.title, self.warning, self.button, self.done = title, warning, button, done


STEPS: Mapping[str, StepWords] = {
    "commit": StepWords(
        _("Commit to the question"),
        _(
            "Irrevocable from then on: the question, its options, who can be asked, how many are asked, the "
            "deadline, the quorum and how the answers are read. All of it goes on the log, with the hash of "
            "a secret, before anybody can know who will be drawn. A poll that is cancelled later stays on "
            "the log."
        ),
        _("Commit, for good"),
        _("Committed. The question and its rules can no longer be changed."),
    ),
    "draw": StepWords(
        _("Draw the sample"),
        _(
            "Irrevocable from then on: who is asked. The secret becomes public, so that everybody can "
            "compute the same draw. Nobody can be drawn again for this poll; cancelling and asking anew is "
            "shown beside every later result."
        ),
        _("Draw, for good"),
        _("Drawn. Who is asked can no longer be changed."),
    ),
    "open": StepWords(
        _("Open the poll"),
        _(
            "Irrevocable from then on: the agents that were drawn get the question. A question that was sent "
            "cannot be called back. Until the poll closes nobody can see what was chosen, you included."
        ),
        _("Open, and send the question"),
        _("Open. The question is on its way."),
    ),
    "close": StepWords(
        _("Close the poll"),
        _(
            "Irrevocable from then on: the result. The answers are opened and counted, and no further one "
            "counts. A close before the deadline needs a reason, which goes on the log and stands beside the "
            "result."
        ),
        _("Close, and count"),
        _("Closed. The result is final."),
    ),
    "cancel": StepWords(
        _("Cancel the poll"),
        _(
            "Irrevocable from then on: the poll has no result, and answers that came stay sealed for ever, "
            "as their key is destroyed. The reason goes on the log, and later polls with the same question "
            "name this one. A draft leaves nothing on the log."
        ),
        _("Cancel, for good"),
        _("Cancelled. There will be no result."),
    ),
    "hide-minority": StepWords(
        _("Hide the quoted reason"),
        _(
            "The longest reason of the largest minority is then no longer shown: not on this poll's page or "
            "print sheet, not in the result and not in the table of answers (CSV). In its place stand your "
            "pseudonym, the time and your reason, so do not repeat in it what is to be hidden. The answers "
            "in the proof and in the JSON lines stay as they are, since they are signed and the log holds "
            "their hashes: whoever takes those files can still read the text. Showing it again is possible, "
            "and recorded too."
        ),
        _("Hide it, on the record"),
        _("Hidden. Who hid it, when and why is on the log."),
    ),
    "show-minority": StepWords(
        _("Show the quoted reason again"),
        _(
            "The longest reason of the largest minority is then shown again to everybody who sees this poll. "
            "That it was hidden stays on the log and beside the text, as does this."
        ),
        _("Show it again, on the record"),
        _("Shown again. Who did it, when and why is on the log."),
    ),
}
# Which steps a person may take in which state, first the one that leads on.
OFFERED: Mapping[str, tuple[str, ...]] = {
    "draft": ("commit", "cancel"),
    "committed": ("draw", "cancel"),
    "drawn": ("open", "cancel"),
    "open": ("close", "cancel"),
}
