#!/bin/bash
# check_layers.sh [BUILD] - the arrows between layers hold: who includes what,
# and what the core links. Ends with "N passed, N failed".
#
# The core is a calculation: no clock, no socket, no file, no thread, no rand.
# BUILD (default: here) holds libcore.la; a sanitized build links its own
# helpers and is not asked.

top=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-.}
passed=0
failed=0

result() { # NAME PROBLEMS
    if [ -z "$2" ]; then
        passed=$((passed + 1))
        echo "ok $1"
    else
        failed=$((failed + 1))
        printf 'not ok %s:\n%s\n' "$1" "$2"
    fi
}

# own_includes DIR ALLOWED_REGEX: quoted includes that are not allowed.
own_includes() {
    grep -rHoE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"[^"]*"' \
        --include='*.[ch]' "$top/$1" 2>/dev/null |
        sed "s#^$top/##" | grep -vE "\"($2)\"" | sed 's/^/    /'
}

# system_includes DIR FORBIDDEN_REGEX: bracketed includes that are forbidden.
system_includes() {
    grep -rHoE '^[[:space:]]*#[[:space:]]*include[[:space:]]*<[^>]*>' \
        --include='*.[ch]' "$top/$1" 2>/dev/null |
        sed "s#^$top/##" | grep -E "<($2)>" | sed 's/^/    /'
}

pb='argus\.pb\.h'
config='argus_config\.h'
result "base includes base" "$(own_includes src/base 'base/[^"]*')"
result "core includes core and base" \
    "$(own_includes src/core "(core|base)/[^\"]*|$pb")"
result "wire includes wire and base" \
    "$(own_includes src/wire "(wire|base)/[^\"]*|$pb")"
result "runtime includes what is below it" \
    "$(own_includes src/runtime "(runtime|core|wire|base)/[^\"]*|$pb|$config")"
# What a target, a name, a manifest, an order and a digest of publishers may be
# is calculated in one place.
result "cli includes wire and base, and what bundles and orders are" \
    "$(own_includes src/cli "(cli|wire|base)/[^\"]*|core/(content|digest|manifest|orders|target)\.h|$pb|$config")"
result "the simulator includes core, wire and base" \
    "$(own_includes tests/sim "(core|wire|base|sim)/[^\"]*|sim[^/\"]*|test\.h|$pb|$config")"

world='uv\.h|sys/(socket|stat|time|un|epoll|file|mman)\.h|netinet/.*|arpa/.*|unistd\.h|fcntl\.h|pthread\.h|time\.h|signal\.h|sqlite3\.h|openssl/.*|jansson\.h|poll\.h'
result "core sees nothing of the world" "$(system_includes src/core "$world")"
result "wire sees nothing of the world" "$(system_includes src/wire "$world")"
result "base sees no loop, socket or disk" \
    "$(system_includes src/base 'uv\.h|sys/socket\.h|sqlite3\.h|openssl/.*|fcntl\.h')"
result "only the runtime has a loop" \
    "$(for d in src/base src/core src/wire src/cli plugin; do system_includes $d 'uv\.h'; done)"
result "only the plugin sees collectd" \
    "$(grep -rlE '#[[:space:]]*include[[:space:]]*["<](collectd|plugin|daemon/.*|utils/.*)\.h[">]' \
        "$top/src" 2>/dev/null | sed "s#^$top/#    #")"

# What the core takes from outside itself, its base and the message tables.
archive() { ls "$build/.libs/$1.a" "$build/$1.a" 2>/dev/null | head -n 1; }
core=$(archive libcore)
# What decodes and encodes messages is a pure calculation: the directory keeps
# records packed, as they were signed, and unpacks one for a question, or only
# walks over its fields; bundles are packed for the disk.
allowed='mem(cpy|move|set|cmp|chr)|str(len|nlen|cmp|ncmp|ncpy|chr|rchr|str|spn|cspn|tol|toul|toull|casecmp)|__isoc[0-9]+_strto.*|malloc|aligned_alloc|calloc|realloc|free|abort|exit|__assert_fail|__mem.*_chk|__str.*_chk|__stack_chk_fail|qsort|bsearch|log|log2|exp|exp2|pow|sqrt|floor|ceil|round|lround|llround|fabs|fmin|fmax|ldexp|nextafter|XXH.*|_GLOBAL_OFFSET_TABLE_|__ctype_b_loc|__ctype_tolower_loc|__errno_location|__popcountdi2|pb_(decode|encode)(_ex|_tag|_varint32)?|pb_skip_field|pb_get_encoded_size|pb_(i|o)stream_from_buffer'
if [ -z "$core" ]; then
    result "core links a short list" "    no libcore.a in $build"
elif nm "$core" 2>/dev/null | grep -qE ' U __(asan|tsan|ubsan)_'; then
    echo "# sanitized build: what the core links is not asked"
else
    known=$(nm --defined-only "$core" "$(archive libbase)" "$(archive libproto)" \
        2>/dev/null | awk 'NF == 3 {print $3}' | sort -u)
    result "core links a short list" \
        "$(nm -u "$core" 2>/dev/null | awk '$1 == "U" {print $2}' | sed 's/@.*//' |
            sort -u | comm -23 - <(printf '%s\n' "$known") |
            grep -vxE "$allowed" | sed 's/^/    /')"
fi

echo "$passed passed, $failed failed"
[ $failed = 0 ]
