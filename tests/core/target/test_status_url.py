"""A status URL is followed as given, over TLS, and only to hosts that are allowed."""

from urllib.parse import urlsplit

import pytest
import yarl
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.target.hosts import is_loopback
from pipeline.core.target.status_url import MAX_URL_CHARS, NotAllowed, status_request

OWN = "https://demo.tt.omtrdc.net"
EDGES = ("mboxedge*.tt.omtrdc.net",)
PATH = "/m2/demo/profile/batchStatus?batchId=demo-1"


def ask(returned: str, base_url: str = OWN, status_hosts: tuple[str, ...] = EDGES) -> str | None:
    """The URL to ask for, without the part that all have; None if it is not allowed."""
    url = status_request(returned, base_url=base_url, status_hosts=status_hosts)
    return None if isinstance(url, NotAllowed) else url.removesuffix(f"{PATH}&showDetails=true")


@pytest.mark.parametrize(
    ("origin", "asked"),
    [
        ("https://demo.tt.omtrdc.net", "https://demo.tt.omtrdc.net:443"),
        ("https://demo.tt.omtrdc.net:443", "https://demo.tt.omtrdc.net:443"),
        ("https://DEMO.TT.omtrdc.net", "https://demo.tt.omtrdc.net:443"),
        ("HTTPS://demo.tt.omtrdc.net", "https://demo.tt.omtrdc.net:443"),
        ("http://demo.tt.omtrdc.net", "https://demo.tt.omtrdc.net:443"),
        ("http://demo.tt.omtrdc.net:80", "https://demo.tt.omtrdc.net:443"),
        ("http://demo.tt.omtrdc.net:443", "https://demo.tt.omtrdc.net:443"),
        ("http://mboxedge45.tt.omtrdc.net", "https://mboxedge45.tt.omtrdc.net:443"),
        ("https://mboxedge45.tt.omtrdc.net", "https://mboxedge45.tt.omtrdc.net:443"),
        ("https://mboxedge.tt.omtrdc.net", "https://mboxedge.tt.omtrdc.net:443"),
        ("http://MBOXEDGE45.tt.omtrdc.net", "https://mboxedge45.tt.omtrdc.net:443"),
        # Other ports.
        ("https://demo.tt.omtrdc.net:8443", None),
        ("http://demo.tt.omtrdc.net:8080", None),
        ("https://demo.tt.omtrdc.net:80", None),
        ("https://mboxedge45.tt.omtrdc.net:8443", None),
        ("http://mboxedge45.tt.omtrdc.net:8080", None),
        # Other hosts.
        ("https://other.tt.omtrdc.net", None),
        ("https://tt.omtrdc.net", None),
        ("https://demo.tt.omtrdc.net.example.com", None),
        ("https://demo.tt.omtrdc.net.", None),
        ("https://evil-demo.tt.omtrdc.net", None),
        ("https://xmboxedge45.tt.omtrdc.net", None),
        ("https://mboxedge.example.tt.omtrdc.net", None),
        ("https://mboxedge45.tt.omtrdc.net.example.com", None),
        ("https://mboxedge45.tt.omtrdc.example", None),
        ("https://mboxedge45xtt.omtrdc.net", None),
        ("https://example.com\\.tt.omtrdc.net", None),
        ("https://127.0.0.1", None),
        ("http://localhost", None),
        ("https://[::1]", None),
        ("https://169.254.169.254", None),
        # Credentials.
        ("https://user@demo.tt.omtrdc.net", None),
        ("https://user:word@demo.tt.omtrdc.net", None),
        ("https://:@demo.tt.omtrdc.net", None),
        ("https://@demo.tt.omtrdc.net", None),
        ("https://demo.tt.omtrdc.net@example.com", None),
        ("https://example.com\\@demo.tt.omtrdc.net", None),
        # No URL, or another kind of one.
        ("ftp://demo.tt.omtrdc.net", None),
        ("file://demo.tt.omtrdc.net", None),
        ("//demo.tt.omtrdc.net", None),
        ("demo.tt.omtrdc.net", None),
        ("", None),
        ("https://", None),
        ("https://:443", None),
        ("https://demo.tt.omtrdc.net:port", None),
        ("https://demo.tt.omtrdc.net:99999", None),
        ("https://[demo.tt.omtrdc.net", None),
        ("https://[::1", None),
    ],
)
def test_where_a_status_may_be_asked_for(origin: str, asked: str | None) -> None:
    assert ask(origin + PATH) == asked


