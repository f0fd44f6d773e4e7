#!/bin/sh
# Makes .venv-peers, the environment of the codes that benchmarks compare with and that the product
# must not depend on. ElMD 0.5 imports pkg_resources, which setuptools 81 dropped.
set -eu
cd "$(dirname "$0")/.."
python="${PYTHON:-python3.11}"
[ -x .venv-peers/bin/python ] || "$python" -m venv .venv-peers
.venv-peers/bin/python -m pip install --quiet "setuptools<81" "ElMD==0.5.15" "matminer==0.10.1"
.venv-peers/bin/python -c "from ElMD import elmd; print('ElMD ready:', elmd('NaCl', 'KCl'))"
