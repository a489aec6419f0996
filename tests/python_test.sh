#!/usr/bin/env bash
# The Python package as its user gets it: a wheel built offline, installed into a fresh environment, checked by
# mypy, and tested against the relay and the collector. Usage: python_test.sh SOURCE BUILD
set -euo pipefail
source "$(dirname "$0")/python_env.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
make_python_env "$1" "$2" "$work"
cd "$work/package/bindings/python"
/usr/bin/mypy --cache-dir "$work/mypy"
"$work/venv/bin/python" -X dev -m pytest -q -p no:cacheprovider -W error::pytest.PytestUnraisableExceptionWarning ${TESTS:-tests}
# What is under the same names everywhere.
for module in encrypted_storage conflict_resolution incremental_sync privacy_sync sync_state_manager; do
  "$work/venv/bin/python" -c "import holdfast.$module as m; assert m.__all__"
done
