"""Settings of the site, which tools/make_site.py builds."""

project = "Vision Transformer, equation by equation"
author = "The going-modular contributors"
copyright = "2026, the going-modular contributors; MIT licence"
language = "en"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx-mathjax-offline",
]
root_doc = "index"
nitpicky = False

# The notebooks are shown as they are stored: nothing runs. A widget is live in a
# notebook alone, and its picture or its text stands here.
nb_execution_mode = "off"
nb_mime_priority_overrides = [
    ("html", "application/vnd.jupyter.widget-view+json", None)
]
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 4

autodoc_default_options = {"members": True, "show-inheritance": False}
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
add_module_names = False
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_custom_sections = ["Source"]

html_theme = "sphinx_book_theme"
html_context = {"default_mode": "auto"}
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "home_page_in_toc": True,
    "navigation_with_keys": False,
    "pygments_dark_style": "a11y-high-contrast-dark",
    "pygments_light_style": "a11y-high-contrast-light",
    "show_toc_level": 2,
    "use_download_button": False,
}


def setup(app) -> None:
    """Equations as SVG: not every browser loads fonts from the disk."""
    app.config.mathjax_path = "mathjax/tex-svg.js"
