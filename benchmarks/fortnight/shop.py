"""A shop that exports its catalog every night: some listings added, some changed, some gone."""

import csv
import random
from pathlib import Path

from afmrl_models.catalog.generated import generate_catalog

PRODUCTS, FIRST = 260, 200  # rendered in all; on sale in the first night
_NEW_PRODUCTS, _CHANGED, _GONE = 4, 6, 5
Row = dict[str, str]


class Shop:
    """The export is `folder`/listings.csv and the photos beside it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.table = folder, folder / "listings.csv"
        self._everything = folder / "all.csv"
        if not self._everything.exists():
            generate_catalog(PRODUCTS, 0, folder)
            self.table.rename(self._everything)
        with self._everything.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        self._coming: dict[str, list[Row]] = {}
        for row in rows:
            self._coming.setdefault(row["product_id"], []).append(row)
        self.rows: list[Row] = []
        self._bring(FIRST)

    def trade(self, night: int) -> str:
        """A day's business: what has changed, in words. One row of each export names no photo."""
        chance = random.Random(night)
        before = len(self.rows)
        for row in chance.sample(self.rows, _CHANGED):
            row["title"] = " ".join(chance.sample(words := row["title"].split(), len(words)))
        for row in chance.sample(self.rows, _GONE):
            self.rows.remove(row)
        self._bring(_NEW_PRODUCTS)
        added = len(self.rows) - before + _GONE
        return f"{added} listings added, {_CHANGED} changed, {_GONE} deleted"

    def export(self, rows: list[Row] | None = None) -> None:
        """Write the table anew, whole or not at all."""
        partial = self.table.with_suffix(".partial")
        blank = {**self.rows[0], "listing_id": "without-photo", "image": "images/none.jpg"}
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(self.rows[0]))
            writer.writeheader()
            writer.writerows([*(rows or self.rows), blank])
        partial.replace(self.table)

    def count_rows(self) -> int:
        """Rows of the table as it is exported now."""
        with self.table.open(newline="", encoding="utf-8") as file:
            return sum(1 for _ in csv.DictReader(file))

    def cut_off(self) -> None:
        """The export stops in the middle of the file."""
        self.export()
        whole = self.table.read_bytes()
        self.table.write_bytes(whole[: len(whole) // 2])

    def without_photos(self) -> None:
        """Half of the photos are not copied yet: the rows name photos that are not there."""
        rows = [{**row, "image": f"images/late-{row['listing_id']}.jpg"} if number % 2 else row
                for number, row in enumerate(self.rows)]  # fmt: skip
        self.export(rows)

    def shifted_attributes(self) -> None:
        """Two columns hold what belongs to others: brands for types, article numbers for colours."""
        numbers = random.Random(0)
        self.export(
            [
                {**row, "type": row["brand"], "colour": f"A{numbers.randrange(10_000, 99_999)}"}
                for row in self.rows
            ]
        )

    def _bring(self, products: int) -> None:
        for product in list(self._coming)[:products]:
            self.rows += self._coming.pop(product)
