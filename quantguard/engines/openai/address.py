"""Where a server is, and the way there: what is wrong with an address, a key or a proxy is said with what to type."""

import importlib.util
import os
import urllib.parse
import urllib.request

from quantguard.errors import EngineError, UsageError

EXAMPLE = "http://localhost:8000/v1"
# What people paste: the addresses of single requests.
_REQUESTS = ("/chat/completions", "/completions", "/models", "/responses", "/embeddings")
_DEFAULT_KEY = "none"
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
# What is said where https is spoken to a server of http, and the other way round.
_SIGNS_OF_THE_OTHER_SCHEME = {
    "http": ("WRONG_VERSION_NUMBER", "wrong version number", "RECORD_LAYER_FAILURE", "record layer failure"),
    "https": ("HTTPS port", "illegal status line", "Server disconnected without sending a response"),
}
# All that the client sends of its own accord, as headers, which are ASCII.
_HEADERS = ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")


def checked(url: str) -> str:
    """Return an address without a slash at its end; raise UsageError for one that cannot be that of an interface."""
    address = url.strip().rstrip("/")
    try:
        parts = urllib.parse.urlsplit(address)
        parts.port  # noqa: B018 - it raises
    except ValueError as error:
        raise UsageError(f"endpoint={url!r} is no address: {error}. Type one such as {EXAMPLE}") from error
    if parts.scheme not in ("http", "https"):
        guess = address if "://" not in address else address.partition("://")[2]
        raise UsageError(f"endpoint={url!r} is no address of http or https: type endpoint='http://{guess.lstrip('/')}'")
    if not parts.hostname or any(character.isspace() for character in address):
        raise UsageError(f"endpoint={url!r} names no host. Type one such as {EXAMPLE}")
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            "the endpoint has a password in it, which would stand in every record. Type: export OPENAI_API_KEY=KEY, and"
            f" endpoint='{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}'"
        )
    if parts.query or parts.fragment:
        raise UsageError(
            f"the endpoint goes on behind its path. Type endpoint='{parts.scheme}://{parts.netloc}{parts.path}'; a key"
            " is the environment's OPENAI_API_KEY"
        )
    for request in _REQUESTS:
        if parts.path.endswith(request):
            whole = address.removesuffix(request)
            raise UsageError(f"endpoint={url!r} is the address of one kind of request: type endpoint='{whole}'")
    return address


def has_version(url: str) -> bool:
    """Tell whether an address ends as interfaces' do, such as in ``/v1``."""
    last = url.rpartition("/")[2]
    return last[:1] == "v" and last[1:2].isdigit()


def key() -> str:
    """Return the key for the server, ``none`` where there is none; raise UsageError for one that no header can hold."""
    for name in _HEADERS:
        value = os.environ.get(name, "")
        wrong = [place for place, character in enumerate(value, 1) if not "!" <= character <= "~"]
        if wrong:
            raise UsageError(
                f"{name} has a character that a header cannot hold, in place {wrong[0]} of {len(value)}: keys are ASCII"
                f" without spaces. Copy it anew and type: export {name}='…'"
            )
    return os.environ.get("OPENAI_API_KEY") or _DEFAULT_KEY


def require_proxies() -> None:
    """Raise EngineError where the environment names a proxy that the client cannot speak to.

    The client prepares for all of them, whichever address it is to reach.
    """
    for kind in ("http", "https", "all"):
        proxy = _proxies().get(kind)
        if proxy is None:
            continue
        problem = _proxy_problem(proxy)
        if problem:
            names = [name for name in (f"{kind}_proxy", f"{kind}_proxy".upper()) if os.environ.get(name)]
            raise EngineError(
                f"the environment's {' and '.join(names)} is {_shown(proxy)}: {problem}, where no proxy is needed,"
                f" unset {' '.join(names)}"
            )


def _proxy_problem(proxy: str) -> str | None:
    try:
        parts = urllib.parse.urlsplit(proxy)
        is_whole = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        is_whole = False
    if not is_whole:
        return "that is no address. Type one such as http://proxy:3128; or"
    if parts.scheme not in _PROXY_SCHEMES:
        return f"{parts.scheme} is not one of {', '.join(_PROXY_SCHEMES)}. Type one of those; or"
    if parts.scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        return "a SOCKS proxy needs a package more. Type: pip install socksio; or"
    return None


def _proxies() -> dict[str, str]:
    """Return the proxies by the scheme that they are for, or ``all``; none where NO_PROXY is for every host."""
    found = urllib.request.getproxies()
    if "*" in (host.strip() for host in found.get("no", "").split(",")):
        return {}
    return {
        kind: proxy if "://" in proxy else f"http://{proxy}" for kind, proxy in found.items() if kind != "no" and proxy
    }


def proxy_of(url: str) -> str | None:
    """Return the proxy through which the environment has an address reached, or None."""
    parts = urllib.parse.urlsplit(url)
    proxy = _proxies().get(parts.scheme) or _proxies().get("all")
    return None if proxy is None or urllib.request.proxy_bypass(parts.netloc) else proxy


def _shown(proxy: str) -> str:
    """Return the address of a proxy without its password."""
    scheme, _, rest = proxy.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def hint(url: str, problem: str) -> str | None:
    """Return what to type where an address is not answered as an interface would, as far as ``problem`` tells."""
    other = "http" if url.startswith("https:") else "https"
    proxy = proxy_of(url)
    if proxy is not None:
        host = urllib.parse.urlsplit(url).hostname
        return (
            f"The environment has it reached through the proxy {_shown(proxy)}: where none is needed, type: export"
            f" NO_PROXY={host}"
        )
    if any(sign in problem for sign in _SIGNS_OF_THE_OTHER_SCHEME[other]):
        return f"The server seems to speak {other}: type endpoint='{other}://{url.partition('://')[2]}'"
    if "CERTIFICATE_VERIFY_FAILED" in problem:
        return (
            "Nobody that this machine trusts has signed its certificate: type export SSL_CERT_FILE=FILE, which holds it"
        )
    return None if has_version(url) else f"Addresses of interfaces end in /v1: type endpoint='{url}/v1'"


def advice(url: str, problem: str = "") -> str:
    """Return the hint that there is, or what to look at without one."""
    return hint(url, problem) or f"Start the server, and give the address of its interface, such as {EXAMPLE}"
