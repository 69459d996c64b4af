"""Telling people through Apprise: the addresses of a flow, of which nothing secret is shown."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from procezo_assets.errors import FlowError
from procezo_assets.flows import Flow


@dataclass(frozen=True)
class Address:
    """Where people are told of something.

    Args:
        name: What may be shown of it: its place in the flow, and the service.
        key: Tells it apart from others, and shows nothing of it.
        url: Apprise's address.
    """

    name: str
    key: str
    url: str = field(repr=False)

    def send(self, title: str, text: str) -> bool:
        """Send a message; False where it did not get through."""
        import apprise  # noqa: PLC0415 - only flows with `notify` need it

        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it may name the address
        sender = apprise.Apprise()
        return bool(sender.add(self.url) and sender.notify(title=title, body=text))


def addresses(flow: Flow) -> Iterator[Address | FlowError]:
    """The addresses that a flow names, each or why it is none."""
    for place, one in enumerate(flow.notify, 1):
        yield _address(flow, place, one)


def _address(flow: Flow, place: int, one: str | Mapping[str, str]) -> Address | FlowError:
    import apprise  # noqa: PLC0415 - as above

    where = f"{flow.path.name}, notify: address {place}"
    url = one if isinstance(one, str) else os.environ.get(one["env"], "")
    if not url:
        name = "" if isinstance(one, str) else one["env"]
        return FlowError(f"{where} is empty", f"set the environment variable {name} for Dagster")
    found = apprise.Apprise.instantiate(url)
    if not isinstance(found, apprise.NotifyBase):
        return FlowError(
            f"{where} is none that Apprise knows", "see its list: mailto://…, slack://…, json://…"
        )
    key = hashlib.sha256(url.encode()).hexdigest()[:12]
    return Address(f"address {place} ({found.service_name})", key, url)
