"""``scripts/network_link.py``: packets arrive, and not before their time."""

from __future__ import annotations

import os
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from tests.helpers import SCRIPTS

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("ip") is None or not Path("/dev/net/tun").exists(),
    reason="needs root, ip and TUN devices",
)


@pytest.mark.slow
def test_a_link_delays_and_limits_what_it_carries(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    link = import_module("network_link")
    monkeypatch.setattr(link, "has_netem", lambda: False)
    monkeypatch.setattr(link, "TRANSFER", 2_000_000)
    with link.namespaces(3, link.Link(delay=5, rate=0.1)) as names:
        assert 10 <= link.round_trip(names) < 50
        assert link.transfer_rate(names) < 0.11
