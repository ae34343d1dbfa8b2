#!/bin/bash
# SPDX-License-Identifier: BSD-3-Clause
# Print a script's name and the project's version, as its build file has it.
sed -n "s/.*version: '\([0-9][0-9.]*\)'.*/${1-mlx5_persist} \1/p;T;q" "$(dirname "$0")/../meson.build"
