"""A status URL is followed as given, over TLS, and only to hosts that are allowed."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.core.target.hosts import is_loopback
from pipeline.core.target.status_url import NotAllowed, status_request

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
        ("ftp://demo.tt.omtrdc.net/", "not one of http or https"),
        ("https://a:b@demo.tt.omtrdc.net/", "user name"),
        ("https://evil.example:8443/", "evil.example:8443, which is not in [target] status_hosts"),
        ("https://[", "cannot be read"),
    ],
)
def test_why_it_is_not_allowed(returned: str, why: str) -> None:
    refused = status_request(returned, base_url=OWN, status_hosts=EDGES)
    assert isinstance(refused, NotAllowed)
    assert why in refused.why


def test_a_refusal_does_not_tell_a_password() -> None:
    refused = status_request("https://user:word@demo.tt.omtrdc.net/", base_url=OWN, status_hosts=EDGES)
    assert isinstance(refused, NotAllowed)
    assert "word" not in refused.why


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
