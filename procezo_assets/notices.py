"""Telling people through Apprise: the addresses of a flow, of which nothing secret is shown."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from procezo_assets.errors import FlowError
from procezo_assets.flows import Flow

if TYPE_CHECKING:
    from apprise import NotifyBase

# a silent address may not hold up the process for long that waits for its thread
_LONGEST_WAIT_SECONDS = 25.0


@dataclass(frozen=True)
class Address:
    """Where people are told of something.

    Args:
        name: What may be shown of it: its place in the flow, and the service.
        key: Tells it apart from others, and shows nothing of it.
        service: What Apprise made of it.
    """

    name: str
    key: str
    service: NotifyBase = field(repr=False, compare=False)

    def send(self, title: str, text: str) -> bool:
        """Send a message; False where it did not get through."""
        import apprise  # noqa: PLC0415 - only flows with `notify` need it

        sender = apprise.Apprise()
        return bool(sender.add(self.service) and sender.notify(title=title, body=text))


def send_to_all(
    messages: Mapping[Address, tuple[str, str]], *, within: float
) -> Mapping[Address, bool]:
    """Send each address its message, all at the same time.

    Args:
        messages: Title and text for each address.
        within: Seconds after which an address that has not answered counts as not told.

    Returns:
        Whether the message got through, for each address.
    """
    pool = ThreadPoolExecutor(max(1, len(messages)))
    sending = {pool.submit(address.send, *told): address for address, told in messages.items()}
    done, silent = wait(sending, within)
    pool.shutdown(wait=False)
    got = {sending[one]: one.exception() is None and one.result() for one in done}
    return {**got, **{sending[one]: False for one in silent}}


def addresses(flow: Flow) -> Iterator[Address | FlowError]:
    """The addresses that a flow names, each once, or why it is none."""
    seen: set[str] = set()
    for place, one in enumerate(flow.notify, 1):
        found = _address(flow, place, one)
        if isinstance(found, FlowError) or found.key not in seen:
            yield found
        if isinstance(found, Address):
            seen.add(found.key)


def _address(flow: Flow, place: int, one: str | Mapping[str, str]) -> Address | FlowError:
    import apprise  # noqa: PLC0415 - as above

    where = f"{flow.path.name}, notify: address {place}"
    url = one if isinstance(one, str) else os.environ.get(one["env"], "")
    if not url:
        name = "" if isinstance(one, str) else one["env"]
        return FlowError(f"{where} is empty", f"set the environment variable {name} for Dagster")
    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it may name the address
    found = apprise.Apprise.instantiate(url)
    if not isinstance(found, apprise.NotifyBase):
        return FlowError(
            f"{where} is none that Apprise knows", "see its list: mailto://…, slack://…, json://…"
        )
    found.socket_connect_timeout = min(found.socket_connect_timeout, _LONGEST_WAIT_SECONDS)
    found.socket_read_timeout = min(found.socket_read_timeout, _LONGEST_WAIT_SECONDS)
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    return Address(f"address {place} ({found.service_name})", key, found)
