"""A page for which Gradio is missing: what to install is said before anything is read."""

from __future__ import annotations

import importlib
import sys

import pytest


@pytest.mark.parametrize("command", ["speech", "caption"])
def test_what_to_install_is_said_before_the_model_is_read(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "demos"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "gradio", None)
    main = importlib.import_module(f"{command}.cli").main
    assert main(["demo", "--model", "no-such-model"]) == 1
    expected = f"{command}: needs gradio: pip install '.[demos]' in the folder of the code\n"
    assert capsys.readouterr().err == expected
