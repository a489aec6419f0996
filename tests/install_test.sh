#!/usr/bin/env bash
# What is installed, as its users meet it: a project in C and one in C++ build against it, by CMake and by pkg-config;
# every example runs, in C++ and in Python, and says the same; the packages hold what they should.
# Usage: install_test.sh SOURCE BUILD
tests=$(realpath "$(dirname "$0")")
source "$tests/lib.sh"
source "$tests/python_env.sh"
set -e
source_dir=$1 build_dir=$2
prefix=$work/prefix
cmake --install "$build_dir" --prefix "$prefix" --strip >install.out
build() { cmake -S "$source_dir/examples/$1" -B "$1" -G Ninja -DCMAKE_PREFIX_PATH="$prefix" >cmake.out && cmake --build "$1" >cmake.out || { cat cmake.out; fail "examples/$1 does not build"; }; }
build c
build cpp
lib=$(dirname "$(find "$prefix" -name libholdfast.a)")
export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib
cc "$source_dir/examples/c/hello.c" $(pkg-config --cflags --libs holdfast) -o hello
c++ "$source_dir/examples/cpp/preferences.cc" $(pkg-config --cflags --libs holdfast-cpp) -o preferences
cc "$source_dir/examples/c/hello.c" $(pkg-config --cflags holdfast) "$lib/libholdfast.a" \
  $(pkg-config --static --libs holdfast | sed 's/-lholdfast//') -o hello-static
set +e
export HOLDFAST_PASSPHRASE=test
for hello in ./c/hello ./hello ./hello-static; do
  [[ $("$hello" "hello-$RANDOM$RANDOM.hf") == $'{"milk":2}\n{"id":"shopping"}' ]] || fail "$hello"
done
expect 1 env HOLDFAST_PASSPHRASE=other ./hello /dev/null/x.hf

make_python_env "$source_dir" "$build_dir" "$work/py"
start_relay
start_collector
jq --arg url "http://127.0.0.1:$collector_port/v1" --arg key "$collector_key" \
  '.destinations[0] |= (.url = $url | .keys[0].public_key = $key)' "$source_dir/examples/feedback-policy.json" >policy.json
# run NAME ARG…: the example in both languages, each in a folder of its own, with ./input; their output in NAME.cpp
# and NAME.python.
run() {
  local name=$1
  shift
  mkdir -p cpp-stores python-stores
  (cd cpp-stores && "../cpp/$name" "$@" <"$work/input") >"$name.cpp" || fail "$name in C++"
  (cd python-stores && "$work/py/venv/bin/python" -X dev "$source_dir/examples/python/$name.py" "$@" <"$work/input") >"$name.python" || fail "$name in Python"
  diff "$name.cpp" "$name.python" || fail "$name says something else in Python"
}
/usr/bin/mypy --strict --cache-dir "$work/mypy" --python-executable "$work/py/venv/bin/python" "$source_dir"/examples/python/*.py

printf 'buy milk\ncall Ada\n' >input
run notes notes.hf http://127.0.0.1:1
expect_file() { [[ $(cat "$1") == "$2" ]] || fail "$1 says: $(cat "$1")"; }
expect_file notes.cpp $'[offline]\nnote-1: buy milk\nnote-2: call Ada'
echo "water the plants" >input
run notes notes.hf "$relay_url"
expect_file notes.cpp $'note-1: buy milk\nnote-2: call Ada\nnote-3: water the plants\n[up_to_date]\n0 changes wait'
run field_collection . "$relay_url"
expect_file field_collection.cpp $'counted 9\nplot-7 $.ph: 5.1 6.4\nboth say {"count":9,"ph":6.4,"species":"Carex nigra"}\nequal, 0 conflicts wait'
run preferences . "$relay_url"
grep -q '^phone: {"avoid":\["jargon","emoji","puns"\],"language":"en","tone":"warm"}$' preferences.cpp || fail "preferences: $(cat preferences.cpp)"
run feedback feedback.hf "$work/policy.json"
grep -q '^May Example Models GmbH get this? Make suggestions better: "small-2", 100 ms, "Wrong. Ask me: \[email\]"$' feedback.cpp || fail "feedback: $(cat feedback.cpp)"
[[ $(wc -l <received.ndjson) == 2 ]] || fail "the collector received $(wc -l <received.ndjson)"
! grep -aq "ada@example" received.ndjson || fail "an address arrived"

# The pages and completions that were made from --help.
gzip -dc "$prefix/share/man/man1/holdfast.1.gz" | grep -q "^.SS holdfast vault recover" || fail "the man page lacks a command"
completed() {  # WORD…: what bash offers for the last one
  bash -c 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '"_${1//-/_}"'; echo "${COMPREPLY[*]}"' \
    "$prefix/share/bash-completion/completions/$1" "$@"
}
[[ $(completed holdfast conf) == conflicts ]] || fail "bash completes conf to $(completed holdfast conf)"
[[ $(completed holdfast --db x.hf key add-r) == add-recovery ]] || fail "bash completes key add-r to $(completed holdfast --db x.hf key add-r)"
[[ $(completed holdfast-relay collect --new) == --new-key ]] || fail "bash completes collect --new"

cpack --config "$build_dir/CPackConfig.cmake" -B "$work/packages" >cpack.out || { cat cpack.out; fail "cpack"; }
for package in libholdfast0 libholdfast-dev holdfast holdfast-relay; do
  file=$(echo packages/"${package}"_*.deb)
  [[ -e $file ]] || { fail "there is no package $package"; continue; }
  dpkg-deb -x "$file" root
  dpkg-deb -I "$file" | grep -E '^ (Package|Depends)' >>control
done
[[ $(root/usr/bin/holdfast --version) == "holdfast "* ]] || fail "the packaged command does not run"
grep -q 'Package: libholdfast0' control && grep -q 'libsqlite3-0' control || fail "control: $(cat control)"
[[ -e root/lib/systemd/system/holdfast-relay.service || -e root/usr/lib/systemd/system/holdfast-relay.service ]] || fail "the relay's unit is missing"
finish
