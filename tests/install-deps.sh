#!/usr/bin/env bash
# Checks that the programs that the tests need are installed. If some are missing, the script installs
# them with apt-get. If it may not do that, it names them and ends with exit code 1. It does not let
# the packages start their servers: the tests run private ones. (tests/schemathesis/run.sh,
# tests/redbot/run.sh and web/test.sh install their own tools.)
set -euo pipefail

fail() {
    echo "tests/install-deps.sh: $*" >&2
    exit 1
}

has_postgres() {
    local server
    for server in "$(command -v postgres || true)" /usr/lib/postgresql/*/bin/postgres /usr/pgsql-*/bin/postgres; do
        [ -x "$server" ] || continue
        local version
        version=$("$server" --version | grep -oE '[0-9]+' | head -1)
        if [ "$version" -ge 15 ]; then return 0; fi
    done
    return 1
}

has_libfaketime() { compgen -G '/usr/lib/*/faketime/libfaketime.so.1' >/dev/null || compgen -G '/usr/lib*/faketime/libfaketime.so.1' >/dev/null; }

# tomllib needs Python 3.11, which Debian 12 has.
has_python() { python3 -c 'import ensurepip, tomllib, venv' 2>/dev/null; }

# web/ needs it; Debian 12 has 18.
has_node() { node -e 'process.exit(Number(process.versions.node.split(".")[0]) < 18 ? 1 : 0)' 2>/dev/null; }

missing_packages() {
    command -v cc >/dev/null || echo build-essential # some crates compile C
    has_postgres || echo postgresql
    command -v redis-server >/dev/null || echo redis-server
    command -v redis-cli >/dev/null || echo redis-tools
    has_libfaketime || echo libfaketime
    command -v sqlite3 >/dev/null || echo sqlite3
    has_python || echo python3-venv
    command -v setpriv >/dev/null || echo util-linux
    command -v ps >/dev/null || echo procps
    command -v curl >/dev/null || echo curl
    PATH=$PATH:/usr/sbin command -v ip >/dev/null || echo iproute2
    command -v script >/dev/null || echo bsdutils
    has_node || echo nodejs
    command -v npm >/dev/null || echo npm
    PATH=$PATH:/usr/sbin command -v nginx >/dev/null || echo nginx
    command -v "${CHROMIUM:-chromium}" >/dev/null || echo chromium
}

as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi

may_install() {
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" = 0 ]; then return 0; fi
    command -v sudo >/dev/null || return 1
    [ -t 0 ] || sudo -n true 2>/dev/null # without a terminal no password can be typed
}

# Debian runs this file to learn whether a package may start its server. Exit code 101 means no.
policy=/usr/sbin/policy-rc.d
forbid_servers() {
    if [ -e "$policy" ]; then return; fi
    trap '"${as_root[@]}" rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod +x "$policy"
}

command -v cargo >/dev/null || fail "cargo is missing: install Rust 1.94 or newer, see https://rustup.rs"
mapfile -t packages < <(missing_packages)
if [ "${#packages[@]}" = 0 ]; then exit 0; fi
may_install || fail "the tests need these Debian packages (or their like elsewhere): ${packages[*]}"
echo "installing ${packages[*]}" >&2
forbid_servers
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "${packages[@]}" >/dev/null
mapfile -t packages < <(missing_packages)
if [ "${#packages[@]}" != 0 ]; then fail "still missing or too old after installation (Postgres 15, Python 3.11 and Node 18 at least): ${packages[*]}"; fi
