# SPDX-License-Identifier: BSD-3-Clause
"""Sphinx configuration of the guides."""

project = 'mlx5_persist'
author = 'The mlx5_persist authors'
extensions = []
exclude_patterns = ['_build']
html_theme = 'alabaster'
html_static_path = []
highlight_language = 'none'
