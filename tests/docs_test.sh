#!/usr/bin/env bash
# The documentation builds as pages, offline, and loads nothing from elsewhere; what the README and docs/python.md
# show of Python runs.
# Usage: docs_test.sh SOURCE BUILD
set -euo pipefail
source "$(dirname "$0")/python_env.sh"
source_dir=$1 build_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$source_dir"
mkdocs build --quiet --strict --site-dir "$work/site"
if grep -rnE '<(script|link|img|iframe)[^>]*(src|href)="(https?:)?//' "$work/site" --include='*.html'; then
  echo "a page loads something from elsewhere" >&2
  exit 1
fi
for guide in notes field-collection preferences feedback; do
  [[ $(grep -c EncryptedLocalStore "$work/site/guides/$guide.html") -ge 2 ]] || { echo "$guide lacks its programs" >&2; exit 1; }
done
make_python_env "$source_dir" "$build_dir" "$work"
awk '/^```python$/ {inside = 1; next} /^```$/ {inside = 0} inside' docs/python.md >"$work/shown.py"
[[ $(wc -l <"$work/shown.py") -gt 50 ]] || { echo "docs/python.md shows too little" >&2; exit 1; }
awk '/^```python$/ {inside = 1; next} /^```$/ {inside = 0} inside' README.md >"$work/readme.py"
[[ $(wc -l <"$work/readme.py") -gt 4 ]] || { echo "the README shows no Python" >&2; exit 1; }
cd "$work"
[[ $("$work/venv/bin/python" -X dev readme.py) == "{'milk': 2}" ]] || { echo "the README's Python fails" >&2; exit 1; }
"$work/venv/bin/python" -X dev shown.py
