# lib.sh - what quickstart, check and .ci/run share. Sourced by bash.
#
# The source tree is not touched: a copy of it is configured and built in a
# folder of its own.

ARGUS_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

BUILD_PACKAGES="gcc make autoconf automake libtool pkg-config libuv1-dev libssl-dev
  libsodium-dev libsqlite3-dev libxxhash-dev libjansson-dev uthash-dev libnanopb-dev nanopb
  protobuf-compiler collectd-core collectd-dev"
TEST_PACKAGES="libcunit1-dev faketime zsh python3 openssl iproute2 mount binutils rrdtool perl libperl5.36
  libpython3.11 liblua5.3-0 libmicrohttpd12 libprotobuf-c1 libyajl2"
# clang, what fuzzing needs, and what stock plugins load: the matrix tries all of them. (Those
# for dpdkevents, dpdkstat, intel_rdt, java and xencpu are left out; they are heavy.)
FULL_PACKAGES="clang llvm patch libpcap0.8 librabbitmq4 libqpid-proton11 libi2c0 libdbi1 libgps28
  libopenipmi0 libip4tc2 libip6tc2 libmemcached11 libmodbus5 libmosquitto1 libmariadb3
  libnotify4 libesmtp6 libupsclient6 liboping0 libhiredis0.14 libatasmart4 libsnmp40
  libvarnishapi3 libvirt0 librdkafka1 libmongoc-1.0-0 libbson-1.0-0 libriemann-client0
  libcurl3-gnutls libpq5 libldap-2.5-0 libsensors5 libudev1 libxml2 libmnl0 libjansson4
  libgrpc++1.51 libgcrypt20"

# What make bench compares argus with.
BENCH_PACKAGES="serf python3 iproute2"

say() { printf '%s\n' "$*"; }
step() { printf '\n== %s\n' "$*"; }
die() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}

# Packages of the arguments that are not installed.
missing_packages() {
    local package
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null |
            grep -qx installed || printf '%s ' "$package"
    done
}

# Install what is missing, without a question. Does nothing where all is there,
# so that it also works without apt and without a network.
need_packages() {
    local missing sudo=
    command -v dpkg-query >/dev/null ||
        { say "No dpkg here: make sure that these are installed: $*"; return 0; }
    missing=$(missing_packages "$@")
    [ -z "$missing" ] && return 0
    [ "$(id -u)" = 0 ] || sudo=sudo
    say "Installing: $missing"
    # shellcheck disable=SC2086 # words are wanted
    if ! { $sudo apt-get update -q &&
        $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
            --no-install-recommends $missing; } >"${LOGS:-/tmp}/apt.log" 2>&1; then
        tail -n 20 "${LOGS:-/tmp}/apt.log" >&2
        die "apt-get could not install: $missing"
    fi
}

# copy_source DIR: sources as they are, without what a build left in them.
copy_source() {
    mkdir -p "$1" &&
        tar -C "$ARGUS_TOP" --exclude=.git --exclude='./build*' --exclude=./fuzz \
            --exclude='*.o' --exclude='*.pb.c' --exclude='*.pb.h' \
            --exclude='*.lo' --exclude='*.la' --exclude=.libs --exclude=.deps \
            --exclude=./config.status --exclude=./Makefile \
            --exclude=./argus_config.h --exclude=./autom4te.cache \
            --exclude=__pycache__ -cf - . |
        tar -C "$1" -xf -
}

# quietly LOG COMMAND...: its output goes to LOG; the end of it is shown when it
# fails.
quietly() {
    local log=$1
    shift
    "$@" >"$log" 2>&1 && return 0
    tail -n 25 "$log" >&2
    return 1
}

prepare_source() { # SOURCE_COPY
    copy_source "$1" && (cd "$1" && autoreconf -i)
}

# configure looks for bash; with a small shell, it and libtool take half the time.
build_in() { # SOURCE_COPY BUILD_DIR CONFIGURE_OPTIONS...
    local source=$1 build=$2
    shift 2
    mkdir -p "$build" && cd "$build" && CONFIG_SHELL=/bin/sh "$source/configure" "$@" &&
        make -j"$(nproc)"
}

# ---- counting: every test program ends with "N passed, N failed"
PASSED=0
FAILED=0
BROKEN= # what failed, a line each: told once more at the end

