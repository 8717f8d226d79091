"""How Sphinx builds the site: `make docs`."""

import ast
import inspect
import os
from pathlib import Path
from typing import Any

from sphinx.pycode import ModuleAnalyzer

from keras_cacnet.version import __version__

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

project = "keras_cacnet"
author = "the authors of keras_cacnet"
release = version = __version__
extensions = [
    "matplotlib.sphinxext.mathmpl",  # equations as pictures: nothing is fetched by the reader
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
]
nb_execution_mode = "off"  # tests execute the notebook
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]

# Single backticks in docstrings link where they name something of the package, and are code elsewhere.
default_role = "py:obj"
autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
add_module_names = False
python_maximum_signature_line_length = 90
mathmpl_srcset = ["2x"]
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Shapes", "params_style"), "Reference"]
napoleon_use_rtype = False
napoleon_preprocess_types = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = f"keras_cacnet {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_theme_options = {"navigation_with_keys": True}
linkcheck_anchors = False


def signature_of_init(app: Any, kind: str, name: str, thing: Any, options: Any, signature: str, returned: str) -> Any:
    """Show what a class of Keras takes, whose `__new__` takes anything."""
    if kind == "class" and signature == "(*args, **kwargs)" and "__init__" in vars(thing):
        own = inspect.signature(thing.__init__)
        shown = str(own.replace(parameters=list(own.parameters.values())[1:], return_annotation=own.empty))
        return shown.replace("keras.src.models.model.", "keras.").replace("collections.abc.", ""), returned
    return None


def find_constants(app: Any) -> None:
    """Have autodoc find the constants of packages, which it knows only by the text under them in the same file."""
    root = Path(__file__).resolve().parents[1]
    for file in sorted((root / "keras_cacnet").rglob("__init__.py*")):
        package = ".".join(file.parent.relative_to(root).parts)
        found = ModuleAnalyzer.for_module(package)
        found.analyze()
        for node in ast.walk(ast.parse(file.read_text())):
            module = (f"{package}." if getattr(node, "level", 0) else "") + (getattr(node, "module", None) or "")
            if isinstance(node, ast.ImportFrom) and module.startswith("keras_cacnet."):
                texts = ModuleAnalyzer.for_module(module.rstrip(".")).find_attr_docs()
                names = {alias.asname or alias.name: texts.get(("", alias.name)) for alias in node.names}
                found.attr_docs |= {("", name): text for name, text in names.items() if text is not None}


def setup(app: Any) -> None:
    app.connect("autodoc-process-signature", signature_of_init)
    app.connect("builder-inited", find_constants)
