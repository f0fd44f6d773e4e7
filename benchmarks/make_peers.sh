#!/bin/sh
# Makes .venv-peers, the environment of the codes that benchmarks compare with and that the product
# must not depend on. ElMD 0.5 imports pkg_resources, which setuptools 81 dropped.
set -eu
cd "$(dirname "$0")/.."
python="${PYTHON:-python3.11}"
[ -x .venv-peers/bin/python ] || "$python" -m venv .venv-peers
.venv-peers/bin/python -m pip install --quiet "setuptools<81" "ElMD==0.5.15" "matminer==0.10.1" \
    "jobflow==0.4.0" "maggma==0.77.1" "montydb==2.5.6" "custodian==2026.10.21" \
    "pymatgen==2026.10.24" "pymatgen-core==2026.10.16"
.venv-peers/bin/python -c "from ElMD import elmd; print('ElMD ready:', elmd('NaCl', 'KCl'))"
.venv-peers/bin/python -c "import jobflow; print('jobflow ready:', jobflow.__version__)"
