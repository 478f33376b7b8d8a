
# Labels, as the ledger has them now.
function __fish_dispatch_labels
    command dispatch complete-labels $argv[1] 2>/dev/null
end
