//! Command lines that cannot be used: what is wrong, where and what to do, in one sentence; nothing is written.

use super::{FOUND, refuses};
use crate::support::House;

fn house() -> House {
    let house = House::new();
    house.write_ledger(FOUND);
    house
}

#[test]
fn what_is_missing_is_named_with_what_may_stand_for_it() {
    refuses(
        &house(),
        r#"
$ dispatch --json
2> [dispatch] a command is missing; see 'dispatch --help'
=> 2
$ dispatch --output table
2> [dispatch] a command is missing; see 'dispatch --help'
=> 2
$ dispatch enqueue
2> [dispatch] --label is missing; see 'dispatch enqueue --help'
=> 2
$ dispatch send
2> [dispatch] --label is missing; give it, or --session-key; see 'dispatch send --help'
=> 2
$ dispatch send --message hi
2> [dispatch] --label is missing; give it, or --session-key; see 'dispatch send --help'
=> 2
$ dispatch status
2> [dispatch] --label is missing; see 'dispatch status --help'
=> 2
$ dispatch result
2> [dispatch] --label is missing; see 'dispatch result --help'
=> 2
$ dispatch heartbeat
2> [dispatch] --label is missing; give it, or --session-key; see 'dispatch heartbeat --help'
=> 2
$ dispatch wait
2> [dispatch] LABEL is missing; give it, or --all; see 'dispatch wait --help'
=> 2
$ dispatch logs
2> [dispatch] --label is missing; see 'dispatch logs --help'
=> 2
$ dispatch cancel
2> [dispatch] --label is missing; see 'dispatch cancel --help'
=> 2
$ dispatch done
2> [dispatch] --label is missing; see 'dispatch done --help'
=> 2
$ dispatch note
2> [dispatch] --label and TEXT are missing; see 'dispatch note --help'
=> 2
$ dispatch note --label built
2> [dispatch] TEXT is missing; see 'dispatch note --help'
=> 2
$ dispatch redeliver
2> [dispatch] --label is missing; give it, or --all; see 'dispatch redeliver --help'
=> 2
$ dispatch watcher-handoff
2> [dispatch] --label is missing; give it, or --all; see 'dispatch watcher-handoff --help'
=> 2
$ dispatch retry
2> [dispatch] --label is missing; see 'dispatch retry --help'
=> 2
$ dispatch completions
2> [dispatch] SHELL is missing; see 'dispatch completions --help'
=> 2
"#,
    );
}

#[test]
fn flags_that_do_not_go_together_are_named() {
    refuses(
        &house(),
        r#"
$ dispatch send --label a --session-key agent:main:main --message hi
2> [dispatch] --label and --session-key exclude each other; leave one of them out
=> 2
$ dispatch heartbeat --label a --session-key agent:main:main
2> [dispatch] --label and --session-key exclude each other; leave one of them out
=> 2
$ dispatch logs --label a --raw --stderr
2> [dispatch] --raw and --stderr exclude each other; leave one of them out
=> 2
$ dispatch redeliver --label a --all
2> [dispatch] --label and --all exclude each other; leave one of them out
=> 2
$ dispatch watcher-handoff --label a --all
2> [dispatch] --label and --all exclude each other; leave one of them out
=> 2
$ dispatch install-timers --cron --remove
2> [dispatch] --cron and --remove exclude each other; leave one of them out
=> 2
$ dispatch install-timers --cron --yes
2> [dispatch] --cron and --yes exclude each other; leave one of them out
=> 2
$ dispatch list --archived --watch
2> [dispatch] --archived and --watch exclude each other; leave one of them out
=> 2
$ dispatch list --label 'two words'
2> [dispatch] --label goes with --archived; one label of the ledger is shown by: dispatch status --label 'two words'
=> 2
$ dispatch man --dir x watcher
2> [dispatch] --dir and PROGRAM exclude each other; leave one of them out
=> 2
$ dispatch list --json=1
2> [dispatch] --json takes no value, and "1" is one; see 'dispatch list --help'
=> 2
$ dispatch sync --dry-run=yes
2> [dispatch] --dry-run takes no value, and "yes" is one; see 'dispatch sync --help'
=> 2
$ dispatch enqueue --label a --backend openclaw -- true
2> [dispatch] --backend openclaw takes no COMMAND: a gateway runs its own agents; leave one of the two out
=> 2
$ dispatch enqueue --label a --backend local --message hi
2> [dispatch] the local backend needs a command to run: add -- COMMAND [ARG...], or register a runtime under "runtimes" in ROOT/state/config.json
=> 2
"#,
    );
}

