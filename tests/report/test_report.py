"""The report: made-up results in; one well-formed page out, with nothing in it that leads outside."""

import re
from dataclasses import fields, replace
from html.parser import HTMLParser

import numpy as np
import pytest

from decomp.families import random_small
from decomp.files.store import write_instance, write_result
from decomp.model.accounts import account
from decomp.model.instance import OPTIONAL, TABLES, InputError, build_instance
from decomp.model.result import Dual, Iteration, Result, Schedule, Status
from decomp.report import render, write_report
from decomp.report.figure import figure, limits, style, svg
from decomp.report.flows import RULE, SHOWN_SITES, choose, flows, stream_price
from decomp.report.jobs import pack
from decomp.report.words import MINUS, amount, gap_text, usd
from drivers import compare, report
from running import files_of_at_most
from tiny import bare_sites

pytestmark = pytest.mark.slow

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Checks nesting and collects ids, references and tags."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.stack, self.ids, self.links, self.tags, self.words = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.stack, f"never closed: {self.stack}"

    def handle_starttag(self, tag, attrs, closed=False):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            if name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                self.links.append(value)
            assert not name.startswith("on"), f"{name} is a script"
        if not closed and tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs, closed=True)

    def handle_endtag(self, tag):
        assert self.stack and self.stack.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.words.append(data)


def inspect(text):
    """A page that stands on its own: well-formed, unique ids, no scripts, every reference inside."""
    page = Page(text)
    assert not re.search(r"https?:|//[a-z]+\.[a-z]|@import|javascript:", text)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & set(page.tags)
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("data:image/png;base64,") or link[1:] in page.ids for link in page.links)
    inside = re.findall(r"url\(([^)]*)\)", text)
    assert all(u.startswith("#") and u[1:] in page.ids for u in inside)
    return page


def idle(instance):
    """A schedule of the right shape in which nothing runs."""
    sizes = {**instance.sizes, "instant": instance.n_periods + 1}
    start = dict(job_site=-1, job_start=-1, unserved_gpu=instance.demand_gpu)
    start["stored_mwh"] = instance.sites.battery_initial_mwh[:, None]
    values = {f.name: start.get(f.name, 0) for f in Schedule.columns()}
    return Schedule.make(sizes, **values)


def fleet(n_sites=3, n_periods=24, n_jobs=4, names=None):
    """An instance with one of everything."""
    rng = np.random.default_rng(n_sites)
    shape = (n_sites, n_periods)
    rows = np.arange(n_sites)
    return build_instance(
        n_sites,
        n_periods,
        1.0,
        sites=dict(
            name=names or [f"site {i}" for i in rows],
            longitude=rng.uniform(-180, 180, n_sites),
            capacity_gpu=1000.0,
            power_slope_mw_per_gpu=np.full((n_sites, 1), 1e-3),
            power_intercept_mw=0.2,
            import_limit_mw=3.0,
            export_limit_mw=1.0,
            buy_price=rng.normal(40, 20, shape),
            sell_price=20.0,
            carbon_intensity=0.3,
            wind_mw=rng.uniform(0, 1, shape),
            solar_mw=0.2,
            battery_mwh=2.0,
            battery_initial_mwh=1.0,
            charge_mw=0.5,
            discharge_mw=0.5,
        ),
        generators=dict(site=[0], p_min_mw=0.1, p_max_mw=0.5, fuel_usd_per_mwh=50.0, emission_t_per_mwh=0.5),
        streams=dict(
            origin=["Oslo", "Kyoto"],
            demand_rps=400.0,
            revenue=2.0,
            unserved_penalty=1.0,
            service_class=["chat", "code"],
        ),
        arcs=dict(stream=np.repeat([0, 1], n_sites), site=np.tile(rows, 2), cost=0.1, round_trip_ms=20.0),
        jobs=dict(gpus=[300.0] * n_jobs, periods=4, release=0, deadline=n_periods, value_usd=500.0),
        candidates=dict(job=np.arange(n_jobs), site=np.arange(n_jobs) % n_sites),
        pools=dict(work_gpu_h=[100.0], start=0, end=n_periods, shortfall_penalty=1.0),
        pool_arcs=dict(pool=[0], site=[0], rate_gpu=50.0),
        carbon_budget_t=50.0,
        family="made-up",
    )


