"""Where a ban on importing and exporting at once is needed for the sake of a device's row."""

from __future__ import annotations

import numpy as np
import pytest

import decomp
from decomp.devices.attach import attach_drafts
from decomp.devices.draft import Addition, Draft, Use
from decomp.extensive.reductions import grid_ban_is_redundant
from decomp.model.reach import both_tempt, usable

ROWS = {  # coefficients of import and export, sides of the row, and whether it could want both
    "net import": (1.0, -1.0, -2.0, 2.0, False),
    "import at most": (1.0, 0.0, -np.inf, 2.0, False),
    "import at least": (1.0, 0.0, 2.0, np.inf, True),
    "export at least": (0.0, 1.0, 2.0, np.inf, True),
    "less import than export": (2.0, -1.0, -np.inf, 0.0, False),
    "half of the export at least": (1.0, -0.5, 0.0, np.inf, True),
    "both between": (1.0, 1.0, 1.0, 2.0, True),
}


@pytest.mark.parametrize("kind", ROWS)
def test_only_rows_that_netting_could_break_want_both(kind: str) -> None:
    bought, sold, low, high, wants = ROWS[kind]
    instance, draft = decomp.generate("small", seed=4), Draft()
    at = np.array([1, 3])
    draft.rows("row", low, high, (bought, Use("grid_import", at)), (sold, Use("grid_export", at)), index=at)
    equipped = attach_drafts(instance, [Addition(1, draft, "device")])
    wanted = np.zeros((instance.n_sites, instance.n_periods), dtype=bool)
    wanted[1, at] = wants
    assert np.array_equal(both_tempt(equipped.microgrids), wanted)
    limits = (instance.sites.import_limit_mw > 0) & (instance.sites.export_limit_mw > 0)
    assert np.array_equal(grid_ban_is_redundant(equipped), grid_ban_is_redundant(instance) & ~(wanted & limits))


def test_equipment_is_no_larger_than_its_site() -> None:
    """1 MW at full load and 3 MW of export take 4 MW; 5 MW of import less 0.2 MW of idle load charge for 8 hours."""
    sites = dict(
        capacity_gpu=[[800.0]],
        power_slope_mw_per_gpu=[[0.001]],
        power_intercept_mw=[[0.2]],
        pue=1.0,
        import_limit_mw=5.0,
        export_limit_mw=3.0,
        buy_price=40.0,
        sell_price=30.0,
        battery_mwh=1e12,
        battery_initial_mwh=1.0,
        charge_mw=1e12,
        discharge_mw=1e12,
        charge_efficiency=0.5,
    )
    instance = decomp.build_instance(1, 8, 1.0, sites=sites)
    able = usable(instance.microgrids, 1.0).sites
    assert np.allclose([able.discharge_mw, able.charge_mw, able.battery_mwh], [[4.0], [4.8], [20.2]])
    generators = dict(
        site=[0, 0, 0], p_min_mw=[0.0, 1e6, 0.5], p_max_mw=[1e9, 1e9, 2.0], fuel_usd_per_mwh=30.0, initial_periods=7
    )
    instance = decomp.build_instance(1, 8, 1.0, sites=sites | dict(battery_mwh=0.0), generators=generators)
    able = usable(instance.microgrids, 1.0).generators
    assert np.allclose(able.p_max_mw, [4.0, 4.0, 2.0]) and np.allclose(able.p_min_mw, [0.0, 4.0, 0.5])
    stays_off = able.min_down_periods - able.initial_periods >= 8
    assert stays_off.tolist() == [False, True, False]
