"""Where a request's class, tenant, deadline and objective are read, and what is wrong with a setting."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rankd_client.integration import IntegrationSettings, OpenAIRequest, RequestTerms, TermSources
from support.examples import examples

VARIABLES = {
    "RANKD_SERVICE_TIERS": "flex=2, priority=-1",
    "RANKD_CLASS_HEADER": "X-Class",
    "RANKD_TENANT_HEADER": "X-Team",
    "RANKD_TENANT_FIELD": "metadata.team",
    "RANKD_DEADLINE_HEADER": "X-Deadline",
    "RANKD_OBJECTIVE_HEADER": "X-Objective",
}
SOURCES = TermSources((("flex", 2), ("priority", -1)), b"x-class", b"x-team", "metadata.team", b"k" * 20, b"x-deadline")


def test_sources_come_from_the_environment(tmp_path):
    """Names of headers in lower case; a key out of its file, and never shown."""
    (tmp_path / "key").write_text("0123456789abcdef\n")
    read = IntegrationSettings.from_environment(VARIABLES | {"RANKD_TENANT_KEY_FILE": str(tmp_path / "key")}).terms
    assert read == TermSources(
        (("flex", 2), ("priority", -1)), b"x-class", b"x-team", "metadata.team", b"0123456789abcdef", b"x-deadline",
        b"x-objective",
    )  # fmt: skip
    assert "0123456789abcdef" not in repr(read)
    assert IntegrationSettings.from_environment({}).terms.service_tiers == (("flex", 1),)
    assert IntegrationSettings.from_environment({"RANKD_SERVICE_TIERS": "none"}).terms.service_tiers == ()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RANKD_SERVICE_TIERS", "flex", "such as flex=1,priority=-1"),
        ("RANKD_SERVICE_TIERS", "flex=1,flex=2", "each tier once"),
        ("RANKD_SERVICE_TIERS", "flex=128", "classes of -127 to 127"),
        ("RANKD_SERVICE_TIERS", "flex=1,", "must be tiers and their classes"),
        ("RANKD_CLASS_HEADER", "x class", "must be the name of a header of your own"),
        ("RANKD_CLASS_HEADER", "X-Vllm-Priority", "must be the name of a header of your own"),
        ("RANKD_TENANT_HEADER", "Authorization", "RANKD_TENANT_KEY_FILE"),
        ("RANKD_TENANT_HEADER", "x-api-key", "which is secret"),
        ("RANKD_TENANT_FIELD", "metadata..x", "must be a member of the body"),
        ("RANKD_TENANT_KEY_FILE", "/nowhere", "cannot be read"),
        ("RANKD_DEADLINE_HEADER", "", None),
        ("RANKD_OBJECTIVE_HEADER", "host", "must be the name"),
    ],
)
def test_a_wrong_source_is_named_with_its_remedy(name, value, says):
    """No server starts with one; an empty one is none."""
    if says is None:
        assert IntegrationSettings.from_environment({name: value}).terms == TermSources()
        return
    with pytest.raises(ValueError, match=f"{name}: .*{says}"):
        IntegrationSettings.from_environment({name: value})


def test_a_short_key_is_refused(tmp_path):
    """It could be guessed, and with it who has which credential."""
    (tmp_path / "key").write_text("short\n")
    with pytest.raises(ValueError, match=r"RANKD_TENANT_KEY_FILE: must hold 16 to 4096 bytes"):
        IntegrationSettings.from_environment({"RANKD_TENANT_KEY_FILE": str(tmp_path / "key")})


@pytest.mark.parametrize(
    ("name", "value", "deadline"),
    [
        (b"x-deadline", b"2.5", 1002.5), (b"x-deadline", b" 2 ", 1002), (b"x-slo-ttft-ms", b"250", 1000.25),
        (b"x-deadline", b"0", None), (b"x-deadline", b"99999999", None), (b"x-deadline", b"nan", None),
        (b"x-deadline", b"1_0", None), (b"x-deadline", "٣".encode(), None), (b"x-deadline", b"\xff", None),
    ],
)  # fmt: skip
def test_deadlines_are_seconds_from_arrival_or_milliseconds_by_name(name, value, deadline):
    """What is no number, or none that can be, is none."""
    sources = TermSources(deadline_header=name)
    assert sources.read([(name.title(), value)], None, 1000.0) == RequestTerms(deadline=deadline)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"x-class", b"X-Team", b"x-deadline", b"authorization", b"x-api-key"]),
            st.binary(max_size=30) | st.from_regex(rb"-?\d{1,12}", fullmatch=True),
        ),
        max_size=8,
    ),
    st.text(max_size=300),
    st.sampled_from(["flex", "priority", "", "x"]) | st.text(max_size=5),
)
@settings(max_examples=examples(300), deadline=None)
def test_whatever_is_sent_makes_terms_that_the_daemon_takes(fields, tenant, tier):
    """Classes and deadlines within bounds, tenants of at most 256 bytes of text."""
    request = OpenAIRequest(("x",), service_tier=tier, tenant=tenant)
    terms = SOURCES.read(fields, request, 1000.0)
    assert -127 <= terms.priority_class <= 127
    assert len(terms.tenant.encode()) <= 256
    assert terms.deadline is None or 1000 < terms.deadline <= 1e7 + 1000


@pytest.mark.parametrize(
    ("variables", "header", "field"),
    [
        ({}, b"x-rankd-step", ""),
        ({"RANKD_STEP_HEADER": "X-Node"}, b"x-node", ""),
        ({"RANKD_STEP_HEADER": "none", "RANKD_STEP_FIELD": "metadata.step"}, b"", "metadata.step"),
    ],
)
def test_where_a_step_is_named(variables, header, field):
    """By default in a header of ours, as it gives nobody precedence."""
    terms = IntegrationSettings.from_environment(variables).terms
    assert (terms.step_header, terms.step_field) == (header, field)


@pytest.mark.parametrize(
    ("fields", "said", "step"),
    [
        ([(b"X-Rankd-Step", b" plan ")], "", "plan"),
        ([(b"X-Rankd-Step", b"plan")], "body", "plan"),
        ([], "body", "body"),
        ([(b"X-Rankd-Step", b"a"), (b"x-rankd-step", b"b")], "", ""),
        ([(b"X-Rankd-Step", b"x" * 9999)], "", "x" * 256),
        ([(b"X-Rankd-Step", b"\xff\xfe")], "", "\ufffd\ufffd"),
        ([(b"X-Rankd-Step", b"")], "s" * 999, "s" * 256),
    ],
)
def test_a_step_is_read_as_it_can_be_sent(fields, said, step):
    """A header that comes twice is none; a long name is cut."""
    request = OpenAIRequest((), step=said)
    assert TermSources().read(fields, request, 0.0).step == step


def test_a_step_that_cannot_be_named_is_refused():
    """With the name of the variable."""
    with pytest.raises(ValueError, match="RANKD_STEP_HEADER: must be the name of a header of your own"):
        IntegrationSettings.from_environment({"RANKD_STEP_HEADER": "x step"})
    with pytest.raises(ValueError, match="RANKD_STEP_FIELD: must be a member of the body"):
        IntegrationSettings.from_environment({"RANKD_STEP_FIELD": "a b"})
