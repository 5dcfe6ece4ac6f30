"""Fourteen nights of a shop on the embedded default, with all that can go wrong in them.

    python -m benchmarks.fortnight [--nights 1,3,6] [--work DIR] [--port 8160]

A rendered catalog changes every day; every night Dagster, served by `afmrl ui`, runs the whole chain as the
schedule would, with real models that are really trained, against an MLflow server. In some nights something
breaks. Each morning is looked at from outside the pipeline: which version MLflow calls champion and whether
its vectors are those of its training, whose vectors the index holds, which tables are in force, whether all
rows are accounted for, and what alerts.log says. A wrong morning is printed, and ends the script with 1.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fortnight.house import House, HouseError
from benchmarks.fortnight.morning import Book, WrongMorning
from benchmarks.fortnight.nights import NIGHTS, Night

_HEAD = f"{'night':>5}  {'what happened':68} {'run':9} {'decision':9} {'champion':>8} {'minutes':>7}"


def play(house: House, book: Book, night: Night) -> None:
    """One night and its morning, told as a line of the table and what alerts.log says."""
    started = time.monotonic()
    if night.trades:
        house.shop.trade(night.number)
    house.configure(night.settings)
    night.export(house.shop)
    evening = book.evening()
    run_id = house.launch()
    if night.meanwhile is not None:
        night.meanwhile(house, run_id)
    status = house.wait_for_end(run_id).value
    if status != night.status:
        told = house.told(run_id)
        raise WrongMorning(f"the run ended with {status}, should be {night.status}: {told}")
    last = run_id
    if not house.mlflow_is_up():
        house.start_mlflow()
    if night.mended is not None:
        last = night.mended(house)
    decision = book.judge(night, last, evening)
    lines = book.read_alerts(night, run_id, last, decision)
    minutes = (time.monotonic() - started) / 60
    shown = status.lower() + (" ↻" if night.mended else "")
    print(
        f"{night.number:>5}  {night.happens:68} {shown:9} {decision.get('outcome', '–'):9} "
        f"{book.champion:>8} {minutes:7.1f}"
    )
    if decision.get("outcome") == "promoted":
        print(f"{'':>7}{decision['reason']}")
    for line in lines:
        print(f"{'':>7}alerts.log: {line.replace(str(house.work), 'WORK')}")
    sys.stdout.flush()


def main() -> None:
    """Prints each night; ends with 1 where a morning was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nights", help="numbers of the nights to play, in their order; default: all")
    parser.add_argument("--work", type=Path, help="an empty folder that keeps everything")
    parser.add_argument("--port", type=int, default=8160, help="of Dagster; the next three are used, too")
    given = parser.parse_args()
    numbers = [int(n) for n in given.nights.split(",")] if given.nights else [n.number for n in NIGHTS]
    chosen, wrong = [night for night in NIGHTS if night.number in numbers], list[int]()
    with tempfile.TemporaryDirectory() as scratch:
        house = House((given.work or Path(scratch)).absolute(), given.port)
        book, started = Book(house), time.monotonic()
        house.configure({})
        house.shop.export()
        try:
            house.start_mlflow()
            house.start_ui()
            print(_HEAD, flush=True)
            for night in chosen:
                try:
                    play(house, book, night)
                except (WrongMorning, HouseError) as error:
                    print(f"{night.number:>5}  WRONG: {night.happens}: {error}", flush=True)
                    wrong.append(night.number)
        finally:
            house.stop()
        minutes = (time.monotonic() - started) / 60
        right = len(chosen) - len(wrong)
        print(f"\n{right} of {len(chosen)} mornings as they should be, in {minutes:.0f} minutes")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
