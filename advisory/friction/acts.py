"""What the acts of people about rules, duties and targets are called; added to the ledger's own at start."""

from __future__ import annotations

from django.utils.translation import gettext_lazy as _

from ledger.selectors import actwords

actwords.register(
    {
        "friction.ruleset_propose": _("proposed a version of a rule set"),
        "friction.standing_end": _("ended a standing bypass"),
        "frictionduty.register": _("gave somebody a duty"),
        "frictionduty.change": _("changed a duty"),
        "frictionduty.delete": _("took a duty back"),
        "notificationtarget.register": _("added a notification target"),
        "notificationtarget.change": _("changed a notification target"),
    }
)