#[test]
fn words_and_flags_that_mean_nothing_are_named_with_the_nearest() {
    refuses(
        &house(),
        r#"
$ dispatch enqeue
2> [dispatch] there is no command "enqeue"; did you mean enqueue? Or see 'dispatch --help'
=> 2
$ dispatch send --label a --mesage hi
2> [dispatch] there is no flag --mesage; did you mean --message? Or see 'dispatch send --help'
=> 2
$ dispatch result --label a --ful
2> [dispatch] there is no flag --ful; did you mean --full? Or see 'dispatch result --help'
=> 2
$ dispatch heartbeat --lable a
2> [dispatch] there is no flag --lable; did you mean --label? Or see 'dispatch heartbeat --help'
=> 2
$ dispatch wait a --time 5
2> [dispatch] there is no flag --time; a label that starts with - goes after --; did you mean --timeout? Or see 'dispatch wait --help'
=> 2
$ dispatch logs --label a --folow
2> [dispatch] there is no flag --folow; did you mean --follow? Or see 'dispatch logs --help'
=> 2
$ dispatch cancel --label a --raeson x
2> [dispatch] there is no flag --raeson; did you mean --reason? Or see 'dispatch cancel --help'
=> 2
$ dispatch cancel --label a extra
2> [dispatch] the word "extra" belongs to nothing; quote a text that has spaces; see 'dispatch cancel --help'
=> 2
$ dispatch cancel a
2> [dispatch] the word "a" belongs to nothing; did you mean --label a? Or see 'dispatch cancel --help'
=> 2
$ dispatch result 'a b'
2> [dispatch] the word "a b" belongs to nothing; did you mean --label 'a b'? Or see 'dispatch result --help'
=> 2
$ dispatch wait --label a
2> [dispatch] there is no flag --label: the labels are its arguments; see 'dispatch wait --help'
=> 2
$ dispatch done --label a --cheklist x
2> [dispatch] there is no flag --cheklist; did you mean --checklist? Or see 'dispatch done --help'
=> 2
$ dispatch note --label a two words
2> [dispatch] the word "words" belongs to nothing; quote a text that has spaces; see 'dispatch note --help'
=> 2
$ dispatch stuck --quite
2> [dispatch] there is no flag --quite; did you mean --quiet? Or see 'dispatch stuck --help'
=> 2
$ dispatch sync --dryrun
2> [dispatch] there is no flag --dryrun; did you mean --dry-run? Or see 'dispatch sync --help'
=> 2
$ dispatch redeliver --al
2> [dispatch] there is no flag --al; did you mean --all? Or see 'dispatch redeliver --help'
=> 2
$ dispatch watcher-handoff --al
2> [dispatch] there is no flag --al; did you mean --all? Or see 'dispatch watcher-handoff --help'
=> 2
$ dispatch install-timers --rm
2> [dispatch] there is no flag --rm; did you mean --remove? Or see 'dispatch install-timers --help'
=> 2
$ dispatch retry --label a --wiat
2> [dispatch] there is no flag --wiat; did you mean --wait? Or see 'dispatch retry --help'
=> 2
$ dispatch prune --older 4w
2> [dispatch] there is no flag --older; did you mean --older-than? Or see 'dispatch prune --help'
=> 2
$ dispatch doctor --repare
2> [dispatch] there is no flag --repare; did you mean --repair? Or see 'dispatch doctor --help'
=> 2
$ dispatch man frob
2> [dispatch] PROGRAM: "frob" is not one of dispatch, watcher, 529-recovery, stuck-detector
=> 2
"#,
    );
}

