"""URLs of webhooks: what is taken, what is refused, and that nothing secret is shown."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from netsonde.model.errors import BadField
from netsonde.model.webhook_url import Target, masked, parse

TAKEN = [
    ("http://10.0.0.1:9000/alarm?a=b#c", ("10.0.0.1", 9000, "/alarm?a=b", "10.0.0.1:9000")),
    ("https://Hooks.Example", ("hooks.example", 443, "/", "hooks.example")),
    ("http://xn--bcher-kva.example?x", ("xn--bcher-kva.example", 80, "/?x", None)),
    ("http://[2001:DB8::1]:80/", ("2001:db8::1", 80, "/", "[2001:db8::1]")),
    ("https://a_b.c-d.:8443/%20é", ("a_b.c-d.", 8443, "/%20%C3%A9", "a_b.c-d.:8443")),
    ("http://x:/", ("x", 80, "/", "x")),
]
REFUSED = [
    "http://",
    "http:///path",
    "ftp://x/",
    "http://x:0/",
    "http://x:65536/",
    "http://x:-1/",
    "http://x:٣/",
    "http://[::1",
    "http://[::1]x/",
    "http://[10.0.0.1]/",
    "http://::1/",
    "http://127.1/",
    "http://2130706433/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://127.0.0.1.5/",
    "http://a@b@c/",
    "http://a\\@b/",
    "http://bücher.example/",
    "http://x\r\nX-Evil: 1/",
    "http://x/\x00",
    "http://-x.example/",
    "http://" + "a" * 64 + ".example/",
    "http://" + "a." * 127 + "a/",
    "http://[fe80::1%25..%]/",
    "http://[fe80::1%]/",
    "http://[fe80::1%25" + "z" * 16 + "]/",
    "http://[2001:db8::1%25eth0]/",
]


@pytest.mark.parametrize(("text", "parts"), TAKEN)
def test_urls_are_read(text: str, parts: tuple[str, int, str, str | None]) -> None:
    target = parse(text)
    host, port, path, authority = parts
    assert (target.host, target.port, target.path) == (host, port, path)
    assert authority is None or target.authority == authority
    assert target.tls is text.startswith("https")


@pytest.mark.parametrize("text", REFUSED)
def test_urls_of_no_plain_host_are_refused(text: str) -> None:
    with pytest.raises(BadField) as refused:
        parse(text)
    assert (refused.value.field, bool(refused.value.allowed)) == ("url", True)


def test_zones_are_those_of_link_local_addresses_and_written_in_two_ways() -> None:
    for text in ("http://[fe80::1%25eth0.7]/", "http://[fe80::1%eth0.7]/"):
        target = parse(text)
        assert (target.zone, target.host, target.authority) == ("eth0.7", "fe80::1", "[fe80::1]")


TEXTS = st.text(st.characters(codec="utf-8"), max_size=40)


@given(st.one_of(TEXTS, st.text("ab1:/?#@[]%.\\\r\n é", max_size=30)))
@example("user:pass@host:99999/")
@example("[fe80::1%25é]/")
def test_any_text_is_a_target_or_a_sentence(rest: str) -> None:
    try:
        target = parse("http://" + rest)
    except BadField:
        return
    assert isinstance(target, Target)
    written = target.authority + target.path
    assert written.isascii()
    assert written.isprintable()
    assert " " not in written
    assert 1 <= target.port <= 65535


def said(text: str) -> str:
    try:
        parse(text)
    except BadField as error:
        return f"{error} {error.value}"
    return ""


@given(st.text("abc:@%\\é", min_size=1), st.sampled_from(["host/", "[::1]:9/a@b", "host?x@y", "@"]))
def test_no_password_is_ever_shown(user: str, place: str) -> None:
    secret = f"Zq9{user}9qZ"
    text = f"https://{secret}@{place}"
    assert "Zq9" not in masked(text)
    assert "Zq9" not in said(text)
