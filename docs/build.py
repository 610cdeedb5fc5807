"""Photographs the card that `make demo` wrote, for the README."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CARD, PICTURE = ROOT / "models" / "demo.card.html", ROOT / "docs" / "card.png"
QUIET = (
    "--headless --no-sandbox --disable-gpu --hide-scrollbars --no-first-run --disable-background-networking"
)


def main() -> None:
    """Write docs/card.png, or say what is missing."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("expected chromium on the PATH; found none; install it, for the picture alone")
    if not CARD.is_file():
        sys.exit(f"expected {CARD.relative_to(ROOT)}; found none; run make demo first")
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *QUIET.split(), f"--user-data-dir={profile}", "--window-size=760,1500"]
        subprocess.run(
            [*command, "--force-device-scale-factor=1.5", f"--screenshot={PICTURE}", CARD.as_uri()],
            check=True,
            capture_output=True,
        )
    print(PICTURE.relative_to(ROOT))


if __name__ == "__main__":
    main()
