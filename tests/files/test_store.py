"""Files: what is written comes back, other programs read it, failures leave nothing behind."""

from __future__ import annotations

import gzip
from dataclasses import fields
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import xarray as xr

from decomp.certificate import check
from decomp.families import generate
from decomp.files.store import (
    instance_hash,
    read_instance,
    read_result,
    read_sites,
    write_instance,
    write_result,
)
from decomp.model.instance import TABLES, InputError, Instance, Table, build_instance
from decomp.model.result import Allowances, Blocks, Dual, Iteration, Result, Schedule, Status
from running import files_of_at_most
from tiny import SITES, bare_sites, tiny

FIRST = Path(__file__).parent / "first"


def same(a: Table, b: Table) -> bool:
    return all(
        np.array_equal(getattr(a, f.name), getattr(b, f.name), equal_nan=f.metadata["kind"] == "f8")
        for f in a.columns()
    )


def filled(cls: type[Any], instance: Instance, seed: int, **scalars: Any) -> Any:
    """A result table with random numbers of the right shape."""
    rng = np.random.default_rng(seed)
    sizes = {**instance.sizes, "instant": instance.n_periods + 1}
    return cls(*[rng.integers(0, 2, [sizes[d] for d in f.metadata["dims"]]) for f in cls.columns()], **scalars)


def a_result(instance: Instance) -> Result:
    log = (
        Iteration(0, "bound", -5.0, None, 0.1),
        Iteration(1, "dive", -4.0, -3.0, 0.2, model=-3.5, step="serious", columns=12),
    )
    provenance = dict(seed=1, versions={"numpy": "2"}, share=np.float64(0.5), where=Path("x"), shape=np.arange(2))
    schedule = filled(Schedule, instance, 1)
    dual = filled(Dual, instance, 2, carbon_price=7.5, form="work", blocks=filled(Blocks, instance, 4))
    carbon = filled(Allowances, instance, 3, abatement_usd_per_t=7.5)
    return Result(Status.LIMIT, -4.0, -3.0, schedule, dual, log, provenance, allowances=carbon)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.h5"


@pytest.fixture
def saved(path: Path) -> Path:
    write_instance(path, tiny())
    return path


def test_instance_round_trip(saved: Path) -> None:
    before, after = tiny(), read_instance(saved)
    assert after.scalars == before.scalars
    for (name, a), (_, b) in zip(before.tables(), after.tables(), strict=True):
        assert same(a, b), name
    assert not after.sites.buy_price.flags.writeable


@pytest.mark.parametrize("seed", range(12))
def test_random_instances_round_trip(path: Path, seed: int) -> None:
    instance = generate("small", seed=seed)
    write_instance(path, instance)
    again = read_instance(path)
    assert again.content_hash() == instance.content_hash() == instance_hash(path)
    assert again.scalars == instance.scalars


def test_empty_tables_and_odd_names(path: Path) -> None:
    names = ["Zürich, 1", "東京", "a/b 'c'"]
    write_instance(path, build_instance(3, 8, 0.25, sites={**SITES, "name": names}))
    again = read_instance(path)
    assert again.sites.name.tolist() == names
    assert again.sizes["job"] == again.sizes["pool_arc"] == 0
    assert again.carbon_budget_t == np.inf
    for name in TABLES:
        xr.load_dataset(path, engine="h5netcdf", group=name)


def test_writing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.h5", "b.h5"):
        write_instance(tmp_path / name, tiny())
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()


def test_hash_sees_numbers_and_names_but_not_origin() -> None:
    base = tiny().content_hash()
    assert tiny(source="elsewhere", family="other", seed=9, start_utc="2023-01-01T00:00Z").content_hash() == base
    assert tiny(carbon_budget_t=31.0).content_hash() != base
    assert tiny(sites=dict(name=["Albany", "Buffalo", "Dublin"])).content_hash() != base
    assert tiny(jobs=dict(value_usd=5001.0)).content_hash() != base


