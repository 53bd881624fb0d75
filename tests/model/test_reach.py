"""What a site's equipment can ever do, and where a device's row needs a ban on importing and exporting at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import decomp
from decomp.devices.attach import attach_drafts
from decomp.devices.draft import Addition, Draft, Use
from decomp.extensive.reductions import grid_ban_is_redundant
from decomp.model.reach import both_tempt, generation_reach, grid_reach, storable
from tiny import plain, tiny

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


def test_a_battery_holds_no_more_than_charging_brings() -> None:
    """Eight hours at 2 MW and 0.9 bring 14.4 MWh to what is there; a smaller battery is full before."""
    sites = tiny(
        sites=dict(
            battery_mwh=[1e12, 1e12, 10.0],
            battery_initial_mwh=[0.0, 5.0, 5.0],
            battery_min_mwh=0.0,
            battery_final_mwh=0.0,
            charge_mw=2.0,
            discharge_mw=2.0,
            charge_efficiency=0.9,
        )
    ).sites
    assert np.allclose(storable(sites, 1.0), [14.4, 19.4, 10.0])


def test_a_generator_delivers_no_more_than_its_site_takes_and_sells() -> None:
    """1000 GPUs at a kW and 0.2 MW idle, a battery that charges at 2 MW, a MW of export; wind that has to be taken."""
    sites = dict(pue=1.0, battery_mwh=[4.0, 0.0], charge_mw=2.0, discharge_mw=2.0, curtailable=[True, False])
    reach = generation_reach(plain(sites=sites).microgrids)
    assert np.allclose(reach, [[4.2] * 6, [1.9] * 6])


def test_what_a_device_always_draws_or_gives_is_no_reach() -> None:
    """One that draws 2 to 3 MW: 3 MW more may be imported, and 2 MW less exported."""
    instance, draft = tiny(), Draft()
    at = np.arange(instance.n_periods)
    draft.variables("drawn", 2.0, 3.0, index=at, power=-1.0)
    equipped = attach_drafts(instance, [Addition(1, draft, "device")])
    wide = {name: np.full(instance.sites.pue.shape, 1e6) for name in ("import_limit_mw", "export_limit_mw")}
    (without_in, without_out), (most_in, most_out) = (
        grid_reach(replace(fleet.microgrids, sites=replace(fleet.sites, **wide))) for fleet in (instance, equipped)
    )
    change = np.zeros(instance.n_sites)
    change[1] = 3.0
    assert np.allclose(most_in - without_in, change[:, None])
    change[1] = -2.0
    assert np.allclose(most_out, np.maximum(without_out + change[:, None], 0.0))
