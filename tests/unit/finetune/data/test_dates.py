"""Dates of mixed formats: unambiguous rows decide for ambiguous ones."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetune.data.dates import EVIDENCE, read, read_dates

DAYS = st.dates(date(2000, 1, 1), date(2029, 12, 31))


@pytest.mark.parametrize(
    ("value", "days"),
    [
        ("16-03-2020", {date(2020, 3, 16)}),
        ("3/16/2020", {date(2020, 3, 16)}),
        ("3/16/20", {date(2020, 3, 16)}),
        ("2020-03-16", {date(2020, 3, 16)}),
        ("2020-03-16T08:15:00Z", {date(2020, 3, 16)}),
        ("16.03.2020 08:15", {date(2020, 3, 16)}),
        ("02-04-2020", {date(2020, 4, 2), date(2020, 2, 4)}),
        ("16 Mar 2020", {date(2020, 3, 16)}),
        ("March 16, 2020", {date(2020, 3, 16)}),
        ("Mon Mar 16 08:15:00 +0000 2020", {date(2020, 3, 16)}),
        ("30-02-2020", set()),
        ("16-03/2020", set()),
        ("London", set()),
        ("20200316", set()),
        ("", set()),
    ],
)
def test_what_a_value_may_mean(value, days):
    assert set(read(value).values()) == days


def test_rows_of_the_same_format_decide():
    dates = read_dates(["16-03-2020", "02-04-2020", "04-04-2020", ""])
    assert dates.days == [date(2020, 3, 16), date(2020, 4, 2), date(2020, 4, 4), None]
    (form,) = dates.formats
    assert (form.name, form.rows, form.ambiguous) == ("DD-MM-YYYY", 3, 1)
    assert form.decided_by == EVIDENCE[0]
    assert (form.first, form.last) == (date(2020, 3, 16), date(2020, 4, 4))


def test_each_format_has_its_own_order():
    dates = read_dates(["16-03-2020", "02-04-2020", "3/17/2020", "4/2/2020"])
    days = [date(2020, 3, 16), date(2020, 4, 2), date(2020, 3, 17), date(2020, 4, 2)]
    assert dates.days == days
    assert {form.name: form.ambiguous for form in dates.formats} == {
        "DD-MM-YYYY": 1,
        "MM/DD/YYYY": 1,
    }


def test_a_spreadsheet_that_took_days_for_months():
    """What it could read as month-first became slashes; the rest of the column tells the truth."""
    dates = read_dates(["16-03-2020", "17-03-2020", "2/4/2020", "3/4/2020"])
    assert dates.days[2:] == [date(2020, 4, 2), date(2020, 4, 3)]
    assert dates.formats[1].decided_by == EVIDENCE[1]


def test_the_majority_decides_where_rows_disagree():
    dates = read_dates(["16/03/2020", "17/03/2020", "03/18/2020", "02/03/2020"])
    assert dates.days[2:] == [date(2020, 3, 18), date(2020, 3, 2)]


def test_where_nothing_decides_the_shorter_range_is_guessed():
    dates = read_dates(["02-04-2020", "09-04-2020", "12-04-2020"])
    assert dates.days[0] == date(2020, 4, 2)
    assert dates.formats[0].decided_by == EVIDENCE[2]


def test_other_columns_are_no_dates():
    assert read_dates(["London", "Paris", "16-03-2020"]) is None
    assert read_dates(["", " "]) is None
    assert read_dates(["44953", "44954"]) is None


def test_a_few_values_may_be_something_else():
    dates = read_dates(["16-03-2020"] * 19 + ["yesterday"])
    assert dates.unread == ["yesterday"] and dates.days[-1] is None


@given(st.lists(DAYS, min_size=1), st.sampled_from(["%d-%m-%Y", "%m/%d/%Y", "%Y.%m.%d"]))
def test_dates_of_one_order_are_read_back(days, form):
    clear = date(2020, 3, 16)
    values = [day.strftime(form) for day in [clear, *days]]
    assert read_dates(values).days == [clear, *days]
