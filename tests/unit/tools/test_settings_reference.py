"""The reference of all settings, made from rankd/settings/."""

import re

import pytest

from rankd.settings import settings_reference
from tools.generated import stale
from tools.settings_reference import files, reference


def test_the_reference_is_made_from_the_settings():
    """The page in docs is what tools.settings_reference writes."""
    assert stale(files()) == [], "run: make generate"


@pytest.mark.parametrize("name", [name for name, _, _ in settings_reference()])
def test_every_setting_is_in_it(name):
    """With its variable, its default and what it may be."""
    (line,) = re.findall(rf"^\| `{re.escape(name)}`<br>.*$", reference(), re.MULTILINE)
    variable, _, allowed, description = (cell.strip() for cell in line.strip("| ").split(" | "))
    assert f"`RANKD_{name.upper().replace('.', '__')}`" in variable
    assert allowed
    assert description


def test_bounds_are_told():
    """Both ends, and which of them belong to it."""
    text = reference()
    assert "| `quality.max_tenant_share`<br>`RANKD_QUALITY__MAX_TENANT_SHARE` | `0.5` | number > 0, ≤ 1 |" in text
    assert "| `auth.anonymous`<br>`RANKD_AUTH__ANONYMOUS` | `auto` | true, false, `auto` |" in text
    assert "| `limits.max_items`<br>`RANKD_LIMITS__MAX_ITEMS` | `16384` | whole number ≥ 1, ≤ 16777216 |" in text
