"""The study of agents' traffic on small data of its own."""

import json
import random

import pytest

from benchmarks.adaptation_agents import AGENTS, CHATS, conversations, interleaved, main, step_of, turns_of

CALL = '[{"arguments": "{}", "name": "look_up"}]'
PROMPTS = (
    "User: where is my bag?",
    f"User: where is my bag?\n\nAssistant: {CALL}\n\nTool: in Oslo\n\nsince noon",
    f"User: where is my bag?\n\nAssistant: {CALL}\n\nTool: in Oslo\n\nAssistant: In Oslo.\n\nUser: why?",
)


def rows(conversation_count):
    """Steps of conversations, in no order."""
    return [
        {"prompt": prompt, "output_tokens": 10 * turn + number, "id": f"c_{number}_{turn}"}
        for turn, prompt in reversed(list(enumerate(PROMPTS)))
        for number in range(conversation_count)
    ]


def test_prompts_become_conversations():
    """By the roles at the beginnings of turns; a blank line within one does not end it."""
    assert turns_of(PROMPTS[1]) == [
        ("user", "where is my bag?"), ("assistant", CALL), ("tool", "in Oslo\n\nsince noon")
    ]  # fmt: skip
    (steps,) = conversations(rows(1))
    requests = [step.request() for step in steps]
    assert [r.prompts[0] for r in requests] == ["where is my bag?", "in Oslo\n\nsince noon", "why?"]
    assert [r.shape.last_role for r in requests] == ["user", "tool", "user"]
    assert [step_of(step) for step in steps] == ["begin", "look_up", "look_up"]


def test_a_step_comes_after_the_one_before_it():
    """However conversations mix."""
    steps = interleaved(conversations(rows(50)), random.Random(0))
    assert len(steps) == 150
    turns = [len(step.turns) for step in steps]
    assert sorted(turns) == sorted([1] * 50 + [3] * 50 + [5] * 50)
    for at in range(1, 151):
        assert turns[:at].count(1) >= turns[:at].count(3) >= turns[:at].count(5)
    assert turns != sorted(turns)


@pytest.mark.parametrize("text", ["as ranked", "the user's last message"])
def test_the_table_is_printed(tmp_path, capsys, text):
    """Of bundled rankers, from files as they are named."""
    chat = [{"prompt": f"question {n}", "output_tokens": n, "id": str(n)} for n in range(40)]
    for name, data in ((AGENTS, rows(60)), (CHATS[0], chat), (CHATS[1], chat)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in data))
    flags = ["--rankers", "ngram", "--seeds", "1", "--after", "100", "--texts", text]
    assert main(["--data", str(tmp_path), *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.startswith(text) for line in lines[2:]] == [True] * 4
    assert "260 requests" in lines[0]
