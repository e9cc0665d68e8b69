"""The table of verbs: each has a module, and no verb pays for another."""

import importlib
import subprocess
import sys

import pytest

from rankd.cli import VERBS, build_parser, main


def test_help_loads_the_standard_library_only():
    """What takes long to import is not even looked for until a verb wants it."""
    script = (
        "import sys\n"
        "from rankd.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "print(sorted(m for m in sys.modules if '.' not in m and m not in sys.stdlib_module_names))\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n{script}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(f"    {verb} " in done.stdout for verb in VERBS)
    assert done.stdout.splitlines()[-1] == "['__main__', 'rankd']"


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_its_module(verb):
    """Which declares flags and runs; a whole parser has all of them."""
    module = importlib.import_module(f"rankd.cli.{verb}")
    assert callable(module.add_flags)
    assert callable(module.run)
    verbs = build_parser()._subparsers._group_actions[0].choices
    assert verbs[verb].get_default("run") is module.run
    assert len(verbs[verb]._actions) > 1


def test_a_verb_that_is_misspelt_is_answered_with_all(capsys):
    """And with the exit status of wrong usage."""
    with pytest.raises(SystemExit) as end:
        main(["serv"])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert all(repr(verb) in said for verb in VERBS)


def test_without_a_verb_it_shows_help(capsys):
    """To people who ask what there is; to scripts it is wrong usage."""
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert all(f"    {verb} " in said.err for verb in VERBS)


def test_an_interrupt_while_a_verb_loads_is_no_traceback():
    """Loading a verb is part of running it: Ctrl-C then ends it as it does later."""
    script = (
        "import sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'rankd.cli.status':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from rankd.cli import main\n"
        "sys.exit(main(['status']))\n"
    )
    process = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (130, "")
