"""What the acts of people about polls are called; added to the ledger's own at start."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from ledger.selectors import actwords

actwords.register(
    {
        "poll.minority_hide": _("hid the reason of a minority"),
        "poll.minority_show": _("showed the reason of a minority again"),
        "polls.open": _("opened a poll"),
        "polls.schedule_create": _("made a recurring poll"),
        "polls.schedule_change": _("changed a recurring poll"),
        "polls.schedule_run": _("ran a recurring poll at once"),
    }
)
