"""Names in the extensive form: the shapes of its variables, the columns and rows of the exported MPS."""

from __future__ import annotations

import re

from decomp.model.instance import SECOND_STAGE, Array, Instance

DIMENSIONS = dict(
    **dict(excess_in=("scenario",), worse=("scenario",), eta=()),
    **dict.fromkeys(("gpu", "it", "imp", "exp", "imp_on", "ren", "chg", "dis", "chg_on"), ("site", "period")),
    **dict.fromkeys(("gen", "on", "up", "down"), ("generator", "period")),
    **dict(sto=("site", "instant"), seg=("site", "segment", "period"), peak=("site",), emis=("site",), excess=()),
    **dict(route=("arc", "period"), unserved=("stream", "period"), start=("candidate", "period"), reject=("job",)),
    **dict(pool=("pool_arc", "period"), short=("pool",), device=("device_variable",)),
)

FIELDS = dict(  # schedule field -> variable
    routed_gpu="route",
    unserved_gpu="unserved",
    pool_gpu="pool",
    pool_shortfall_gpu_h="short",
    it_power_mw="it",
    import_mw="imp",
    export_mw="exp",
    renewable_mw="ren",
    charge_mw="chg",
    discharge_mw="dis",
    stored_mwh="sto",
    generation_mw="gen",
    generator_on="on",
    device_value="device",
)


def shape(instance: Instance, variable: str) -> tuple[int, ...]:
    """Shape of a variable, as of `DIMENSIONS`."""
    sizes = {**instance.sizes, "instant": instance.n_periods + 1}
    return tuple(sizes[dimension] for dimension in DIMENSIONS[variable])


ROWS = dict(
    **dict.fromkeys(("carry", "curve", "one_seg", "on_curve", "imp_ban", "exp_ban", "balance", "above"), "site"),
    **dict.fromkeys(("emit", "store", "chg_ban", "dis_ban"), "site"),
    **dict.fromkeys(("gen_min", "gen_max", "switch", "min_up", "min_down", "ramp_up", "ramp_down"), "generator"),
    **dict(serve="stream", finish="pool", device_row="device_row"),
)


def mps_name(name: str, instance: Instance) -> str:
    """`imp[3,17]` as `imp_3_17`, with scenarios as `imp_s0_3_17`."""
    stem, *key = name.replace("[", ",").replace("]", "").split(",")
    return named(stem, key, instance)


def named(stem: str, key: list[str], instance: Instance) -> str:
    """The name of a column or row, a variable's or group's name with its indices."""
    dimension = ROWS.get(stem) or next(iter(DIMENSIONS.get(stem, ())), "")
    if instance.copies > 1 and dimension in SECOND_STAGE:
        s, k = divmod(int(key[0]), instance.sizes[dimension] // instance.copies)
        key = [f"s{s}", str(k), *key[1:]]
    return "_".join([stem, *key])


def readable(names: list[str], device: Array, instance: Instance) -> list[str]:
    """The names with those of device variables as `device_site_variable_t`."""
    v, owner, taken = instance.device_variables, instance.devices, set(names)
    for k, column in enumerate(device):
        if column >= 0:
            words = [owner.name[v.device[k]], instance.sites.name[owner.site[v.device[k]]], v.name[k]]
            words += [str(v.index[k])] if v.index[k] >= 0 else []
            name = re.sub(r"\W+", "_", "_".join(words), flags=re.ASCII)
            names[column] = name if name not in taken else f"{name}_{names[column]}"
            taken.add(names[column])
    return names