def test_large_arrays_are_read_by_blocks_of_rows(path: Path) -> None:
    large = bare_sites(200, 96, buy_price=np.arange(200.0)[:, None])
    write_instance(path, large)
    with h5py.File(path) as file:
        assert 1 < file["sites/buy_price"].chunks[0] < 200 and file["sites/buy_price"].chunks[1] == 96
        assert file["sites/buy_price"].compression == "gzip"
    assert read_instance(path).content_hash() == large.content_hash()
    sites = read_sites(path, [150, 0]).sites
    assert same(sites, large.sites.take([150, 0]))


def test_some_sites(saved: Path) -> None:
    whole = tiny()
    own = read_sites(saved, np.array([2, 1]))
    assert same(own.sites, whole.sites.take([2, 1]))
    assert own.generators.site.tolist() == [0]  # Cork's, which is now the first site
    assert own.generators.initial_mw.tolist() == [0.5]
    own = read_sites(saved, [2, 0])
    assert own.generators.site.tolist() == [0, 1]
    assert own.generators.initial_mw.tolist() == [0.5, 0.0]
    own = read_sites(saved, [])
    assert len(own.sites.name) == len(own.generators.site) == 0


@pytest.mark.parametrize("ids", [[3], [-1], [0, 0]])
def test_sites_that_do_not_exist(saved: Path, ids: list[int]) -> None:
    with pytest.raises(InputError, match="distinct indexes below 3"):
        read_sites(saved, ids)


def test_result_round_trip(saved: Path, tmp_path: Path) -> None:
    instance = tiny()
    before = a_result(instance)
    write_result(tmp_path / "r.h5", before, instance)
    after = read_result(tmp_path / "r.h5")
    assert (after.status, after.bound, after.incumbent) == (before.status, before.bound, before.incumbent)
    assert after.log == before.log
    assert after.provenance == dict(seed=1, versions={"numpy": "2"}, share=0.5, where="x", shape=[0, 1])
    assert after.schedule is not None and before.schedule is not None and same(after.schedule, before.schedule)
    assert after.dual is not None and before.dual is not None and same(after.dual, before.dual)
    assert (after.dual.carbon_price, after.dual.form) == (7.5, "work")
    assert after.dual.blocks is not None and same(after.dual.blocks, before.dual.blocks)
    assert after.allowances is not None and before.allowances is not None and same(after.allowances, before.allowances)
    assert after.allowances.abatement_usd_per_t == 7.5
    assert instance_hash(tmp_path / "r.h5") == instance.content_hash()


def test_files_of_the_first_build_are_read(tmp_path: Path) -> None:
    """Written before there were scenarios and devices: the same numbers, and a result that is proved again."""
    for name in ("fleet.h5", "result.h5"):
        (tmp_path / name).write_bytes(gzip.decompress((FIRST / f"{name}.gz").read_bytes()))
    fleet, result = read_instance(tmp_path / "fleet.h5"), read_result(tmp_path / "result.h5")
    assert fleet.content_hash() == instance_hash(tmp_path / "fleet.h5") == instance_hash(tmp_path / "result.h5")
    assert min(fleet.sizes[name] for name in ("site", "generator", "stream", "job", "pool")) > 0
    assert fleet.n_scenarios == len(fleet.devices.name) == 0
    certificate = check(fleet, result)
    assert certificate.ok and certificate.cost == pytest.approx(result.incumbent, rel=1e-9), certificate.findings


def test_result_of_another_instance_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"schedule\.routed_gpu: shape .*, must be \(arc, period\) = \(0, 8\)"):
        write_result(tmp_path / "r.h5", a_result(tiny()), build_instance(3, 8, 1.0, sites=SITES))
    assert list(tmp_path.iterdir()) == []


def test_result_without_schedule(tmp_path: Path) -> None:
    before = Result(Status.INFEASIBLE, np.inf, np.inf, None, None, provenance={"text": "x" * 200_000})
    write_result(tmp_path / "r.h5", before, tiny())
    after = read_result(tmp_path / "r.h5")
    assert after.schedule is None and after.dual is None and after.log == ()
    assert after.bound == np.inf and after.provenance == before.provenance


def test_log_of_an_older_version_takes_defaults(tmp_path: Path) -> None:
    write_result(tmp_path / "r.h5", a_result(tiny()), tiny())
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        del file["log/columns"]
    assert [line.columns for line in read_result(tmp_path / "r.h5").log] == [0, 0]