#[test]
fn values_that_cannot_be_used_are_named_with_what_can() {
    refuses(
        &house(),
        r#"
$ dispatch enqueue --label a --thinking hgih -- true
2> [dispatch] --thinking: "hgih" is not one of low, medium, high, xhigh, off; did you mean high?
=> 2
$ dispatch enqueue --label a --mode resue -- true
2> [dispatch] --mode: "resue" is not one of fresh, reuse; did you mean reuse?
=> 2
$ dispatch enqueue --label a --delivery-mode loud -- true
2> [dispatch] --delivery-mode: "loud" is not one of announce, announce-always, none
=> 2
$ dispatch enqueue --label a --requester '' -- true
2> [dispatch] --requester: give a session key, such as agent:main:main
=> 2
$ dispatch enqueue --label a --requester agent:main:main -- true
2> [dispatch] --requester agent:main:main: sessions are woken by an OpenClaw gateway, and none is configured; set OPENCLAW_GATEWAY_URL, or leave the flag out
=> 2
$ dispatch enqueue --label a --verify-cmd ' ' -- true
2> [dispatch] --verify-cmd: an empty command accepts everything; give one, or leave it out
=> 2
$ dispatch enqueue --label a --idempotency-key '' -- true
2> [dispatch] --idempotency-key: give 1 to 512 bytes of text without control characters
=> 2
$ dispatch enqueue --label a --auth-profile 'a b' -- true
2> [dispatch] --auth-profile: "a b" is no profile's name; give one such as anthropic:work
=> 2
$ dispatch enqueue --label a --fallback-auth-profile '' -- true
2> [dispatch] --fallback-auth-profile: "" is no profile's name; give one such as anthropic:work
=> 2
$ dispatch enqueue --label a --deliver-to webhook:x -- true
2> [dispatch] --deliver-to: the configuration ROOT/state/config.json names no "x" under "webhooks"; add it
=> 2
$ dispatch enqueue --label a --deliver-to command:x -- true
2> [dispatch] --deliver-to: the configuration ROOT/state/config.json names no "x" under "commands"; add it
=> 2
$ dispatch enqueue --label a --monitor-interval '61 * * * *' -- true
2> [dispatch] --monitor-interval: "61 * * * *" is no cron expression: its minute is "61", and goes from 0 to 59; give five fields such as "*/15 * * * *"
=> 2
$ dispatch enqueue --label a --idle-threshold 0 -- true
2> [dispatch] --idle-threshold: "0" is zero; give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
$ dispatch result --label a --generation x
2> [dispatch] --generation: "x" is no generation; give the number that 'dispatch status' shows
=> 2
$ dispatch done --label a --generation -1
2> [dispatch] --generation: "-1" is no generation; give the number that 'dispatch status' shows
=> 2
$ dispatch stuck --threshold-min 0
2> [dispatch] --threshold-min: "0" is zero; give whole minutes (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
$ dispatch stuck --threshold-min 1.5
2> [dispatch] --threshold-min: "1.5" has a fraction; give whole minutes (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
$ dispatch wait a --timeout 11y
2> [dispatch] --timeout: "11y" uses months or years, which have no fixed length (m is minutes, d is days, w is weeks); give whole seconds (90) or a text with units such as 90s, 20m, 1h30m or "2h 5m"
=> 2
$ dispatch list --limit many
2> [dispatch] --limit: "many" is no count; give a whole number from 1, or --all
=> 2
$ dispatch list --output=
2> [dispatch] --output needs a value; see 'dispatch list --help'
=> 2
"#,
    );
}

#[test]
fn messages_that_cannot_be_had_are_named() {
    refuses(
        &house(),
        r#"
$ dispatch note --label built ''
2> [dispatch] the note is empty; give its text as the last word
=> 2
$ dispatch send --session-key agent:main:main
2> [dispatch] a message is needed: give --message, --message-file, --message-env, --message-stdin, or pipe it in
=> 2
$ dispatch send --session-key agent:main:main --message ''
2> [dispatch] the prompt is empty: --message has no text; give some, or leave it out where none is needed
=> 2
$ dispatch send --session-key agent:main:main --message-file nowhere
2> [dispatch] --message-file: cannot read nowhere: No such file or directory (os error 2); give a file that can be read, or - for stdin
=> 2
$ dispatch send --session-key agent:main:main --message-file /
2> [dispatch] --message-file: / is a directory; give a file, or - for stdin
=> 2
$ dispatch send --session-key agent:main:main --message-env NOT_SET
2> [dispatch] --message-env: the environment variable NOT_SET is not set; export it, or give another prompt source
=> 2
$ printf '\377' | dispatch send --session-key agent:main:main --message-stdin
2> [dispatch] the message is not UTF-8, which a gateway needs
=> 2
$ dispatch send --session-key main --message hi
2> [dispatch] --session-key: "main" is no session key: expected agent:<agentId>:<rest>
=> 2
$ dispatch send --label built --message hi
2> [dispatch] label "built" is not running: it is done; go on with its session by: dispatch enqueue --label built --mode reuse
=> 1
$ dispatch send --label theirs --message hi
2> [dispatch] label "theirs" was started by another tool; send into its session with --session-key
=> 1
"#,
    );
}
