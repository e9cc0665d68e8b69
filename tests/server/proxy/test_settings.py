"""Settings of `rankd proxy` that cannot work are named with the remedy."""

import json

import pytest
from support.fake_engine import post, run

from rankd.cli import main
from rankd.errors import ConfigError

SHORT, LONG = "a short answer", "a long long long answer"


BODY = json.dumps({"prompt": SHORT, "stream": True}).encode()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ([], "--upstream or RANKD_PROXY_UPSTREAM: must be the engine's URL"),
        (["--upstream", "localhost:8000"], "must be the engine's URL, such as http://127.0.0.1:8000"),
        (["--upstream", "http://user:sekret@x"], "must be scheme, host, port and path only"),
        (["--upstream", "http://x", "--listen", "8080"], "--listen or RANKD_PROXY_LISTEN: '8080' is not HOST:PORT"),
        (["--upstream", "http://x", "--timeout", "never"], "RANKD_TIMEOUT: must be seconds"),
    ],
)
def test_a_wrong_setting_is_named_with_its_remedy(flags, expected, capsys):
    """Exit status 2, and nothing of a password."""
    assert main(["proxy", *flags]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert "sekret" not in said


def test_what_is_not_installed_is_named_with_the_command(monkeypatch, capsys):
    """The daemon is installed without the proxy's packages."""
    monkeypatch.setattr("rankd.cli.proxy.importlib.util.find_spec", lambda _: None)
    assert main(["proxy", "--upstream", "http://x"]) == 2
    assert capsys.readouterr().err == "rankd: the proxy needs aiohttp, httptools, uvicorn: pip install 'rankd[proxy]'\n"


def test_an_address_that_is_taken_is_named(start_engine, start_proxy):
    """And the proxy that has it goes on."""
    proxy = start_proxy(start_engine())
    with pytest.raises(ConfigError, match=r"--listen \(RANKD_PROXY_LISTEN\): cannot listen on 127.0.0.1:.*in use"):
        start_proxy(start_engine(), listen=f"127.0.0.1:{proxy.port}")
    assert run(post(proxy.port, BODY))[0] == 200
