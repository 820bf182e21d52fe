"""Properties of the assignment of tasks to members."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from headrace.agents.assignor import Assignment, Member, assign, member_data, read_member
from headrace.agents.topology import TaskId

MEMBERS = st.integers(1, 6).map(lambda count: [Member(f"m{number}", "p") for number in range(count)])
TASKS = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(
    lambda sizes: [TaskId(f"stage{s}", p) for s, size in enumerate(sizes) for p in range(size)]
)


def owning(members: list[Member], assignment: Assignment, generation: int = 1) -> list[Member]:
    """The members as they join again after an assignment."""
    return [replace(m, owned=assignment.tasks.get(m.id, frozenset()), generation=generation) for m in members]


def spread(counts: list[int]) -> int:
    return max(counts) - min(counts)


def moved(before: Assignment, after: Assignment) -> int:
    owner = {task: id_ for id_, tasks in before.tasks.items() for task in tasks}
    return sum(owner[task] != id_ for id_, tasks in after.tasks.items() for task in tasks)


@given(MEMBERS, TASKS)
def test_every_task_has_exactly_one_owner(members: list[Member], tasks: list[TaskId]) -> None:
    given_out = [task for mine in assign(members, tasks).tasks.values() for task in mine]
    assert sorted(given_out) == sorted(tasks)


@given(MEMBERS, TASKS)
def test_tasks_are_balanced_in_all_and_within_each_stage(members: list[Member], tasks: list[TaskId]) -> None:
    owned = assign(members, tasks).tasks.values()
    assert spread([len(mine) for mine in owned]) <= 1
    for stage in {task.stage for task in tasks}:
        assert spread([sum(task.stage == stage for task in mine) for mine in owned]) <= 1


@given(MEMBERS, TASKS)
def test_nothing_moves_when_the_same_members_join_again(members: list[Member], tasks: list[TaskId]) -> None:
    first = assign(members, tasks)
    assert assign(owning(members, first), tasks) == first


@given(MEMBERS, TASKS, st.randoms())
def test_order_of_members_and_tasks_does_not_matter(members: list[Member], tasks: list[TaskId], random: object) -> None:
    expected = assign(members, tasks)
    random.shuffle(members)  # type: ignore[attr-defined]
    random.shuffle(tasks)  # type: ignore[attr-defined]
    assert assign(members, tasks) == expected


@given(MEMBERS, st.integers(1, 30))
def test_no_more_moves_than_the_share_of_a_member_that_comes(members: list[Member], count: int) -> None:
    tasks = [TaskId("stage", partition) for partition in range(count)]
    before = assign(members, tasks)
    after = assign([*owning(members, before), Member("new", "p")], tasks)
    assert moved(before, after) == len(after.tasks["new"])


@given(MEMBERS, st.integers(1, 30))
def test_only_the_tasks_of_a_member_that_goes_move(members: list[Member], count: int) -> None:
    tasks = [TaskId("stage", partition) for partition in range(count)]
    before = assign([*members, Member("gone", "p")], tasks)
    after = assign(owning(members, before), tasks)
    assert moved(before, after) == len(before.tasks["gone"])


def test_task_goes_to_the_member_that_holds_its_state() -> None:
    tasks = [TaskId("stage", 0), TaskId("stage", 1)]
    members = [
        Member("a", "p", held=frozenset({TaskId("stage", 1)})),
        Member("b", "p", held=frozenset({TaskId("stage", 0)})),
    ]
    assert assign(members, tasks).tasks == {"a": {TaskId("stage", 1)}, "b": {TaskId("stage", 0)}}


def test_of_two_owners_the_one_of_the_newer_generation_counts() -> None:
    task = TaskId("stage", 0)
    members = [
        Member("a", "p", generation=3, owned=frozenset({task})),
        Member("b", "p", generation=4, owned=frozenset({task})),
    ]
    assert assign(members, [task]).tasks["b"] == {task}


def test_one_task_goes_to_one_member_and_the_others_stand_by() -> None:
    assignment = assign([Member("a", "p"), Member("b", "p")], [TaskId("all", 0)])
    assert assignment.tasks == {"a": {TaskId("all", 0)}, "b": frozenset()}


def test_member_with_another_plan_is_refused_and_gets_nothing() -> None:
    tasks = [TaskId("stage", 0), TaskId("stage", 1)]
    running = Member("a", "p1", generation=1, owned=frozenset(tasks))
    assignment = assign([running, Member("b", "p2"), Member("c", "p2")], tasks)
    assert assignment.tasks == {"a": set(tasks)}
    assert set(assignment.refused) == {"b", "c"}
    assert "p1" in assignment.refused["b"]
    assert "headrace reset" in assignment.refused["b"]


def test_member_data_survives_the_wire_and_foreign_data_is_a_member_without_a_plan() -> None:
    member = Member(
        "a",
        "p",
        7,
        frozenset({TaskId("x-y", 3)}),
        frozenset({TaskId("z", 0)}),
        "me",
        frozenset({"me", "other"}),
        {"in": 3},
    )
    assert read_member("a", member_data(member)) == member
    assert read_member("a", b"\x00\x01").plan_version == ""
    assert read_member("a", None).plan_version == ""


def test_workers_that_some_member_knew_and_that_are_not_there_any_more_are_gone() -> None:
    known = frozenset({"w0", "w1", "w2"})
    members = [Member("a", "p", worker="w0", known=known), Member("b", "p", worker="w3")]
    assignment = assign(members, [TaskId("all", 0)])
    assert assignment.workers == {"w0", "w3"}
    assert assignment.gone == {"w1", "w2"}


def test_worker_that_is_back_under_another_member_id_is_not_gone() -> None:
    members = [
        Member("a", "p", worker="w0", known=frozenset({"w0", "w1"})),
        Member("new", "p", worker="w1", known=frozenset()),
    ]
    assert assign(members, [TaskId("all", 0)]).gone == frozenset()
