# Completion of argusctl(1) for bash. Verbs, their words and their options are
# those that argusctl itself tells, so nothing here goes stale; names of nodes and
# bundles come from the daemon, when one answers.

# The words of the line that say which daemon is asked.
_argusctl_socket() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -s | --socket) printf '%s\n' -s "${COMP_WORDS[i + 1]}" ;;
        esac
    done
}

# First column of a table, without its title.
_argusctl_column() { # WORD...
    local socket
    mapfile -t socket < <(_argusctl_socket)
    COLUMNS='' timeout 2 argusctl "${socket[@]}" "$@" 2>/dev/null </dev/null |
        awk 'NR > 1 { print $1 }'
}

_argusctl_verbs() {
    argusctl --help 2>/dev/null | awk '/^Verbs:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }'
}

# What may follow the verb: the lower-case words of its usage line.
_argusctl_words() { # VERB
    argusctl "$1" --help 2>/dev/null | head -n 1 | cut -d' ' -f4- |
        tr '|[]() ' '\n' | grep -xE '[a-z]+'
}

_argusctl_options() { # VERB
    { argusctl --help; argusctl "$1" --help; } 2>/dev/null |
        grep -oE -- '(^|[ |(\[])--[a-z][a-z-]*' | tr -d ' |([' | sort -u
}

_argusctl() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local verb='' word='' i
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        case ${COMP_WORDS[i]} in
        -s | --socket) ((i++)) ;;
        -* | =) ;;
        *)
            if [ -z "$verb" ]; then
                verb=${COMP_WORDS[i]}
            elif [ -z "$word" ]; then
                word=${COMP_WORDS[i]}
            fi
            ;;
        esac
    done
    local choices='' files=''
    case $before in
    -s | --socket | --key | --file | --config | -o) files=yes ;;
    --role) choices='agent aggregator' ;;
    --state) choices='online suspect offline left' ;;
    --severity) choices='OKAY WARNING FAILURE' ;;
    --node | --host) choices=$(_argusctl_column members) ;;
    *)
        case $current:$verb:$word in
        -*) choices=$(_argusctl_options "$verb") ;;
        *::*) choices=$(_argusctl_verbs) ;;
        *:members:* | *:forget:* | *:route:*) choices=$(_argusctl_column members) ;;
        *:keygen:?* | *:debug:?* | *:keys:add | *:config:push | *:config:sign | *:config:plan) files=yes ;;
        *:config:?*) choices=$(_argusctl_column config list) ;;
        *:operators:revoke) choices=$(_argusctl_column operators list) ;;
        *:keys:use | *:keys:remove) choices=$(_argusctl_column keys list) ;;
        *:*:) choices=$(_argusctl_words "$verb") ;;
        esac
        ;;
    esac
    if [ -n "$files" ]; then
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        compopt -o filenames 2>/dev/null
    else
        mapfile -t COMPREPLY < <(compgen -W "$choices" -- "$current")
    fi
}

complete -F _argusctl argusctl