@pytest.mark.parametrize(
    ("status_hosts", "origin", "allowed"),
    [
        ((), "https://mboxedge45.tt.omtrdc.net", False),
        (("status.example.com",), "https://status.example.com", True),
        (("Status.Example.com",), "https://status.example.com", True),
        (("status.example.com",), "https://status.example.com:8443", False),
        (("status.example.com:8443",), "https://status.example.com:8443", True),
        (("status.example.com:8443",), "http://status.example.com:8443", True),
        (("status.example.com:8443",), "https://status.example.com", False),
        (("status.example.com:443",), "http://status.example.com", True),
        (("*.example.com",), "https://a.example.com", True),
        (("*.example.com",), "https://a.b.example.com", False),
        (("*.example.com",), "https://example.com", False),
        (("a*z.example.com:8443",), "https://abcz.example.com:8443", True),
        (("a*z.example.com:8443",), "https://abc.example.com:8443", False),
        (("one.example.com", "two.example.com"), "https://two.example.com", True),
        (("127.0.0.2",), "https://127.0.0.2", True),
    ],
)
def test_hosts_that_the_configuration_allows(status_hosts: tuple[str, ...], origin: str, allowed: bool) -> None:
    assert (ask(origin + PATH, status_hosts=status_hosts) is not None) is allowed


@pytest.mark.parametrize(
    ("base_url", "origin", "asked"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1", "http://127.0.0.1", "http://127.0.0.1:80"),
        ("http://localhost:8080", "http://localhost:8080", "http://localhost:8080"),
        ("http://[::1]:8080", "http://[::1]:8080", "http://[::1]:8080"),
        ("http://[::1]:8080", "http://[0:0::1]:8080", None),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8081", None),
        ("http://127.0.0.1:8080", "http://127.0.0.2:8080", None),
        ("http://127.0.0.1:8080", "http://localhost:8080", None),
        ("http://127.0.0.1:8080", "http://mboxedge45.tt.omtrdc.net", "https://mboxedge45.tt.omtrdc.net:443"),
        # Only where base_url itself is plain.
        ("https://127.0.0.1:8443", "http://127.0.0.1:8443", "https://127.0.0.1:8443"),
        ("https://localhost", "http://localhost", "https://localhost:443"),
        # Not beyond loopback, whatever base_url is.
        ("http://demo.example.com:8080", "http://demo.example.com:8080", "https://demo.example.com:8080"),
        ("https://demo.example.com:8443", "http://demo.example.com:8443", "https://demo.example.com:8443"),
        ("https://demo.example.com:8443", "https://demo.example.com", None),
        ("https://[2001:db8::1]", "http://[2001:DB8::1]", "https://[2001:db8::1]:443"),
        ("https://[2001:db8::1]", "https://[2001:db8::2]", None),
    ],
)
def test_own_host_and_loopback(base_url: str, origin: str, asked: str | None) -> None:
    assert ask(origin + PATH, base_url) == asked


@pytest.mark.parametrize(
    ("entry", "origin", "allowed"),
    [
        ("[2001:db8::1]", "https://[2001:db8::1]", True),
        ("[2001:db8::1]", "https://[2001:DB8::1]:443", True),
        ("[2001:db8::1]", "https://[2001:db8::1]:8443", False),
        ("[2001:db8::1]", "https://[2001:db8::2]", False),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]:8443", True),
        ("[2001:db8::1]:8443", "https://[2001:db8::1]", False),
    ],
)
def test_a_listed_ipv6_address(entry: str, origin: str, allowed: bool) -> None:
    assert (ask(origin + PATH, status_hosts=(entry,)) is not None) is allowed


