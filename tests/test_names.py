"""The names that `import leadscore` offers."""

from importlib import import_module

import pytest

import leadscore
from leadscore import thresholds


@pytest.mark.parametrize("name", leadscore.__all__)
def test_a_name_is_the_one_of_its_module(name: str) -> None:
    value = getattr(leadscore, name)
    assert value.__name__ == name
    assert value is getattr(import_module(value.__module__), name)
    assert name in dir(leadscore)


@pytest.mark.parametrize("name", thresholds.__all__)
def test_thresholds_offer_what_is_needed_to_choose_and_publish(name: str) -> None:
    assert getattr(thresholds, name).__name__ == name


def test_any_other_name_is_none() -> None:
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        leadscore.scores  # noqa: B018
