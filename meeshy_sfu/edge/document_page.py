"""The page that shows an API document in a browser: one frame with one script for each kind of document.

The documents are made in openapi.py and asyncapi.py. The page needs nothing from elsewhere.
"""

import functools
from importlib import resources

_FOLDER = "meeshy_sfu.edge"


@functools.cache
def document_page(*, title: str, document: str, script: str) -> str:
    """Return the page as HTML.

    Args:
        title: Of the page, until the document is there.
        document: The document's URL, relative to the page.
        script: The file of this package that fetches the document and lists what it holds.
    """
    name = document.rpartition("/")[2]
    page = _read("document_page.html").replace("<!-- title -->", title)
    page = page.replace("<!-- document -->", f'<a href="{document}">{name}</a>')
    return page.replace("/* script */\n", _read(script))


def _read(name: str) -> str:
    return resources.files(_FOLDER).joinpath(name).read_text(encoding="utf-8")
