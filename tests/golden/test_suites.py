"""Public suites of other engines: a case passes in every layout, or is refused by a text that says what is missing."""

from __future__ import annotations

import re
from functools import cache

import pytest
from tests.golden.adapters.arroyo import Arroyo
from tests.golden.adapters.kafka_tutorials import KafkaTutorials
from tests.golden.adapters.nexmark import Nexmark
from tests.golden.adapters.suite import Case, Suite, load, without_options
from tests.golden.goldens import LAYOUTS, CheckGolden, Layout

from headrace import App, SqlError

SUITES: tuple[Suite, ...] = (Arroyo(), KafkaTutorials(), Nexmark())
CASES = [(suite, case) for suite in SUITES for case in load(suite.name).values()]
PASSING = [entry for entry in CASES if entry[1].id in entry[0].passing]
REFUSED = [entry for entry in CASES if entry[1].id not in entry[0].passing]


def _names(entries: list[tuple[Suite, Case]]) -> list[str]:
    return [f"{suite.name}-{case.id}" for suite, case in entries]


@cache
def _app(suite_name: str, case_id: str) -> App:
    (suite,) = [suite for suite in SUITES if suite.name == suite_name]
    return App(suite.adapt(load(suite_name)[case_id]), name=suite_name, file=f"{case_id}.sql")


def _runs(suite: Suite, case: Case) -> bool:
    try:
        _app(suite.name, case.id)
    except SqlError:
        return False
    return True


@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
@pytest.mark.parametrize(("suite", "case"), PASSING, ids=_names(PASSING))
def test_case_gives_the_rows_of_its_suite(suite: Suite, case: Case, layout: Layout) -> None:
    suite.check(case, _app(suite.name, case.id), layout)


@pytest.mark.parametrize(("suite", "case"), REFUSED, ids=_names(REFUSED))
def test_refused_case_names_what_is_missing(suite: Suite, case: Case, golden: CheckGolden) -> None:
    with pytest.raises(SqlError) as caught:
        App(suite.adapt(case), file=f"{case.id}.sql")
    golden(case.refusal, f"{caught.value}\n")


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_passing_cases_are_those_listed(suite: Suite) -> None:
    runs = {case.id for _, case in CASES if case.suite == suite.name and _runs(suite, case)}
    assert runs == suite.passing


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name)
def test_every_refusal_has_a_golden_with_place_and_caret(suite: Suite) -> None:
    refused = [case for of, case in REFUSED if of is suite]
    folder = refused[0].refusal.parent
    assert {path.stem for path in folder.iterdir()} == {case.id for case in refused}
    for case in refused:
        first = case.refusal.read_text(encoding="utf-8").splitlines()[:3]
        assert re.match(rf"{re.escape(case.id)}\.sql:\d+:\d+: error: .+", first[0])
        assert re.fullmatch(r" +\^+", first[2])


@pytest.mark.parametrize(("suite", "case"), CASES, ids=_names(CASES))
def test_adapter_changes_nothing_but_options(suite: Suite, case: Case) -> None:
    assert without_options(suite.original(case)) in without_options(suite.adapt(case))