def busy(instance):
    """A schedule that balances power and keeps capacity, without being clever."""
    n_sites, n_periods = instance.n_sites, instance.n_periods
    job_site = np.where(np.arange(instance.n_jobs) == 1, -1, (np.arange(instance.n_jobs) + 1) % n_sites)
    job_start = np.where(job_site < 0, -1, 2)
    routed = np.zeros((len(instance.arcs.site), n_periods))
    routed[[0, n_sites]] = 300.0
    plan = replace(
        idle(instance),
        job_site=job_site,
        job_start=job_start,
        routed_gpu=routed,
        unserved_gpu=np.full((instance.n_streams, n_periods), 100.0),
        pool_gpu=np.full((1, n_periods), 100.0 / n_periods),
        generation_mw=np.full((1, n_periods), 0.2),
        generator_on=np.ones((1, n_periods), dtype=bool),
    )
    books = account(instance, plan)
    power = 1e-3 * books.load_gpu + 0.2
    need = instance.sites.pue * power
    need[0] -= 0.2
    renewable = np.minimum(instance.renewable_mw, np.maximum(need, 0))
    return replace(plan, it_power_mw=power, renewable_mw=renewable, import_mw=need - renewable)


def result_of(instance, schedule=None, **values):
    cost = account(instance, schedule).net_cost if schedule is not None else np.inf
    best = cost if np.isfinite(cost) else 0.0
    log = tuple(
        Iteration(
            iteration=k,
            phase="bound" if k < 4 else "dive",
            bound=-np.inf if k == 0 else best - 5000.0 / k,
            incumbent=None if k < 3 or not np.isfinite(cost) else cost + 10.0 * (9 - k),
            wall_seconds=1.0 + k,
            residual_gpu=100.0 / (k + 1),
            carbon_price=float(k),
        )
        for k in range(10)
    )
    shape = (instance.n_sites, instance.n_periods)
    dual = Dual(
        load_price=np.linspace(-0.1, 2.0, shape[0] * shape[1]).reshape(shape),
        stream_price=np.zeros((instance.n_streams, instance.n_periods)),
        job_price=np.zeros(instance.n_jobs),
        pool_price=np.zeros(instance.n_pools),
        site_lower=np.zeros(instance.n_sites),
        carbon_price=12.5,
    )
    facts = dict(method="lagrangian", ranks=2, wall_seconds=10.0, versions={"numpy": "2.0"}, emissions_t=1.0)
    facts["instance_hash"] = instance.content_hash()
    given = dict(status=Status.LIMIT, bound=best - 550.0, incumbent=cost, schedule=schedule, dual=dual, log=log)
    return Result(**{**given, "provenance": facts, **values})


@pytest.fixture(scope="module")
def instance():
    return fleet()


@pytest.fixture(scope="module")
def result(instance):
    return result_of(instance, busy(instance))


@pytest.fixture(scope="module")
def text(instance, result):
    return render(instance, result)


def test_page_stands_on_its_own(text):
    page = inspect(text)
    assert 50e3 < len(text) < 2e6
    assert page.tags.count("figure") == page.tags.count("figcaption") == page.tags.count("h3")
    assert page.tags.count("svg") == page.tags.count("figure")
    assert "@media print" in text


def test_page_says_what_the_books_say(instance, result, text):
    words = " ".join(Page(text).words)
    books = account(instance, result.schedule)
    for value in (books.benefit, books.served_gpu_h, books.unserved_gpu_h, books.bought_mwh, books.curtailed_mwh):
        assert amount(value) in words
    assert amount(result.bound, 2) in words and amount(result.incumbent, 2) in words
    assert instance.content_hash() in words and "lagrangian" in words
    assert "job1" in words and "1 of 4 jobs, worth 500 USD, are rejected" in words
    assert all(name in words for name in ("site 0", "Oslo · chat", "versions: numpy", "12.50"))


def test_captions_have_units_and_pictures_are_described(text):
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text, re.S)
    assert len(captions) >= 9 and all(len(c) > 25 and c.strip().endswith((".", "%)")) for c in captions)
    assert text.count('role="img" aria-label="') == text.count("<svg ")


