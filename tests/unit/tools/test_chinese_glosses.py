"""The tool that writes the glosses of Chinese characters."""

import pytest

pytest.importorskip("torch", reason="needs rankd[train]")

from tools.chinese_glosses import shortened


def test_definitions_are_shortened():
    """Three senses, in ASCII, without brackets; nothing where there is none."""
    assert shortened("write; draw, sketch; compose") == ["write", "draw", "sketch"]
    assert shortened("(Cant.) to hit; variant of \u4f53 U+4F53") == ["to hit", "variant of U+4F53"]
    assert shortened("(a name)") == []
