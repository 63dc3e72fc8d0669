"""Pictures that the documents show exist, are pictures of today's list, and no others are kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.console.pictures import LOOKS, PICTURES, file_name, of_the_documents
from tests.docs.documents import PROJECT, documents

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.unit
SHOWN = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")


@pytest.mark.parametrize("file", documents(), ids=lambda file: str(file.relative_to(PROJECT)))
def test_every_picture_that_is_shown_exists_and_says_what_it_shows(file: Path) -> None:
    for words, target in SHOWN.findall(file.read_text(encoding="utf-8")):
        assert (file.parent / target).is_file(), target
        assert len(words) > 10, target


def test_the_folder_holds_what_documents_show_and_the_list_of_pictures_names() -> None:
    there = {file.name for file in (PROJECT / "docs" / "img").iterdir()}
    assert there == of_the_documents()
    assert there <= {file_name(picture, look) for picture in PICTURES for look in LOOKS}
