"""What is only better so may fail; what ends the call may not be taken for such a failure."""

from __future__ import annotations

from typing import NoReturn

import pytest

from cni import sysctl
from cni.errors import IO_FAILURE, CniError, Terminated


def test_an_attempt_lives_with_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise CniError(IO_FAILURE, "refused")

    monkeypatch.setattr(sysctl, "ensure", refuse)
    sysctl.attempt("ipv6/conf/eth0/accept_ra", "0")


def test_an_attempt_does_not_live_on_with_a_sigterm(monkeypatch: pytest.MonkeyPatch) -> None:
    def end(*_: object) -> NoReturn:
        raise Terminated

    monkeypatch.setattr(sysctl, "ensure", end)
    with pytest.raises(Terminated):
        sysctl.attempt("ipv6/conf/eth0/accept_ra", "0")
