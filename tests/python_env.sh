# Builds the wheel of SOURCE offline, with the library of BUILD, and installs it into a new environment.
# make_python_env SOURCE BUILD FOLDER; then FOLDER/venv/bin/python has the package.
make_python_env() {
  mkdir -p "$3/package"
  cp -r "$1/bindings" "$1/include" "$1/CMakeLists.txt" "$3/package/"  # nothing is written in the sources
  rm -rf "$3"/package/bindings/python/{build,src/*.egg-info}
  export HOLDFAST_BUILD=$2 PYTHONDONTWRITEBYTECODE=1 PIP_DISABLE_PIP_VERSION_CHECK=1
  /usr/bin/python3 -m venv --system-site-packages "$3/venv"
  "$3/venv/bin/pip" wheel --quiet --no-index --no-build-isolation --no-deps --wheel-dir "$3/wheels" \
    "$3/package/bindings/python"
  "$3/venv/bin/pip" install --quiet --no-index "$3"/wheels/holdfast-*.whl
}
