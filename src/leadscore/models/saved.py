"""Which served form each kind of saved model is: read back without scikit-learn or LightGBM."""

from collections.abc import Callable, Mapping

from leadscore.errors import ModelError, explain, shown
from leadscore.models.forest import Forest
from leadscore.models.hazard import HazardForest
from leadscore.models.linear import LinearTable
from leadscore.models.points import PointTable
from leadscore.models.scorer import Scorer
from leadscore.models.segments import Segmented
from leadscore.models.sums import Sum

KINDS: Mapping[str, Callable[[Mapping[str, bytes]], Scorer]] = {
    form.kind: form.from_files for form in (PointTable, LinearTable, Forest, HazardForest, Sum, Segmented)
}


def read_scorer(kind: str, files: Mapping[str, bytes]) -> Scorer:
    """Read a served form from what its `to_files` gave.

    Parameters
    ----------
    kind : {"points", "linear", "forest", "hazard", "sum", "segmented"}
    files : mapping
        Bytes by file name.

    Returns
    -------
    Scorer

    Raises
    ------
    ModelError
        The kind is unknown, or the files are not such a model.

    Examples
    --------
    >>> from leadscore.models.matrix import Column
    >>> table = PointTable((Column("visits"),), ())
    >>> read_scorer(table.kind, table.to_files()) == table
    True
    """
    if kind not in KINDS:
        raise ModelError(explain(f"a model of kind {', '.join(KINDS)}", shown(kind), "upgrade leadscore"))
    return KINDS[kind](files)
