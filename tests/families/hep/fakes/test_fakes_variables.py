"""Variables of events by name."""

from __future__ import annotations

import numpy as np

from tabstar_lit.families.hep.fakes.variables import column_of, standard_variables


def test_standard_variables_are_found_by_name() -> None:
    assert standard_variables(("pt", "eta", "met", "x"), "pt") == ("pt", "abs_eta", "met")
    assert standard_variables(("probe_pt", "probe_eta", "m_ee"), "probe_pt") == ("probe_pt", "abs_probe_eta")
    assert standard_variables(("abs_eta", "pt"), "pt") == ("pt", "abs_eta")
    assert column_of({"probe_eta": np.array([-2.0])}, "abs_probe_eta") == [2.0]