@pytest.mark.parametrize("missing", ["schedule", "dual", "both", "log"])
def test_results_that_lack_something(instance, result, missing):
    lacking = dict(schedule=None, incumbent=np.inf, log=result.log[:3]) if missing in ("schedule", "both") else {}
    lacking |= dict(dual=None) if missing in ("dual", "both") else {}
    lacking |= dict(log=()) if missing == "log" else {}
    page = inspect(render(instance, replace(result, **lacking)))
    words = " ".join(page.words)
    assert ("What a GPU-hour costs, site by site" in words) == (missing not in ("dual", "both"))
    assert ("Benefit at most" in words) == ("schedule" in lacking)
    assert ("Convergence" in words) == (missing != "log")


def test_infeasible(instance):
    gone = dict(bound=np.inf, dual=None, log=(), status=Status.INFEASIBLE)
    assert "No feasible schedule exists" in render(instance, result_of(instance, **gone))


@pytest.mark.parametrize("seed", range(3))
def test_any_mixture_of_features(seed):
    instance = random_small(seed)
    inspect(render(instance, result_of(instance, idle(instance))))


def test_one_site_one_period_and_nothing_to_do():
    lone = bare_sites(period_h=0.25, capacity_gpu=10.0, power_slope_mw_per_gpu=0.0, import_limit_mw=0.0, buy_price=0.0)
    inspect(render(lone, result_of(lone, idle(lone))))


def test_names_are_text_and_never_markup():
    nasty = ['<script>alert("x")</script>', "$\\frac{1}{2}$ & co", "東京 'q'"]
    instance = fleet(names=nasty)
    page = inspect(render(instance, result_of(instance, busy(instance))))
    words = "".join(page.words)
    assert all(name[:12] in words for name in nasty)


@pytest.fixture(scope="module")
def many():
    return fleet(60, 48, 90)


def test_large_fleet_shows_some_sites_by_a_stated_rule(many):
    text = render(many, result_of(many, busy(many)))
    page = inspect(text)
    words = " ".join(page.words)
    assert f"{SHOWN_SITES} of 60 sites: {RULE}." in words
    assert text.count('<figure class="half">') == SHOWN_SITES
    assert "Training over all sites" in words and "Every flow of inference as a dot" in words
    assert len(text) < 10e6


def test_long_horizon_stays_small():
    month = fleet(1, 2976)
    assert len(render(month, result_of(month, busy(month)))) < 3e6


def test_choice_of_sites_names_each_once_and_gives_reasons(many):
    schedule = busy(many)
    f = flows(many, schedule)
    chosen, some = choose(many, f, account(many, schedule).emissions_t, None)
    sites = [i for i, _ in chosen]
    assert some and len(set(sites)) == SHOWN_SITES and all(reason for _, reason in chosen)
    assert chosen[0] == (int(f.imports.max(axis=1).argmax()), "largest import peak")
    few = fleet(SHOWN_SITES)
    assert choose(few, flows(few, busy(few)), np.zeros(SHOWN_SITES), None) == ([(i, "") for i in range(6)], False)


def test_flows_add_up(instance, result):
    f = flows(instance, result.schedule)
    sources = f.wind + f.sun + f.generators + f.discharge + f.imports
    np.testing.assert_allclose(sources - f.charge - f.exports, f.facility, atol=1e-9)
    np.testing.assert_allclose(f.jobs + f.inference + f.deferrable, account(instance, result.schedule).load_gpu)
    np.testing.assert_allclose(f.total().imports.sum(), f.imports.sum())


def test_price_of_inference_is_the_cheapest_site_or_the_loss(instance, result):
    price = stream_price(instance, result.dual)
    expected = np.minimum(result.dual.load_price.min(axis=0) + 0.1, 3.0)
    np.testing.assert_allclose(price, np.tile(expected, (2, 1)))
    work = replace(result.dual, form="work", stream_price=np.full((2, 24), 0.7), load_price=np.zeros((3, 24)))
    np.testing.assert_allclose(stream_price(instance, work), 2.7)
    assert stream_price(instance, None) is None


def test_packed_jobs_never_overlap():
    rng = np.random.default_rng(0)
    start = rng.integers(0, 40, 60)
    end, gpus = start + rng.integers(1, 15, 60), rng.uniform(1, 5, 60)
    low = pack(start, end, gpus)
    for j in range(60):
        for k in range(j):
            if start[j] < end[k] and start[k] < end[j]:
                assert low[j] >= low[k] + gpus[k] - 1e-6 or low[k] >= low[j] + gpus[j] - 1e-6
    assert np.array_equal(pack(np.array([0, 4]), np.array([4, 8]), np.array([2.0, 2.0])), [0, 0])


