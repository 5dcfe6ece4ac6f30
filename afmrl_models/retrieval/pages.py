"""The look of the pages people read: one style sheet, and templates that escape."""

from importlib.resources import files

import jinja2

STYLE = files(__package__).joinpath("page.css").read_text(encoding="utf-8")


def templates(package: str) -> jinja2.Environment:
    """Templates of a package, and those of this one; everything put into them is escaped.

    `style` is the sheet, for pages that need no other file.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(
            [jinja2.PackageLoader(name, package_path="") for name in dict.fromkeys([package, __package__])]
        ),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.globals["style"] = STYLE
    return environment