# broke WHAT [LOG]: remember it, with the lines of the log that say it.
broke() {
    BROKEN+="$1"$'\n'
    [ -z "${2:-}" ] ||
        BROKEN+=$(grep -E '^not ok|FAILED$' "$2" | head -n 20 | sed 's/^ */    /')$'\n'
}

# tally LOG WHAT: add the counts of the last such line; none is a failure.
tally() {
    local line
    line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$1" | tail -n 1)
    if [ -z "$line" ]; then
        say "$2 ended without a result:"
        tail -n 25 "$1"
        FAILED=$((FAILED + 1))
        broke "$2: no result"
        return 1
    fi
    PASSED=$((PASSED + ${line%% *}))
    line=${line#* passed, }
    FAILED=$((FAILED + ${line% failed}))
    [ "$line" = "0 failed" ] || { broke "$2" "$1"; return 1; }
}

tally_one() { # OK? (0 or 1 as an exit code) WHAT
    if [ "$1" = 0 ]; then
        PASSED=$((PASSED + 1))
        say "ok $2"
    else
        FAILED=$((FAILED + 1))
        broke "$2"
        say "not ok $2"
    fi
}

# unit_tests BUILD: make check there, and the counts of all its programs.
unit_tests() {
    local build=$1 log found=0
    (cd "$build" && rm -f tests/*.log && make -j"$(nproc)" -k check) >"$build/check.log" 2>&1
    for log in "$build"/tests/check_*.log; do
        [ -e "$log" ] || continue
        found=1
        say "$(basename "$log" .log): $(grep -E '^[0-9]+ passed' "$log" | tail -n 1)"
        # what failed, below the seed that replays it
        awk '/replay:/ { seed = $0 }
            /FAILED$|^ +[0-9]+\. |ERROR: |runtime error/ {
                if (seed != "") print seed
                seed = ""
                print
            }
            /passed$/ { seed = "" }' "$log"
        tally "$log" "$(basename "$log" .log)"
    done
    if [ $found = 0 ]; then
        tail -n 25 "$build/check.log"
        tally_one 1 "make check built no tests"
    fi
}

# scenarios BUILD OPTION... FILE...: scenarios of the simulator; each is a test.
scenarios() {
    local build=$1 log
    shift
    log=$build/scenarios.log
    "$build/tests/argus-sim" --quiet "$@" 2>&1 | tee "$log" | grep -vE '^[0-9]+ passed'
    tally "$log" "$*"
}

# simulate BUILD SOURCE SEEDS: faults at random from so many seeds (the last ones are of
# today); with 50 or more the other scenarios too, and one point at ten thousand nodes.
simulate() {
    local build=$1 folder=$2/tests/sim seeds=$3 today=$((RANDOM * 32768 + RANDOM))
    if ! make -C "$build" --no-print-directory tests/argus-sim >"$build/sim.log" 2>&1; then
        tail -n 25 "$build/sim.log"
        tally_one 1 "build of the simulator"
        return
    fi
    scenarios "$build" --seed 1 --seeds "$((seeds - 3))" --set MINUTES=3 "$folder/scenarios/swarm.sim"
    scenarios "$build" --seed "$today" --seeds 3 --set MINUTES=3 "$folder/scenarios/swarm.sim" \
        "$folder/scenarios/overlay-swarm.sim"
    scenarios "$build" --seed "$today" "$folder/scenarios/timeline.sim"
    [ "$seeds" -ge 50 ] || return
    scenarios "$build" --seed 1 "$folder"/scenarios/{churn,clocks,clones,losses,one-sided,partition,rest,slow}.sim
    scenarios "$build" --seed 1 --set DISKS=off "$folder/scenarios/timeline.sim"
    scenarios "$build" --seed 1 --set NODES=200 "$folder/scenarios/survivors.sim"
    scenarios "$build" --seed 1 --set NODES=1000 "$folder"/scenarios/{losses,storm}.sim
    scenarios "$build" --seed 1 --set CYCLES=2 --set MESSAGES=20 "$folder/scenarios/thousands.sim"
}

print_total() {
    [ -z "$BROKEN" ] || printf 'What failed:\n%s' "$BROKEN"
    printf '%d passed, %d failed\n' "$PASSED" "$FAILED"
    [ "$FAILED" = 0 ]
}