def test_numbers_for_the_eye():
    space = "\N{NARROW NO-BREAK SPACE}"
    assert amount(-1234567.8) == f"{MINUS}1{space}234{space}568"
    assert amount(-0.2) == "0" and amount(-0.04, 1) == "0.0"
    assert amount(np.inf) == "∞" and amount(np.nan) == "n/a"
    assert (
        usd(-876_212) == (f"{MINUS}876.2", "k USD")
        and usd(1_234_567) == ("1.235", "M USD")
        and usd(12) == ("12", "USD")
    )
    assert [gap_text(g) for g in (0.383, 0.012, 0.00123, np.inf)] == ["38.3 %", "1.20 %", "0.123 %", "none"]
    assert limits(np.array([5.0, 5.0])) == (4.5, 5.5) and limits(np.array([np.nan])) == (0.0, 1.0)


def test_page_is_written_whole_or_not_at_all(tmp_path, instance, result):
    target = tmp_path / "page.html"
    target.write_text("old")
    with pytest.raises(OSError, match="too large"), files_of_at_most(4096):
        write_report(target, instance, result)
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


@pytest.fixture
def stored(tmp_path, instance, result):
    write_instance(tmp_path / "fleet.h5", instance)
    write_result(tmp_path / "a.h5", result, instance)
    write_result(tmp_path / "b.h5", result_of(instance, provenance={}), instance)
    return tmp_path


def test_report_command_shows_the_certificate(stored, capsys):
    output = stored / "page.html"
    assert report.main([str(stored / "fleet.h5"), str(stored / "a.h5"), "-o", str(output), "--check"]) == 0
    assert str(output) in capsys.readouterr().out
    words = " ".join(inspect(output.read_text(encoding="utf-8")).words)
    assert "objects:" in words, "the made-up prices prove nothing"


def test_report_command_refuses_a_result_of_another_instance(stored):
    other = fleet(2)
    write_result(stored / "other.h5", result_of(other, busy(other)), other)
    with pytest.raises(InputError, match="other.h5: belongs to another instance"):
        report.main([str(stored / "fleet.h5"), str(stored / "other.h5"), "-o", str(stored / "page.html")])
    assert not (stored / "page.html").exists()


def test_compare_command(stored, instance, result, capsys):
    files = [str(stored / "a.h5"), str(stored / "b.h5")]
    assert compare.main(files) == 0
    head, rule, first, second = capsys.readouterr().out.splitlines()
    assert head.startswith("| file") and set(rule) <= set("|:- ")
    assert {line.count("|") for line in (head, rule, first, second)} == {12}
    cells = [cell.strip() for cell in first.split("|")[1:-1]]
    assert cells[:3] == ["a.h5", "lagrangian", "limit"] and cells[7:] == ["2", "75.0 %", "3/4", "1.0"]
    assert cells[3] == f"{result.bound:,.0f}" and cells[6] == "10.0"
    assert [cell.strip() for cell in second.split("|")[1:-1]][4:6] == ["", ""]
    compare.main([files[0], "--instance", str(stored / "fleet.h5")])
    emitted = account(instance, result.schedule).emissions_t.sum()
    assert f"{emitted:,.1f} |" in capsys.readouterr().out
    proved = stored / "proved.h5"
    write_result(proved, replace(result, bound=-150.0, incumbent=-100.0), instance)
    compare.main([str(proved), "--baseline", str(proved)])
    last = [cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].split("|")[-3:-1]]
    assert last == ["-50", "50"]


def test_every_table_of_the_instance_is_made_up(instance):
    assert all(len(getattr(getattr(instance, t), fields(c)[0].name)) for t, c in TABLES.items() if t not in OPTIONAL)


def test_numbers_written_in_a_picture_keep_their_digits() -> None:
    with style():
        drawn = figure(2.0, 1.0)
        drawn.subplots().text(0.5, 0.5, "0.1254")
        text = svg(drawn, "a number")
    assert ">0.1254<" in text and not re.search(r'="[^"]*\d\.\d{3,}', text)
