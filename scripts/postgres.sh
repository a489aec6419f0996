# Sourced by what starts a PostgreSQL of its own: which never runs as root.
pg_bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)

# Becomes the command, as postgres where this is root.
if ((EUID == 0)); then
  as_postgres() { setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"; }
  give_postgres() { chown postgres: "$@"; }
else
  as_postgres() { "$@"; }
  give_postgres() { :; }
fi

need_postgres() {
  [[ -n $pg_bin ]] && return
  echo "PostgreSQL is not installed: scripts/install-deps postgres" >&2
  exit 1
}

# A database cluster in FOLDER/data, reached through FOLDER alone: by its socket, by who may enter the folder.
make_postgres() {  # FOLDER
  rm -rf "$1/data.new"
  as_postgres "$pg_bin/initdb" -D "$1/data.new" -U postgres -A trust -E UTF8 --locale=C --data-checksums >/dev/null
  as_postgres tee -a "$1/data.new/postgresql.conf" >/dev/null <<CONF
listen_addresses = ''
unix_socket_directories = '$1'
max_connections = 60
shared_buffers = 128MB
logging_collector = off
CONF
  mv "$1/data.new" "$1/data"  # whole, or not there
}
start_postgres() { (cd / && as_postgres "$pg_bin/pg_ctl" -D "$1/data" -l "$1/log" -w start >/dev/null); }  # FOLDER
stop_postgres() { (cd / && as_postgres "$pg_bin/pg_ctl" -D "$1/data" -m "${2:-fast}" -w stop >/dev/null); }  # FOLDER [HOW]
