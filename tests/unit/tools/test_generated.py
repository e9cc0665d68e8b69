"""Files that are made from code: how they are compared and written, and the pages that no other test looks at."""

import os

import pytest

from tools import command_line_reference, grpc_reference, python_client_reference, sync_clients, telemetry_reference
from tools.generated import ROOT, main, paragraph, stale


@pytest.fixture
def page(tmp_path):
    """Where a generated file goes."""
    return tmp_path / "docs" / "page.md"


def test_a_check_names_what_differs_and_writes_nothing(page, capsys):
    """Missing, and with another text."""
    assert main("", lambda: {page: "new\n"}, arguments=["--check"]) == 1
    assert not page.exists()
    page.parent.mkdir()
    page.write_text("old\n", encoding="utf-8")
    assert main("", lambda: {page: "new\n"}, arguments=["--check"]) == 1
    assert capsys.readouterr().err == f"{os.path.relpath(page, ROOT)} is out of date: run `make generate`\n" * 2
    assert page.read_text(encoding="utf-8") == "old\n"


def test_what_was_written_is_not_stale(page, capsys):
    """Folders are made, and what changed is told."""
    assert main("", lambda: {page: "new\n"}, arguments=[]) == 0
    assert capsys.readouterr().out == f"1 files, 1 of them changed\n  {os.path.relpath(page, ROOT)}\n"
    assert main("", lambda: {page: "new\n"}, arguments=["--check"]) == 0


def test_a_generator_may_read_what_the_one_before_it_wrote(page):
    """Each is called after the files of those before it are there."""
    copy = page.with_name("copy.md")
    assert main("", lambda: {page: "new\n"}, lambda: {copy: page.read_text(encoding="utf-8")}, arguments=[]) == 0
    assert copy.read_text(encoding="utf-8") == "new\n"


def test_the_client_with_threads_is_made_from_the_asyncio_one():
    """Module by module, none of which is left over."""
    made = sync_clients.files()
    assert stale(made) == [], "run: make generate"
    assert {path.name for path in made} == {path.name for path in sync_clients.TARGET.glob("*.py")}


def test_paragraphs_keep_words_whole():
    """Lines end at 120 characters, and a link or a flag is not cut."""
    text = "- " + "word " * 30 + "[a-link](../" + "x" * 120 + ")"
    lines = paragraph(text, indent="  ").splitlines()
    assert [len(line) <= 120 for line in lines] == [True, True, False]
    assert lines[1].startswith("  word")
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())


@pytest.mark.parametrize(
    "generator", [command_line_reference, grpc_reference, python_client_reference, telemetry_reference]
)
def test_reference_pages_are_made_from_what_they_tell(generator):
    """The pages in docs are what the generators write."""
    assert stale(generator.files()) == [], "run: make generate"


def test_the_command_line_tells_every_verb_and_flag():
    """Nested verbs, required flags, choices and defaults."""
    text = command_line_reference.reference()
    for heading in ("## rankd serve", "## rankd train", "### rankd pilot start", "### rankd token key"):
        assert f"\n{heading}\n" in text
    policies = "`fcfs`, `score`, `due`, `boost`, `aged`, `longest`"
    assert f"`--policy POLICY`: default: the daemon's; one of {policies}\n" in text
    assert "; required\n" in text


def test_the_grpc_api_tells_every_method_and_comment():
    """Streams are told from single messages, types of ours are links to their sections."""
    text = grpc_reference.reference()
    assert "- `RankStream`, a stream of [RankStreamRequest](#rankstreamrequest) → a stream of\n" in text
    assert "- `items`, list of [RankItem](#rankitem): The queue, in any order." in text
    assert "- `prompt`, optional string: The prompt, UTF-8." in text
    assert "\n### RankedItem\n\nOne request of the answer.\n" in text


def test_the_python_client_tells_signatures_arguments_errors_and_fields():
    """Of what ``rankd_client`` exports, docstrings in Markdown."""
    text = python_client_reference.reference()
    assert "\n## RankClient\n\n```python\nRankClient(\n    target: str = DEFAULT_TARGET,\n    *,\n" in text
    assert "\n- `timeout`: seconds; default: the client's.\n" in text
    assert "\n- raises `RankdUnavailableError`: the daemon did not answer.\n" in text
    assert "\n- `needs_prompt: bool = False`\n" in text
    assert "``" not in text.replace("```", "")
    assert ":class:" not in text
