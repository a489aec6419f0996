#!/usr/bin/env bash
# The Python package as its user gets it: a wheel built offline, installed into a fresh environment, checked by
# mypy, and tested against the relay and the collector. Usage: python_test.sh SOURCE BUILD
set -euo pipefail
source_dir=$1 build_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$source_dir/bindings" "$source_dir/include" "$source_dir/CMakeLists.txt" "$work/"  # nothing is written there
cd "$work/bindings/python"
export HOLDFAST_BUILD=$build_dir PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
/usr/bin/python3 -m venv --system-site-packages "$work/venv"
"$work/venv/bin/pip" wheel --quiet --no-index --no-build-isolation --no-deps --wheel-dir "$work/wheels" .
"$work/venv/bin/pip" install --quiet --no-index "$work"/wheels/holdfast-*.whl
/usr/bin/mypy --cache-dir "$work/mypy"
"$work/venv/bin/python" -X dev -m pytest -q -p no:cacheprovider -W error::pytest.PytestUnraisableExceptionWarning tests
# What is under the same names everywhere.
for module in encrypted_storage conflict_resolution incremental_sync privacy_sync sync_state_manager; do
  "$work/venv/bin/python" -c "import holdfast.$module as m; assert m.__all__"
done
