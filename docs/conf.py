"""The site: `make docs` builds it, offline, with warnings as errors."""

import sklearn_slam

project = "sklearn-slam"
author = "The sklearn-slam developers"
project_copyright = f"2026, {author}"
version = release = sklearn_slam.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_templates", "auto_examples/**.ipynb"]
templates_path = ["_templates"]
default_role = "literal"

myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3

# Types are in the docstrings, in words; annotations such as ArrayLike fill ten lines.
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"

# Members are listed by the templates; numpydoc lays out what docstrings say.
numpydoc_show_class_members = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "/plot_",
    "ignore_pattern": r"__init__|demo",
    "within_subsection_order": "ExampleTitleSortKey",
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("sklearn_slam",),
    "reference_url": {"sklearn_slam": None},
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_signature": False,
    "capture_repr": ("_repr_html_",),
    "parallel": 2,
    "write_computation_times": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "sklearn-slam: student-label mixing"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
# The left column lists the pages of a section. Those at the top are in none, and
# examples need its width for their code.
html_sidebars = {"*": [], "auto_examples/*": []}
html_theme_options = {
    "logo": {"text": "sklearn-slam"},  # the whole title is wider than a phone
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_align": "left",
    "header_links_before_dropdown": 4,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
}
