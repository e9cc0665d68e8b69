"""What a user imports from rankd_client: all that is passed in or handed out, and nothing else is public."""

import dataclasses
import enum
import inspect
import pkgutil
import typing

import pytest
import rankd_client
from rankd_client import AsyncRankClient, AsyncRankStream, RankClient, RankdClientError, RankStream

FOR_ENGINES = {"calibration", "integration", "ordering", "shape", "v1"}
PUBLIC = [getattr(rankd_client, name) for name in rankd_client.__all__]
CLASSES = [one for one in PUBLIC if inspect.isclass(one) and not one.__module__.startswith("rankd_client.v1")]


def classes_in(annotation):
    """The classes of this package that a type is made of."""
    parts = typing.get_args(annotation)
    if parts and typing.get_origin(annotation) is not typing.Literal:
        return {found for part in parts if part is not Ellipsis for found in classes_in(part)}
    ours = inspect.isclass(annotation) and annotation.__module__.startswith("rankd_client")
    return {annotation} if ours else set()


def named_by(kind):
    """The classes that the fields, properties and public methods of a class name."""
    hints = list(typing.get_type_hints(kind).values()) if dataclasses.is_dataclass(kind) else []
    for name, member in inspect.getmembers(kind):
        function = member.fget if isinstance(member, property) else member
        if inspect.isfunction(function) and (name == "__init__" or not name.startswith("_")):
            hints += typing.get_type_hints(function).values()
    return set().union(*map(classes_in, hints)) if hints else set()


@pytest.mark.parametrize("kind", [c for c in CLASSES if not issubclass(c, enum.Enum)], ids=lambda c: c.__name__)
def test_whatever_is_passed_in_or_handed_out_is_importable(kind):
    """Of a stream a user gets one from a client, and never makes one: what that takes stays private."""
    made_by_clients = (
        {"AsyncConnections", "Connections", "StreamCore", "Token"} if kind in {RankStream, AsyncRankStream} else set()
    )
    assert {c.__name__ for c in named_by(kind)} - made_by_clients <= set(rankd_client.__all__)


def test_other_modules_are_private():
    """What a user could import by accident may be moved tomorrow."""
    modules = {module.name for module in pkgutil.iter_modules(rankd_client.__path__)}
    assert {name for name in modules if not name.startswith("_")} == FOR_ENGINES


def test_the_docstring_has_the_tree_of_errors():
    """All of them, under one base."""
    errors = [c for c in CLASSES if issubclass(c, Exception)]
    assert len(errors) == 3
    for error in errors:
        assert issubclass(error, RankdClientError)
        assert f":class:`{error.__name__}`" in rankd_client.__doc__


@pytest.mark.parametrize(("sync", "asynchronous"), [(RankClient, AsyncRankClient), (RankStream, AsyncRankStream)])
def test_both_clients_have_one_surface(sync, asynchronous):
    """The same methods with the same parameters."""
    surfaces = []
    for kind in (sync, asynchronous):
        methods = {n: m for n, m in inspect.getmembers(kind, inspect.isfunction) if not n.startswith("_")}
        surfaces.append({name: list(inspect.signature(method).parameters) for name, method in methods.items()})
    assert surfaces[0] == surfaces[1]
