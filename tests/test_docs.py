"""The configuration page says what can be read."""

import re
from pathlib import Path

from leadscore import config
from leadscore.config import sections

PAGE = Path(__file__).parent.parent / "docs" / "configuration.md"


def test_the_page_is_one_configuration_that_reads(tmp_path):
    (yaml,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "acme.yaml").write_text(yaml)
    project = config.read(tmp_path / "acme.yaml")
    assert project.contract.history is not None
    assert len(project.points) == 8


def test_the_page_names_every_key():
    text = PAGE.read_text()
    kinds = [
        kind
        for kind in vars(sections).values()
        if isinstance(kind, type) and issubclass(kind, sections.Section)
    ]
    keys = {field.alias or name for section in kinds for name, field in section.model_fields.items()}
    assert not [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)]
