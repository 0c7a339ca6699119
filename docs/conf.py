"""Settings of the documentation site; ``make docs`` builds it. Nothing is fetched, neither at build nor at view time."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
# The sources beside this file, also if another checkout is installed; and the extensions in docs/_ext.
sys.path[:0] = [str(ROOT), str(ROOT / "docs" / "_ext")]
# The Django adapter can be imported only if there are settings.
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "django.conf.global_settings")

from dynamostore._version import __version__  # noqa: E402

project = "dynamostore"
author = "The dynamostore authors"
project_copyright = author
version = release = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_design",
    "public_names",
    "repository_links",
    "llms_txt",
]
exclude_patterns = ["_ext", "captures"]
nitpicky = True
nitpick_ignore_regex = [
    # Type variables, in signatures.
    (r"py:.*", r"(\w+\.)*[A-Z]{1,2}(_co|_contra)?"),
    # Other projects, whose own documentation is known by its name.
    (r"py:.*", r"(flask|django|hypothesis|werkzeug)\..*"),
    # The shapes of DynamoDB's requests and replies, which DynamoDB documents.
    (r"py:.*", r"dynamostore\.wire\.(types|_setup)\..*"),
    # The base of the errors that gives them help_url.
    (r"py:.*", r"dynamostore\.documented\..*"),
    # Of a rule in a state machine, and of a test kit: not for users.
    (r"py:.*", r"session\.web\.\w+\._\w+\.\w+|Rerun|Answer"),
]

# Markdown. Headings down to the fourth level have anchors, made as GitHub makes them.
myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
myst_links_external_new_tab = False
suppress_warnings = [
    # The records of the past begin at the level that suits them.
    "myst.header",
]

# The reference, from docstrings. `name` links to the entry of that name.
default_role = "py:obj"
# Quotes in docstrings are those of Python's strings.
smartquotes = False
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
# Aliases keep their names in signatures.
autodoc_type_aliases = {
    name: f"{module}.{name}"
    for module, names in {
        "dynamostore.admin": "Consistency Role",
        "dynamostore.batch": "Failure",
        "dynamostore.client": "AttributeValue Item Returned",
        "dynamostore.instants": "Clock",
        "dynamostore.testing": "Verb",
        "session": "JSONInput JSONValue Merge MergeFunction OnConflict OnCorrupt",
        "session.web.asgi": "ASGIApp Message Receive Scope Send",
    }.items()
    for name in names.split()
}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 76
toc_object_entries_show_parents = "hide"
add_module_names = False

# Where other projects document their names: tools/inventory.py made the list, so nothing is fetched.
intersphinx_mapping = {"python": ("https://docs.python.org/3", "inventories/python.inv")}
intersphinx_timeout = 0

html_theme = "furo"
html_title = f"dynamostore {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "light_logo": "logo-light.svg",
    "dark_logo": "logo-dark.svg",
    "light_css_variables": {
        "color-brand-primary": "#0f5f8c",
        "color-brand-content": "#0f5f8c",
        "color-brand-visited": "#5b4b9a",
    },
    "dark_css_variables": {
        "color-brand-primary": "#6cc4f5",
        "color-brand-content": "#6cc4f5",
        "color-brand-visited": "#b7a6f5",
    },
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
