"""The picture of the code in CONTRIBUTING, kept true: who may import whom, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import leadscore

ROOT = Path(leadscore.__file__).parent
ORDER = [
    "errors", "files", "data", "simulate", "features", "models", "evaluation", "explain", "policy", "bundle",
    "predict", "thresholds", "what_if", "timelines", "cards", "operate", "spark", "pyfunc", "tracking",
    "project", "pages", "threshold_page", "checking", "preparing", "comparing", "train", "points", "report",
    "config", "cli",
]  # fmt: skip
ONLY_IN = {
    "mlflow": {"tracking.py", "pyfunc.py"},
    "lightgbm": {"models/boosted.py"},
    "matplotlib": {"evaluation/figures.py"},
    "shap": {"explain/shap_values.py"},
    "typer": {
        "cli/commands.py",
        "cli/options.py",
        "cli/points.py",
        "cli/queue.py",
        "cli/threshold.py",
        "cli/timeline.py",
    },
    "pydantic": {"config/sections.py", "config/reading.py", "config/compiling.py"},
    "pyspark": {"spark.py"},
}
MODULES = sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def place(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_place_imports_only_from_places_above_it(path: Path) -> None:
    if place(path) == "__init__":
        return
    here = ORDER.index(place(path))
    for name in imports(path):
        if name.startswith("leadscore.") and (target := name.split(".")[1]) in ORDER:
            assert ORDER.index(target) <= here, f"{path.name} imports {name}, which lies below it"


@pytest.mark.parametrize(("library", "files"), ONLY_IN.items())
def test_a_heavy_library_lives_in_one_file(library: str, files: set[str]) -> None:
    found = {
        str(path.relative_to(ROOT))
        for path in MODULES
        if any(name.split(".")[0] == library for name in imports(path))
    }
    assert found <= files


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_right_of_the_seam_nobody_sees_tables(path: Path) -> None:
    inside = str(path.relative_to(ROOT))
    if inside.startswith(("models/", "evaluation/")) or inside == "explain/drivers.py":
        assert not any(name.startswith(("leadscore.data", "leadscore.features")) for name in imports(path))


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_command_line_reads_the_clock(path: Path) -> None:
    if place(path) == "cli":
        return
    calls = {
        ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
    }
    clock = {
        "datetime.now",
        "datetime.utcnow",
        "date.today",
        "time.time",
        "pd.Timestamp.now",
        "pd.Timestamp.today",
    }
    assert not calls & clock


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("leadscore", ["numpy", "pandas", "pyarrow", "lightgbm", "sklearn", "mlflow", "shap"]),
        ("leadscore.predict", ["lightgbm", "sklearn", "mlflow", "shap", "matplotlib", "scipy", "pydantic"]),
    ],
)
def test_importing_stays_light(module: str, heavy: list[str]) -> None:
    code = f"import sys, {module}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
