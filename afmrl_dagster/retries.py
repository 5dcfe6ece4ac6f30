"""Which failures are tried again: those of the network, and no others."""

import random
import socket
from collections.abc import Iterator

# By name: the libraries are imported by the steps that use them.
_NETWORK = {
    "requests.exceptions.ConnectionError",
    "requests.exceptions.Timeout",
    "requests.exceptions.RetryError",
    "requests.exceptions.ChunkedEncodingError",
    "httpx.TransportError",
    "httpcore.NetworkError",
    "aiohttp.client_exceptions.ClientConnectionError",
    "aiohttp.client_exceptions.ClientPayloadError",
    "openai.APIConnectionError",
    "urllib3.exceptions.HTTPError",
}
_STATUS = {408, 425, 429, 500, 502, 503, 504}


def is_transient(error: BaseException) -> bool:
    """Whether the network was at fault, or a server that may answer later, by the error and its causes."""
    return any(_is_of_network(cause) for cause in _causes(error))


def seconds_before(retry: int, first: float) -> float:
    """How long to wait before a retry (counted from 0): doubled each time, half of it by chance."""
    return first * 2**retry * random.uniform(0.5, 1.0)


def _causes(error: BaseException) -> Iterator[BaseException]:
    found: BaseException | None = error
    while found is not None:
        yield found
        # An error raised `from None` still knows what it hides.
        found = found.__cause__ or found.__context__


def _is_of_network(error: BaseException) -> bool:
    if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
        return True
    status = getattr(error, "status_code", None) or getattr(error, "status", None)
    if isinstance(status, int) and status in _STATUS:
        return True
    return any(f"{kind.__module__}.{kind.__name__}" in _NETWORK for kind in type(error).__mro__)