@pytest.mark.parametrize(
    ("returned", "asked"),
    [
        ("/p?batchId=1", "/p?batchId=1&showDetails=true"),
        ("/p?batchId=1&mboxPC=2&m2Node=3", "/p?batchId=1&mboxPC=2&m2Node=3&showDetails=true"),
        ("/p?batchId=1&showDetails=true", "/p?batchId=1&showDetails=true"),
        ("/p?showDetails=true&batchId=1", "/p?showDetails=true&batchId=1"),
        ("/p", "/p?showDetails=true"),
        ("/p?batchId=a%2Fb%26c+d", "/p?batchId=a%2Fb%26c+d&showDetails=true"),
        ("/a%2Fb//c;d?x", "/a%2Fb//c;d?x&showDetails=true"),
        ("/p?batchId=1#fragment", "/p?batchId=1&showDetails=true"),
    ],
)
def test_path_and_query_stay_as_they_were_given(returned: str, asked: str) -> None:
    assert status_request(OWN + returned, base_url=OWN, status_hosts=()) == f"{OWN}:443{asked}"


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ("ftp://demo.tt.omtrdc.net/", "not written as one of http or https"),
        ("https://a:b@demo.tt.omtrdc.net/", "not written as one of http or https"),
        ("https://[", "not written as one of http or https"),
        ("https://demo.tt.omtrdc.net:99999/", "names no host and port that there can be"),
        ("https://evil.example:8443/", "on a host and port that [target] status_hosts does not allow"),
        (f"{OWN}/{'a' * MAX_URL_CHARS}", "more than 4,096 characters"),
    ],
)
def test_why_it_is_not_allowed(returned: str, why: str) -> None:
    refused = status_request(returned, base_url=OWN, status_hosts=EDGES)
    assert isinstance(refused, NotAllowed)
    assert why in refused.why
    assert not any(piece in refused.why for piece in ("evil", "demo", "a:b", "8443", "99999")), "nothing is quoted"


