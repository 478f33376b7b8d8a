# Labels, as the ledger has them now.
_dispatch_labels() {
    local -a labels
    labels=(${(f)"$(_call_program labels dispatch complete-labels ${argv[-1]} 2>/dev/null)"})
    compadd "${(@)argv[1,-2]}" -a labels
}

