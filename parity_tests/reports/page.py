"""Pages of reports: each is one self-contained HTML file, that opens from disk, needs no network and lets
nothing that is data become code.

Note [What is trusted]
    Names of subjects, arguments, reasons and scripts are data: the templates escape all of it, in HTML and in
    SVG, and data for a script goes into a JSON block in which no ``<`` is left as it is. The style and the
    script of a page are the project's own files. Should an escape be missing all the same, the page's
    Content-Security-Policy names the hash of its script, if it has one: no other runs, and no address is
    fetched.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache, partial
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

HERE = __package__
assert HERE is not None


def render(package: str, template: str, *, script: str = "", **shown: Any) -> str:
    """The page that a template makes of what is shown; it extends ``base.html.jinja``.

    Parameters
    ----------
    package : str
        Whose templates, style and script these are.
    template, script : str
        Files in the package's folder ``templates``; a page may do without a script.

    Raises
    ------
    ImportError
        If Jinja2 is not installed.
    """
    from markupsafe import Markup

    code = own(package, script) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    text = environment(package).get_template(template)
    return text.render(script=Markup(code), script_hash=digest, **shown)


@cache
def environment(package: str, *, autoescape: bool = True) -> jinja2.Environment:
    """Jinja2 with the templates of a package; ``own(name)`` gives them a file of the project as it is."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(partial(own, package)),
        autoescape=autoescape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":")}
    environment.globals["own"] = lambda name: Markup(own(package, name))
    return environment


@cache
def own(package: str, name: str) -> str:
    """The text of a file that a package has for its pages, or that all packages share."""
    for each in (package, HERE):
        file = resources.files(each) / "templates" / name
        if file.is_file():
            return file.read_text(encoding="utf-8")
    raise FileNotFoundError(f"there is no {name} in the templates of {package}, nor in those of {HERE}")
