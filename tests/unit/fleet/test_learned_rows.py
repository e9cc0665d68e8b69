"""What a replica keeps for its peers: a bounded number, each told once to who remembers where it was."""

from rankd.adaptation import LearnedCompletion
from rankd.fleet.learned_rows import MOST_ROWS, LearnedCursor, LearnedRow, LearnedRows

START = LearnedCursor("", 0)


def completion(tokens, at=0.0, features=b""):
    return LearnedCompletion(score=1.0, features=features, tokens=tokens, complete=True, at=at)


def rows_of(most=4096, forget_after=100.0, own=0, features=b""):
    rows = LearnedRows("me", most, forget_after)
    for number in range(own):
        rows.add_own("m", "r@1", completion(number + 1, features=features))
    return rows


def tokens(answer):
    return [row.completion.tokens for row in answer.rows]


def test_who_goes_on_where_it_was_gets_each_completion_once():
    """Pages in order; new ones later; nothing where there is nothing new."""
    rows = rows_of(own=MOST_ROWS + 10)
    first = rows.own_after(START, 0.0)
    assert (len(first.rows), first.more) == (MOST_ROWS, True)
    second = rows.own_after(first.until, 0.0)
    assert (len(second.rows), second.more) == (10, False)
    assert tokens(first) + tokens(second) == list(range(1, MOST_ROWS + 11))
    assert [row.sequence for row in second.rows] == list(range(MOST_ROWS + 1, MOST_ROWS + 11))
    assert rows.own_after(second.until, 0.0).rows == []
    rows.add_own("m", "r@1", completion(7))
    assert tokens(rows.own_after(second.until, 0.0)) == [7]


def test_only_own_ones_are_told_but_to_who_asks_for_everything():
    """What was heard goes on to nobody else: each asks everybody."""
    rows = rows_of(own=3)
    rows.add_heard(LearnedRow("m", "r@1", completion(77), "other", 5))
    rows.add_own("m", "r@1", completion(4))
    assert tokens(rows.own_after(START, 0.0)) == [1, 2, 3, 4]
    everything = rows.all_after(START, 0.0)
    assert tokens(everything) == [1, 2, 3, 77, 4]
    assert [(r.instance, r.sequence) for r in everything.rows][2:] == [("me", 3), ("other", 5), ("me", 4)]
    assert rows.all_after(everything.until, 0.0).rows == []


def test_the_oldest_make_room_and_old_ones_are_forgotten():
    """By number, those heard counted too, and by age."""
    rows = rows_of(most=5, own=4)
    for sequence in range(3):
        rows.add_heard(LearnedRow("m", "r@1", completion(100 + sequence, at=50.0), "other", sequence + 1))
    assert tokens(rows.all_after(START, 0.0)) == [3, 4, 100, 101, 102]
    assert tokens(rows.own_after(START, 0.0)) == [3, 4]
    assert tokens(rows.all_after(START, 120.0)) == [100, 101, 102]
    assert len(rows) == 3
    assert rows.own_after(START, 120.0).until.sequence == 4


def test_an_answer_fits_into_a_message():
    """Rows as large as they get: fewer of them, and more to come."""
    rows = rows_of(own=MOST_ROWS, features=bytes(2048))
    for number in range(3):
        rows.add_own("n" * 60_000, f"r@{number}", completion(1))
    answer = rows.own_after(START, 0.0)
    told = len(answer.rows)
    while answer.more:
        assert answer.rows
        assert len(answer.rows) == 1 or sum(row.size for row in answer.rows) <= 2**20
        answer = rows.own_after(answer.until, 0.0)
        told += len(answer.rows)
    assert told == MOST_ROWS + 3


def test_a_cursor_of_another_or_of_the_future_is_no_harm():
    """Who asks as of another start gets all; who claims to be further than there is gets what comes."""
    rows = rows_of(own=3)
    assert tokens(rows.own_after(LearnedCursor("before the restart", 2), 0.0)) == [1, 2, 3]
    ahead = rows.own_after(LearnedCursor("me", 10**12), 0.0)
    assert (ahead.rows, ahead.until.sequence) == ([], 3)


def test_what_is_forgotten_of_one_model_is_told_no_more():
    """The others' completions keep their numbers."""
    rows = rows_of(own=2)
    rows.add_own("other", "r@1", completion(9))
    rows.add_own("m", "r@1", completion(3))
    rows.forget("m", "r@1")
    assert [(row.model, row.sequence) for row in rows.own_after(START, 0.0).rows] == [("other", 3)]
    assert len(rows) == 1


def test_old_ones_are_forgotten_though_nobody_asks_and_whatever_came_first():
    """A peer may tell of what is older than what was heard before."""
    rows = rows_of()
    rows.add_own("m", "r@1", completion(1, at=90.0))
    rows.add_heard(LearnedRow("m", "r@1", completion(2, at=10.0), "other", 1))
    rows.add_own("m", "r@1", completion(3, at=20.0))
    rows.add_own("m", "r@1", completion(4, at=95.0))
    rows.forget_old(100.0)
    assert len(rows) == 4
    rows.forget_old(130.0)
    assert len(rows) == 2
    assert tokens(rows.all_after(START, 130.0)) == tokens(rows.own_after(START, 130.0)) == [1, 4]
    rows.forget_old(500.0)
    assert len(rows) == 0
