from __future__ import annotations

from proxy.commands.usage import table
from proxy.core import ledger
from proxy.core.ledger import Purpose, Saving
from proxy.core.prices import Cost
from proxy.core.usage import Usage

USD = 10**12


def told(*groups: tuple[dict[str, str], dict[str, int]], by: list[str]) -> dict[str, object]:
    total: dict[str, int] = {}
    for _, counts in groups:
        for line, count in counts.items():
            total[line] = total.get(line, 0) + count
    rows = [{**group, **ledger.as_json(counts)} for group, counts in groups]
    return {"from": "2026-11-01", "to": "2026-11-23", "group_by": by, "data": rows, "total": ledger.as_json(total)}


def test_a_line_for_each_group_and_one_for_all() -> None:
    usage = Usage(1000, 200)
    cheap = ledger.call_counts(usage, Cost(USD // 4, 0)) | ledger.saving_counts(Saving.EXACT, usage, Cost(USD // 2, 0))
    dear = ledger.call_counts(usage, Cost(3 * USD, 0)) | ledger.own_counts(Purpose.AUDIT, usage, Cost(USD // 8, 0))
    shown = table(told(({"model": "gpt-4o-mini"}, cheap), ({"model": "gpt-4o"}, dear), by=["model"]))
    assert shown.splitlines() == [
        "2026-11-01 to 2026-11-23, at list prices",
        "",
        "model        calls  hits  shared  tokens   spent $   saved $     own $  net saved $",
        "gpt-4o-mini      1     1       0    1200  0.250000  0.500000  0.000000     0.500000",
        "gpt-4o           1     0       0    1200  3.000000  0.000000  0.125000    -0.125000",
        "all              2     1       0    2400  3.250000  0.500000  0.125000     0.375000",
    ]


def test_what_the_sums_leave_out_is_said_below_them() -> None:
    unknown = ledger.call_counts(Usage(5, 5), None) | {"calls_estimated": 2}
    shown = table(told(({}, unknown), by=[]))
    assert "1 calls have no known cost: give their models prices in deja.yaml (prices)." in shown
    assert "2 answers came without usage: their tokens are an estimate." in shown
    assert "known" not in table(told(by=["day"]))
