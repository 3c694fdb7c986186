"""What counts as prose in docstrings, reStructuredText and Markdown."""

from __future__ import annotations

import pytest

from pretrain.text.prose import is_prose, paragraphs

NUMPY_STYLE = """
Return the mean of the values that
lie inside the given window.

Parameters
----------
values : array_like
    The numbers to be averaged, which may be
    given in any order.
axis : int, optional

Examples
--------
>>> mean([1, 2])
1.5

==========  ==========
The first   The other
==========  ==========
"""
GOOGLE_STYLE = """
Reads a table from the file.

Args:
    path (str): The file to read, which must
        exist before the call.
    limit: Stop after this number of rows has been read.
"""
RST = """
The following code shows how it is used::

    The code is not prose, although it may look like a sentence.

See :class:`~package.Thing` and the `manual <https://example.org>`_ for all of the ``details`` [1]_.

.. code-block:: python

    The body of a directive is not for us to read.

.. note::
    A note is part of the text that people read.

:param name: The name by which the thing is known to the others.
"""
MARKDOWN = """
# The heading of this page is not a sentence.

It has a [link](https://example.org) to **all** that you need.

- The first of the items is one line.
- The second of the items is
  wrapped into two lines.

```python
This is a block of code that must not be kept in the text.
```

| The table | is not for us. |
"""


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            NUMPY_STYLE,
            [
                "Return the mean of the values that lie inside the given window.",
                "The numbers to be averaged, which may be given in any order.",
            ],
        ),
        (
            GOOGLE_STYLE,
            [
                "The file to read, which must exist before the call.",
                "Stop after this number of rows has been read.",
            ],
        ),
        (
            RST,
            [
                "See package.Thing and the manual for all of the details .",
                "A note is part of the text that people read.",
                "The name by which the thing is known to the others.",
            ],
        ),
        (
            MARKDOWN,
            [
                "It has a link to all that you need.",
                "The first of the items is one line.",
                "The second of the items is wrapped into two lines.",
            ],
        ),
    ],
    ids=["numpy", "google", "rst", "markdown"],
)
def test_prose_is_kept_and_unwrapped(raw: str, expected: list[str]) -> None:
    assert list(paragraphs(raw)) == expected


def test_an_unfinished_last_sentence_is_cut() -> None:
    raw = "The window is moved over the values. It can be used as in the following lines:"
    assert list(paragraphs(raw)) == ["The window is moved over the values."]


@pytest.mark.parametrize(
    "text",
    [
        "Too short to be of use.",
        "starts in the middle of what was a sentence.",
        "Permission is hereby granted to all who have a copy of the software.",
        "Foo.bar_baz and the x_1 = y_2 of a.b.c are in foo.txt for the run_it().",
        "Numbers 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 of the 16 17 18.",
        "Alpha beta gamma delta epsilon zeta theta iota kappa lambda.",
    ],
)
def test_what_is_no_prose(text: str) -> None:
    assert not is_prose(text)