EDGE = "http://mboxedge45.tt.omtrdc.net"
#: What a server may name that must not be asked for.
HOSTILE = {
    "DEL in the path": f"{EDGE}/m2/\x7f?batchId=1",
    "a label of 70 characters": f"http://mboxedge{'a' * 62}.tt.omtrdc.net{PATH}",
    "a label of 64 characters": f"http://mboxedge{'a' * 56}.tt.omtrdc.net{PATH}",
    "a label that ends with a hyphen": f"http://mboxedge-.tt.omtrdc.net{PATH}",
    "a backslash in the host": f"http://mboxedge1\\x.tt.omtrdc.net{PATH}",
    "a backslash behind the host": f"{OWN}\\@evil.example{PATH}",
    "a backslash in the path": f"{OWN}/m2\\demo",
    "a Hebrew letter and a digit in the host": f"http://mboxedge\u05d01.tt.omtrdc.net{PATH}",
    "a Hebrew letter as the own host": f"https://demo\u05d01.tt.omtrdc.net{PATH}",
    "another dot": f"http://mboxedge1\u3002tt.omtrdc.net{PATH}",
    "digits of another script": f"http://mboxedge\u0661.tt.omtrdc.net{PATH}",
    "letters of full width": f"http://\uff4dboxedge1.tt.omtrdc.net{PATH}",
    "a long s": f"http\u017f://demo.tt.omtrdc.net{PATH}",
    "the sign of Kelvin": f"http://mboxedge\u212a.tt.omtrdc.net{PATH}",
    "a soft hyphen": f"http://mboxedge\u00ad1.tt.omtrdc.net{PATH}",
    "a zero-width joiner": f"http://mboxedge\u200d1.tt.omtrdc.net{PATH}",
    "raw UTF-8 in the path": f"{EDGE}/m2/\u00e9",
    "raw UTF-8 in the query": f"{EDGE}{PATH}\u00e9",
    "raw UTF-8 in the fragment": f"{EDGE}{PATH}#\u00e9",
    "an emoji": f"{EDGE}/\U0001f600",
    "a lone surrogate": f"{EDGE}/\ud800",
    "a bidirectional override": f"{EDGE}/\u202ecba",
    "a C1 control": f"{EDGE}/\u009b2J",
    "a blank before": f" {EDGE}{PATH}",
    "a blank behind": f"{EDGE}{PATH} ",
    "a blank in the host": f"http://mboxedge 1.tt.omtrdc.net{PATH}",
    "a blank in the path": f"{EDGE}/m2/a b",
    "a blank in the query": f"{EDGE}{PATH} HTTP/1.1",
    "a no-break space": f"{EDGE}/\u00a0",
    "CR and LF in the path": f"{EDGE}/a\r\nX-Header: 1\r\n\r\n",
    "CR and LF in the query": f"{EDGE}{PATH}\r\nHost: evil.example",
    "LF in the host": f"http://mboxedge1\n.tt.omtrdc.net{PATH}",
    "LF at the end": f"{EDGE}{PATH}\n",
    "a tab in the scheme": f"ht\ttp://mboxedge1.tt.omtrdc.net{PATH}",
    "a tab in the host": f"http://mboxedge\t1.tt.omtrdc.net{PATH}",
    "a tab in the path": f"{EDGE}/a\tb",
    "NUL": f"{EDGE}/\0",
    "ESC": f"{EDGE}/\x1b[2J",
    "a double quote": f'{EDGE}/"',
    "a single quote": f"{EDGE}/'",
    "a backtick": f"{EDGE}/`",
    "angle brackets": f"{EDGE}/<b>",
    "braces": f"{EDGE}/{{x}}",
    "a pipe character": f"{EDGE}/a|b",
    "square brackets in the path": f"{EDGE}/[x]",
    "two fragments": f"{EDGE}/#a#b",
    "a bare percent": f"{EDGE}/a%",
    "half an escape": f"{EDGE}/a%4",
    "an escape that is none": f"{EDGE}/a%zz",
    "an escape in the host": f"http://mboxedge%31.tt.omtrdc.net{PATH}",
    "an escaped line feed in the host": f"http://mboxedge%0a.tt.omtrdc.net{PATH}",
    "a user name": f"http://user@mboxedge1.tt.omtrdc.net{PATH}",
    "a user and a password": f"http://user:word@mboxedge1.tt.omtrdc.net{PATH}",
    "an empty user": f"http://@mboxedge1.tt.omtrdc.net{PATH}",
    "a user that is the host": f"https://demo.tt.omtrdc.net@evil.example{PATH}",
    "an IPv6 address": f"http://[::1]{PATH}",
    "an IPv6 address with a zone": f"http://[fe80::1%25eth0]{PATH}",
    "an IPv6 address that is none": f"http://[:::]{PATH}",
    "a mapped IPv4 address": f"http://[::ffff:127.0.0.1]{PATH}",
    "brackets around a name": f"http://[mboxedge1.tt.omtrdc.net]{PATH}",
    "an IPv4 address": f"http://169.254.169.254{PATH}",
    "an IPv4 address as a number": f"http://2130706433{PATH}",
    "an IPv4 address in octal": f"http://0177.0.0.1{PATH}",
    "port 0": f"http://mboxedge1.tt.omtrdc.net:0{PATH}",
    "port 99999": f"http://mboxedge1.tt.omtrdc.net:99999{PATH}",
    "port 65536": f"http://mboxedge1.tt.omtrdc.net:65536{PATH}",
    "a negative port": f"http://mboxedge1.tt.omtrdc.net:-1{PATH}",
    "a port with a plus": f"http://mboxedge1.tt.omtrdc.net:+443{PATH}",
    "a port of many digits": f"http://mboxedge1.tt.omtrdc.net:{'4' * 5_000}{PATH}",
    "an empty port": f"http://mboxedge1.tt.omtrdc.net:{PATH}",
    "two ports": f"http://mboxedge1.tt.omtrdc.net:443:443{PATH}",
    "punycode of another name": f"http://xn--mboxedge1-x9a.tt.omtrdc.net{PATH}",
    "a trailing dot": f"http://mboxedge1.tt.omtrdc.net.{PATH}",
    "an empty label": f"http://mboxedge1..tt.omtrdc.net{PATH}",
    "an empty label in front": f"http://.tt.omtrdc.net{PATH}",
    "nothing but dots": f"http://...{PATH}",
    "a host of 300 characters": f"http://{'a.' * 150}net{PATH}",
    "no host": f"http://{PATH}",
    "one slash": f"http:/mboxedge1.tt.omtrdc.net{PATH}",
    "three slashes": f"http:///mboxedge1.tt.omtrdc.net{PATH}",
    "another scheme": f"javascript:alert(1)//mboxedge1.tt.omtrdc.net{PATH}",
    "a file": "file:///etc/passwd",
    "no scheme": f"//mboxedge1.tt.omtrdc.net{PATH}",
    "a path that does not begin with a slash": "http://mboxedge1.tt.omtrdc.netm2",
    "a URL of a megabyte": f"{EDGE}/{'a' * 1_048_576}",
    "a megabyte of escapes": f"{EDGE}/{'%41' * 349_525}",
    "a URL one character too long": f"{EDGE}/".ljust(MAX_URL_CHARS + 1, "a"),
}


