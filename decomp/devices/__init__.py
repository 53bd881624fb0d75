"""Devices: what a site has beside its battery and generators, as rows.

A kind of the library is called with its settings, `decomp.devices.battery(mwh=40)`, and attached to a site; what is not
there is written down in Pyomo (see `pyomo_block`). Read `draft` (how rows are written and enter an instance), one of
`kinds`, then `pyomo_block`.
"""

from decomp.devices.kind import Kind
from decomp.devices.kinds.battery import Battery as battery
from decomp.devices.kinds.carbon_free_matching import CarbonFreeMatching as carbon_free_matching
from decomp.devices.kinds.flexible_connection import FlexibleConnection as flexible_connection
from decomp.devices.kinds.fuel_cell import FuelCell as fuel_cell
from decomp.devices.kinds.generator import Generator as generator
from decomp.devices.kinds.hydrogen import Hydrogen as hydrogen
from decomp.devices.kinds.interconnection_ramp import InterconnectionRamp as interconnection_ramp
from decomp.devices.kinds.reserve import Reserve as reserve
from decomp.devices.kinds.thermal_storage import ThermalStorage as thermal_storage

KINDS: dict[str, type[Kind]] = dict(
    battery=battery,
    generator=generator,
    thermal_storage=thermal_storage,
    fuel_cell=fuel_cell,
    hydrogen=hydrogen,
    interconnection_ramp=interconnection_ramp,
    flexible_connection=flexible_connection,
    carbon_free_matching=carbon_free_matching,
    reserve=reserve,
)
__all__ = ["KINDS", "Kind", *KINDS]
