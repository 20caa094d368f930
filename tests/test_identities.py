"""Every identity of chapter 2, in float64: prints the table of residuals, and fails above 1e-9."""

import importlib
import pkgutil

import identities

MODULES = [found.name for found in pkgutil.iter_modules(identities.__path__)]


def test_every_identity_holds_to_nine_decimals(capsys):
    found = [row for name in MODULES for row in importlib.import_module(f"identities.{name}").rows()]
    with capsys.disabled():
        print("\nresidual  identity\n" + "\n".join(f"{residual:8.1e}  {claim}" for claim, residual in found))
    assert found and all(residual <= 1e-9 for _, residual in found)
