"""The documentation: its links, its lines, and that what it names is in the repository."""

import ast
import functools
import os
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "docs" / "README.md"
GENERATED = {ROOT / "docs" / "reference" / name for name in ("configuration.md", "telemetry.md")}
"""Written by programs: a row of a table there is as long as what it tells."""
NOT_OURS = {"out", "data", "build", "dist", "node_modules", "__pycache__"}
TEXT = {".md", ".py", ".proto", ".yaml", ".yml", ".toml", ".tpl", ".txt", ".json", ".js", ".css", ".html", ".sh", ""}
FOLDERS = "rankd|clients|protos|charts|docker|tests|benchmarks|tools|docs"


def files():
    """Every file of the repository, what was installed or built beside it left out."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [n for n in folders if n not in NOT_OURS and (not n.startswith(".") or n in {".github", ".ci"})]
        yield from (Path(folder, name) for name in names if name != ".git")


@functools.cache
def text_of(path):
    return path.read_text(encoding="utf-8")


def shown(path):
    return str(path.relative_to(ROOT))


PAGES = sorted(path for path in files() if path.suffix == ".md")


def prose(path):
    """A page without its blocks of code, line by line."""
    code = False
    for line in text_of(path).splitlines():
        fence = line.lstrip().startswith("```")
        if not fence and not code:
            yield line
        code ^= fence


def links(path):
    """Where a page's relative links lead: file and anchor."""
    text = re.sub(r"`[^`]*`", "", "\n".join(prose(path)))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", link):
            name, _, anchor = link.partition("#")
            yield (path.parent / name).resolve() if name else path, anchor


@functools.cache
def anchors(path):
    """The anchors of a page's headings, as GitHub makes them."""
    found = set()
    for line in prose(path):
        if heading := re.match(r"#+ (.*)", line):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            found.add(re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_every_link_leads_somewhere(page):
    """To a file of the repository and, where it names one, to a heading of it."""
    for target, anchor in links(page):
        assert target.is_relative_to(ROOT), target
        assert target.exists(), target
        assert not anchor or anchor in anchors(target), f"{shown(target)}#{anchor}"


def test_every_page_is_reached_from_the_index():
    """By links alone, from docs/README.md."""
    reached, left = set(), [INDEX]
    while left:
        page = left.pop()
        if page not in reached:
            reached.add(page)
            left += [target for target, _ in links(page) if target.suffix == ".md" and target.exists()]
    assert [shown(p) for p in PAGES if p.is_relative_to(INDEX.parent) and p not in reached] == []


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if p.is_relative_to(INDEX.parent) or p.parent == ROOT or p.parent.parent == ROOT / "clients"],
    ids=shown,
)
def test_no_line_is_longer_than_120_characters(page):
    """Neither prose nor code nor tables; the rows of generated tables are left out."""
    lines = prose(page) if page in GENERATED else text_of(page).splitlines()
    assert [line for line in lines if len(line) > 120 and not (page in GENERATED and line.startswith("|"))] == []


def test_nothing_refers_to_what_is_not_in_the_repository():
    """No folder beside it, no number of a tracker, no page that is not here."""
    beside = "|".join([r"\.\./" + "shared", "/" + "work/", "protocol" + r"\.md", r"\bissue" + r" #?\d"])
    found = []
    for path in files():
        if path.suffix not in TEXT or path == Path(__file__) or path.is_symlink():
            continue
        text = text_of(path)
        found += [f"{shown(path)}: {hit}" for hit in re.findall(beside, text)]
        for page in re.findall(r"(?<![\w/.-])docs/[\w/.-]+\.md\b", text):
            if not (ROOT / page).is_file():
                found.append(f"{shown(path)}: {page}")
    assert found == []


@pytest.mark.parametrize("page", [p for p in PAGES if p.is_relative_to(INDEX.parent) or p.parent == ROOT], ids=shown)
def test_paths_and_commands_that_a_page_names_exist(page):
    """`rankd/...py` in backticks, and every module behind ``python -m``."""
    for path in re.findall(rf"`((?:{FOLDERS})/[\w/.-]*)`", text_of(page)):
        assert (ROOT / path).exists(), path
    for tests, module in re.findall(r"(PYTHONPATH=tests )?python -m ([\w.]+)", text_of(page)):
        if tests or module.partition(".")[0] in {"rankd", "benchmarks", "tools"}:
            place = (ROOT / "tests" if tests else ROOT).joinpath(*module.split("."))
            assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), module


def names_in(path):
    """Classes, functions and assignments of a Python file, members as Class.member; names of a proto file."""
    if path.suffix == ".proto":
        return set(re.findall(r"\b(?:service|message|enum|rpc) (\w+)", text_of(path)))
    found = set()

    def walk(nodes, prefix):
        for node in nodes:
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
                found.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    walk(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                found.update(prefix + t.id for t in targets if isinstance(t, ast.Name))

    walk(ast.parse(text_of(path)).body, "")
    return found


def steps():
    """What CONTRIBUTING.md names as ``path: name, name``."""
    text = text_of(ROOT / "CONTRIBUTING.md").replace("\n", " ")
    text = re.sub(r" +", " ", text)
    for path, names in re.findall(r"`([\w/.]+\.(?:py|proto))`: ((?:`[\w.]+`(?:, )?)+)", text):
        for name in re.findall(r"`([\w.]+)`", names):
            yield path, name


@pytest.mark.parametrize(("path", "name"), sorted(set(steps())))
def test_the_reading_order_finds_each_name_where_it_says(path, name):
    """A newcomer who follows CONTRIBUTING.md never has to search."""
    assert name in names_in(ROOT / path)


def test_the_reading_order_names_enough():
    """The steps are read out of the page at all."""
    assert len(set(steps())) > 60


def test_classes_of_the_glossary_exist():
    """Each class that a term names is one of the code, or of the wire."""
    known = set()
    for path in files():
        if path.suffix in {".py", ".proto"} and not path.is_relative_to(ROOT / "tests"):
            known |= set(re.findall(r"^(?:class|message) (\w+)", text_of(path), re.MULTILINE))
    named = re.findall(r"`([A-Z]\w*[a-z]\w*)(?:\.\w+)?`", text_of(ROOT / "docs" / "glossary.md"))
    assert len(named) > 30
    assert [name for name in named if name not in known] == []
