# Sourced by tests that need to know a port before anything listens on it.
# free_ports COUNT: the first of so many next to each other, below those that the system gives to outgoing connections.
free_ports() {
  local first i
  while :; do
    first=$((20000 + RANDOM % 12000))
    for ((i = 0; i < $1; ++i)); do
      (: <"/dev/tcp/127.0.0.1/$((first + i))") 2>/dev/null && continue 2
    done
    echo "$first"
    return
  done
}
# until_says FILE TEXT PID: waits until the file has the text; fails where the process is gone without.
until_says() {
  until grep -qs -- "$2" "$1"; do
    kill -0 "$3" 2>/dev/null || { echo "it ended without saying '$2'" >&2; return 1; }
    sleep 0.05
  done
}