def test_result_of_an_older_version_has_no_allowances(tmp_path: Path) -> None:
    write_result(tmp_path / "r.h5", a_result(tiny()), tiny())
    with h5py.File(tmp_path / "r.h5", "r+") as file:
        del file["allowances"]
    after = read_result(tmp_path / "r.h5")
    assert after.allowances is None and after.schedule is not None


def test_xarray_reads_every_group_of_an_instance(saved: Path) -> None:
    instance = tiny()
    for name, table in instance.tables():
        data = xr.load_dataset(saved, engine="h5netcdf", group=name)
        for f in table.columns():
            variable = data[f.name]
            assert variable.dims == f.metadata["dims"]
            assert variable.attrs["units"] == f.metadata["unit"]
            assert variable.attrs["long_name"] == f.metadata["long_name"]
            array = getattr(table, f.name)
            assert np.array_equal(variable.values, array, equal_nan=f.metadata["kind"] == "f8")
            assert variable.dtype.kind in {"f8": "f", "i8": "i", "?": "b", "U": "UOT"}[f.metadata["kind"]]


def test_xarray_selects_by_name_and_time(saved: Path) -> None:
    with xr.open_datatree(saved, engine="h5netcdf") as tree:
        price = tree["sites"].buy_price.sel(site="Buffalo", period="2022-01-01T03:00")
        assert float(price) == tiny().sites.buy_price[1, 3]


def test_times_are_utc(path: Path) -> None:
    write_instance(path, tiny(start_utc="2022-07-01T00:00-04:00", period_h=0.25, pools=dict(work_gpu_h=100.0)))
    with xr.open_dataset(path, engine="h5netcdf") as data:
        assert str(data.period.values[1])[:16] == "2022-07-01T04:15"


def test_xarray_reads_every_group_of_a_result(tmp_path: Path) -> None:
    instance = tiny()
    write_result(tmp_path / "r.h5", a_result(instance), instance)
    for name, cls in (("schedule", Schedule), ("dual", Dual), ("allowances", Allowances)):
        data = xr.load_dataset(tmp_path / "r.h5", engine="h5netcdf", group=name)
        assert {f.name for f in cls.columns()} == set(data.data_vars)
    log = xr.load_dataset(tmp_path / "r.h5", engine="h5netcdf", group="log")
    assert log.bound.dims == ("iteration",)
    assert set(log.variables) == {f.name for f in fields(Iteration)}


def test_an_invalid_instance_is_not_written(path: Path) -> None:
    with pytest.raises(InputError, match=r"sites\.pue"):
        write_instance(path, tiny(sites=dict(pue=0.5)))
    assert not path.exists()


@pytest.mark.parametrize("before", [None, b"precious"])
def test_a_full_disk_leaves_nothing(path: Path, before: bytes | None) -> None:
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(OSError, match="too large"), files_of_at_most(4096):
        write_instance(path, tiny())
    assert list(path.parent.iterdir()) == ([] if before is None else [path])
    assert before is None or path.read_bytes() == before


def test_an_interrupt_in_the_middle_leaves_nothing(saved: Path, tmp_path: Path) -> None:
    def interrupt(file: h5py.File) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_result(tmp_path / "r.h5", a_result(tiny()), tiny(), interrupt)
    assert list(tmp_path.iterdir()) == [saved]


def test_failed_rename_leaves_nothing(saved: Path, tmp_path: Path) -> None:
    """A folder has taken the file's name in the meantime."""
    with pytest.raises(IsADirectoryError):
        write_result(tmp_path / "r.h5", a_result(tiny()), tiny(), lambda file: (tmp_path / "r.h5").mkdir())
    assert sorted(p.name for p in tmp_path.iterdir()) == [saved.name, "r.h5"]


def test_the_target_is_named_when_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError) as caught:
        write_instance(tmp_path, tiny())
    assert caught.value.filename == str(tmp_path)
    with pytest.raises(FileNotFoundError) as missing:
        write_instance(tmp_path / "no" / "x.h5", tiny())
    assert missing.value.filename == str(tmp_path / "no" / "x.h5")
