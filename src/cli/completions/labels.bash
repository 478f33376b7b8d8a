
# Labels, as the ledger has them now. Bash has taken the line apart at characters that labels may hold, so it is read here
# once more, as the shell will read it.

# Reads $1: the complete words go to `words`, what the last one means to `value`, its open quote to `quote`.
__dispatch_read() {
    local line=$1 c i started=
    words=() value= quote=
    for ((i = 0; i < ${#line}; i++)); do
        c=${line:i:1}
        # The dot parts the open quote, which may be none, from the character.
        case $quote.$c in
            "'.'" | '"."') quote= ;;
            '".\')
                case ${line:i+1:1} in
                    [\$\`\"\\]) i=$((i + 1)); value+=${line:i:1} ;;
                    *) value+=$c ;;
                esac
                ;;
            "'."* | '".'*) value+=$c ;;
            ".'" | '."') quote=$c; started=1 ;;
            '.\') i=$((i + 1)); value+=${line:i:1}; started=1 ;;
            '. ' | $'.\t' | $'.\n')
                [[ $started ]] && words+=("$value")
                value= started=
                ;;
            *) value+=$c; started=1 ;;
        esac
    done
}

# Writes $1 so that the shell reads it again where the quote $2 is open.
__dispatch_write() {
    local text=$1
    case $2 in
        "'") text=${text//"'"/"'\\''"} ;;
        '"')
            text=${text//'\'/'\\'}
            text=${text//'"'/'\"'}
            text=${text//'$'/'\$'}
            text=${text//'`'/'\`'}
            # The history is asked even between these quotes.
            text=${text//'!'/'"\!"'}
            ;;
        *) [[ $text ]] && printf -v text %q "$text" ;;
    esac
    REPLY=$text
}

__dispatch_complete() {
    local program=$1 replaced=$2 REPLY words value quote command= after= kind= typed= i
    local line=${COMP_LINE:0:COMP_POINT}
    __dispatch_read "$line"
    for ((i = 1; i < ${#words[@]}; i++)); do
        case ${words[i]} in
            --) after=1 ;;
            --output) i=$((i + 1)) ;;
            -*) ;;
            *) [[ $command ]] || command=${words[i]} ;;
        esac
    done
    local last=${words[${#words[@]} - 1]}
    if [[ $after && $command != wait ]]; then
        return
    elif [[ ! $after && $last == --label || ! $after && $value == --label=* ]]; then
        kind=labels
    elif [[ ! $after && $last == --status || ! $after && $value == --status=* ]]; then
        kind=statuses
    elif [[ $command == wait && $last != --timeout && $last != --output ]] && [[ $after || $value != -* ]]; then
        kind=labels
    else
        _dispatch "$@"
        return
    fi
    typed=$value
    [[ ! $after && $value == --*=* && $last != --label && $last != --status ]] && typed=${value#*=}
    # What stays of the word before the part that bash replaces.
    local kept=${line%"$replaced"} before
    __dispatch_read "$kept"
    before=$value
    [[ $before == --label=* || $before == --status=* ]] && [[ $typed != "$before"* ]] && before=${before#*=}
    local names=() name
    case $kind in
        labels)
            while IFS= read -r name; do
                names+=("$name")
            done < <("$program" complete-labels "${command:-status}" -- "$typed" 2>/dev/null)
            ;;
        statuses) names=(STATUSES) ;;
    esac
    COMPREPLY=()
    for name in "${names[@]}"; do
        [[ $name == "$typed"* ]] || continue
        __dispatch_write "${name#"$before"}" "$quote"
        COMPREPLY+=("$REPLY")
    done
    # Nothing is like what was typed: no file is meant either.
    compopt +o bashdefault +o default 2>/dev/null
}