@pytest.mark.parametrize("returned", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_url_is_not_asked_for(returned: str) -> None:
    assert isinstance(status_request(returned, base_url=OWN, status_hosts=EDGES), NotAllowed)


@pytest.mark.parametrize(
    "returned",
    [
        f"{EDGE}/".ljust(MAX_URL_CHARS, "a"),
        f"http://mboxedge{'a' * 55}.tt.omtrdc.net{PATH}",
        f"{EDGE}/a%00%0d%0a%7f%2F?a=%20&b=(x)!$*;,~._-@:/?#frag%20ment?",
        f"{EDGE}",
        f"{EDGE}?{'&' * 500}",
        f"{EDGE}:00443{PATH}",
        f"{EDGE}/../../../etc",
    ],
)
def test_what_is_asked_for_is_taken_by_the_libraries_as_it_is(returned: str) -> None:
    asked = status_request(returned, base_url=OWN, status_hosts=EDGES)
    assert isinstance(asked, str)
    url = yarl.URL(asked, encoded=True)
    assert asked.partition(":443")[2] == url.raw_path_qs
    assert url.raw_host is not None and url.raw_host.encode("idna").decode() == url.raw_host
    assert url.path and url.query_string


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("128.0.0.1", False),
        ("localhost.example.com", False),
        ("127.0.0.1.example.com", False),
        ("127.1", False),
        ("", False),
    ],
)
def test_is_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


PIECES = ["https://", "http://", "demo", "mboxedge1", ".tt.omtrdc.net", ".", ":", "443", "80", "@", "/", "\\", "?", "#"]
PIECES += ["[", "]", "::1", "%2e", "%40", "evil.example", "*", " ", "\t", "\n", "\0", "é", "。", "&", "x"]


@given(st.lists(st.sampled_from(PIECES), max_size=10).map("".join), st.sampled_from(["", "https://", "http://"]))
def test_nothing_leads_to_another_host_or_to_plain_http(text: str, scheme: str) -> None:
    url = status_request(scheme + text, base_url=OWN, status_hosts=EDGES)
    if isinstance(url, NotAllowed):
        return
    parts = urlsplit(url)
    host = parts.hostname or ""
    assert parts.scheme == "https"
    assert parts.port == 443
    assert parts.username is None and parts.password is None
    is_edge = host.startswith("mboxedge") and host.endswith(".tt.omtrdc.net") and host.count(".") == 3
    assert host == "demo.tt.omtrdc.net" or is_edge
