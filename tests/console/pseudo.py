"""A made-up language that reads from right to left: what stays plain ASCII was never translated.

Every text that passes gettext comes back with accents on its letters, between brackets and longer by a third,
as German or Finnish would be. Placeholders, tags and entities keep their form.
"""

from __future__ import annotations

import json
import re
from gettext import NullTranslations
from typing import TYPE_CHECKING, Any

from django.utils.translation import trans_real

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.console.browser import Browser

LANGUAGE = "ar-xa"  # Arabic by its first part, so pages turn; the rest names no country
LETTERS = str.maketrans(
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "áƀçđéƒǵĥíĵķłɱńóƥɋŕšŧúṽŵẋýžÁɃÇĐÉƑǴĤÍĴĶŁṀŃÓƤɊŔŠŦÚṼŴẊÝŽ",
)
KEPT = re.compile(r"(%\(\w+\)[.\d]*[sdf]|%[sd%]|\{[^{}]*\}|<[^>]+>|&#?\w+;)")
CONTEXT = "\x04"


class PseudoTranslation(NullTranslations):
    def gettext(self, message: str) -> str:
        text = message.rpartition(CONTEXT)[2]
        if not text.strip():
            return text
        parts = KEPT.split(text)
        accented = "".join(
            part if number % 2 else part.translate(LETTERS) for number, part in enumerate(parts)
        )
        body = accented.rstrip()
        return f"⟦{body}{'ẽ' * (len(body) // 3)}⟧{accented[len(body) :]}"

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)

    def language(self) -> str:
        return LANGUAGE

    def to_language(self) -> str:
        return LANGUAGE


def speak_pseudo(settings: Any) -> Iterator[None]:
    """Make it the language of the installation until the generator goes on."""
    settings.LANGUAGES = [*settings.LANGUAGES, (LANGUAGE, "Pseudo")]
    settings.LANGUAGE_CODE = LANGUAGE
    trans_real._translations[LANGUAGE] = PseudoTranslation()  # type: ignore[attr-defined]  # Django's register of catalogues
    yield
    del trans_real._translations[LANGUAGE]  # type: ignore[attr-defined]  # as above


# Texts that a person reads or hears and that have an ASCII word left: not what agents and people wrote
# (`bdi`, and what is given as data), not what is marked as English, not bytes, hashes and keys, nor names
# that are the same in every language.
_PLAIN = """
(data => {
  const own = 'bdi, [lang=en], code, pre, script, noscript, style, time, textarea, kbd, .hash, .value';
  const same = /\\b(ECP|UTC|JSON|CSV|NDJSON|SHA-256|API|UUID|curl|Python)\\b/g;
  const id = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(sha256:)?[0-9a-f]{8,}/g;
  const known = new RegExp(data, 'g');
  const plain = text =>
    text.replace(known, '').replace(id, '').replace(same, '').match(/[A-Za-z]{3,}/);
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode;
    if (!node.parentElement.closest(own) && plain(node.data)) found.push(node.data.trim());
  }
  for (const name of ['aria-label', 'title', 'placeholder', 'alt'])
    for (const element of document.querySelectorAll(`[${name}]`))
      if (!element.closest(own) && plain(element.getAttribute(name)))
        found.push(`${name}: ${element.getAttribute(name)}`);
  if (plain(document.title)) found.push('title: ' + document.title);
  return [...new Set(found)];
})
"""


def untranslated(browser: Browser, data: Sequence[str]) -> list[str]:
    """What a page says in English although the installation speaks another language."""
    longest_first = "|".join(re.escape(known) for known in sorted(data, key=len, reverse=True))
    whole_words = f"(?<![A-Za-z])({longest_first})(?![A-Za-z])"
    found: list[str] = browser.run(f"{_PLAIN}({json.dumps(whole_words)})")
    return found
