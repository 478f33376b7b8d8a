//! What the pages say beside what the command lines' definitions do.

use clap::Command;

use crate::cli::args::Cli;
use crate::cli::definition::whole;

/// One program's page.
pub(super) struct Page {
    pub(super) program: &'static str,
    pub(super) definition: fn() -> Command,
    pub(super) description: &'static str,
    pub(super) exit_status: &'static [(&'static str, &'static str)],
    pub(super) files: &'static [(&'static str, &'static str)],
    pub(super) environment: &'static [(&'static str, &'static str)],
}

/// The four programs.
pub(super) const PAGES: [Page; 4] = [
    Page {
        program: "dispatch",
        definition: whole::<Cli>,
        description: "A label names work that is handed to a session: a command on this machine, or an agent of an \
OpenClaw gateway. The ledger keeps what became of each; a watcher follows it to its end and delivers the result. On a \
terminal people get tables, elsewhere programs get JSON. Every time that a flag takes is a number of seconds or a text \
such as 20m. A value may start with a dash; write \"--flag=value\" where it could be taken for a flag.",
        exit_status: &[
            ("0", "Success."),
            (
                "1",
                "Failure: an unknown label, a rejected call, an end other than done.",
            ),
            (
                "2",
                "The command line, its input or the configuration cannot be used.",
            ),
            ("3", "The ledger is damaged; \"dispatch doctor\" says more."),
            ("4", "\"wait\" timed out."),
            ("130", "An interrupt ended it."),
        ],
        files: &[
            STATE,
            (
                crate::paths::LEDGER_FILE,
                "The ledger, one JSON object; replaced as a whole, never edited in place. The version before lies beside it, with .bak at its end.",
            ),
            ("archive.jsonl", "Entries that left the ledger."),
            (
                "artifacts/dispatch-completions/",
                "The whole text of every ended session.",
            ),
            ("history.jsonl", "What became of labels, an event a line."),
            ("prompts/", "The prompts as they were given."),
            ("sessions/", "Transcripts and raw output of commands."),
            ("watchers/", "Locks, heartbeats and logs of watchers."),
            CONFIG,
        ],
        environment: &[
            HOME,
            LABELS_PATH,
            CONFIG_DIR,
            STATE_VARIABLES,
            (
                "XDG_CONFIG_HOME",
                "\"install-timers\" puts its units below it; ~/.config unless set.",
            ),
            ("PATH", "Where the program of a command is looked for."),
            (
                "DISPATCH_DEFAULT_MODEL",
                "The model of new sessions, where neither the call nor config.json names one.",
            ),
            (
                "OPENCLAW_SCHEDULER_HOME",
                "Where \"doctor\" looks for the ledger of an openclaw-scheduler.",
            ),
            (
                "USER, LOGNAME",
                "Recorded as the one who forced a \"done\" (--force-done).",
            ),
            (
                "DISPATCH_OUTPUT",
                "The form of output: auto, table or json; the flags win.",
            ),
            (
                "DISPATCH_LOCK_TIMEOUT",
                "How long a command waits for the ledger's lock.",
            ),
            INLINE_LIMIT,
            ARTIFACTS_DIR,
            INDEX_PATH,
            TRANSPORT,
            GATEWAY,
            OPENCLAW,
            RUNTIME,
            NO_FALLBACK,
            EVENTS,
            (
                "NO_COLOR, TERM",
                "Colours are left out where NO_COLOR is set to anything or TERM is dumb.",
            ),
            (
                "COLUMNS",
                "The width that tables keep to, instead of the terminal's own.",
            ),
        ],
    },
    Page {
        program: "watcher",
        definition: crate::cli::watcher::definition,
        description: "\"dispatch enqueue\" starts a watcher for every label; it is called by hand where its stdout is \
to get the result, or with --all as a service for all labels. It is woken by file events and by the gateway. SIGTERM \
makes it leave: a fresh watcher or \"529-recovery\" takes over. SIGHUP makes it read the configuration again.",
        exit_status: &[
            (
                "0",
                "The session is done and its result was printed; or it is pending (--once); or another watcher has the label.",
            ),
            (
                "1",
                "It ended otherwise, and the failure was printed; or the label is unknown.",
            ),
            ("2", "The command line cannot be used."),
            ("3", "The ledger is damaged."),
            (
                "130",
                "SIGINT ended it in the foreground; nothing was printed, and the label goes on.",
            ),
            (
                "143",
                "SIGTERM ended it in the foreground; nothing was printed, and the label goes on.",
            ),
        ],
        files: &[STATE, WATCHERS, ARTIFACTS, CONFIG],
        environment: &[
            HOME,
            LABELS_PATH,
            STATE_VARIABLES,
            CONFIG_DIR,
            INLINE_LIMIT,
            ARTIFACTS_DIR,
            INDEX_PATH,
            TRANSPORT,
            GATEWAY,
            OPENCLAW,
        ],
    },
    Page {
        program: "529-recovery",
        definition: crate::cli::recovery::definition,
        description: "One scan of the ledger, for cron or a systemd timer. Labels that failed of an overloaded or \
rate-limited provider are tried again, oldest first and one after another; labels whose watcher is dead get a new one; \
deliveries that are owed go out. Two scans at once do no harm.",
        exit_status: &[
            (
                "0",
                "The scan went through, whether or not there was anything to do.",
            ),
            ("1", "Something could not be taken up; the line says what."),
            ("2", "The command line cannot be used."),
            ("3", "The ledger is damaged."),
        ],
        files: &[STATE, WATCHERS, CONFIG],
        environment: &[
            HOME,
            LABELS_PATH,
            STATE_VARIABLES,
            CONFIG_DIR,
            INDEX_PATH,
            TRANSPORT,
            GATEWAY,
            OPENCLAW,
        ],
    },
    Page {
        program: "stuck-detector",
        definition: crate::cli::stuck::definition,
        description: "One look at every running label, for cron or a systemd timer. A session that shows no progress for \
longer than its limits allow is asked once where it is, and is told of when it stays silent for a further run; so are watchers \
that do not stir and deliveries that were given up. Two detectors at once do no harm.",
        exit_status: &[
            ("0", "Nothing is stuck."),
            ("1", "Something is stuck: a line on stdout for each."),
            ("2", "The command line cannot be used."),
            ("3", "The ledger is damaged."),
        ],
        files: &[STATE, SUSPICIONS, CONFIG],
        environment: &[
            HOME,
            LABELS_PATH,
            STATE_VARIABLES,
            CONFIG_DIR,
            INDEX_PATH,
            TRANSPORT,
            GATEWAY,
            OPENCLAW,
        ],
    },
];

const STATE: (&str, &str) = (
    "~/.local/state/dispatch/",
    "The state directory; \"dispatch\" in OpenClaw's state directory where there is one. What follows lies in it.",
);
const SUSPICIONS: (&str, &str) = (
    "stuck.json",
    "Who was silent, who was asked when, and what the session had done by then.",
);
const CONFIG: (&str, &str) = (
    "config.json",
    "Settings: aliases, webhooks, commands, retries, windows. \"dispatch doctor\" names what is wrong in it.",
);
const WATCHERS: (&str, &str) = (
    "watchers/",
    "For each label and generation a lock that its watcher holds, its heartbeat and its log.",
);
const ARTIFACTS: (&str, &str) = (
    "artifacts/dispatch-completions/",
    "The whole text of every ended session, written before anything is delivered.",
);
const HOME: (&str, &str) = ("DISPATCH_HOME", "The state directory.");
const LABELS_PATH: (&str, &str) = (
    "DISPATCH_LABELS_PATH",
    "The ledger; its directory is the state directory unless DISPATCH_HOME is set.",
);
const STATE_VARIABLES: (&str, &str) = (
    "DISPATCH_STATE_DIR, XDG_STATE_HOME, HOME",
    "Where the state directory is when DISPATCH_HOME is not set: DISPATCH_STATE_DIR is an older name of it; else it is \
\"dispatch\" in XDG_STATE_HOME, or in ~/.local/state.",
);
const CONFIG_DIR: (&str, &str) = ("DISPATCH_CONFIG_DIR", "The directory of config.json.");
const INLINE_LIMIT: (&str, &str) = (
    "DISPATCH_COMPLETION_INLINE_LIMIT_BYTES",
    "The most bytes of a result that are delivered inline; a longer one is cut, and a note names the file with all of it.",
);
const ARTIFACTS_DIR: (&str, &str) = ("SCHEDULER_ARTIFACTS_DIR", "Where artifacts go.");
const INDEX_PATH: (&str, &str) = (
    "DISPATCH_INDEX_PATH",
    "The dispatch program to call, instead of the one beside this program.",
);
const TRANSPORT: (&str, &str) = (
    "DISPATCH_GATEWAY_TRANSPORT",
    "\"cli\" has the gateway called through the openclaw program.",
);
const GATEWAY: (&str, &str) = (
    "OPENCLAW_GATEWAY_URL, OPENCLAW_GATEWAY_TOKEN, OPENCLAW_GATEWAY_PASSWORD",
    "The gateway, and what lets dispatch in; else openclaw.json says so.",
);
const OPENCLAW: (&str, &str) = (
    "OPENCLAW_STATE_DIR, OPENCLAW_CONFIG_PATH, OPENCLAW_HOME, OPENCLAW_PROFILE",
    "Where OpenClaw keeps its state and its configuration.",
);
const RUNTIME: (&str, &str) = (
    "OPENCLAW_AGENT_RUNTIME",
    "The runtime of local sessions whose call names neither one nor a command.",
);
const NO_FALLBACK: (&str, &str) = (
    "OPENCLAW_AGENT_HARNESS_FALLBACK",
    "Refused by local calls with --runtime or without a command: a runtime never falls back to another.",
);
const EVENTS: (&str, &str) = (
    "LOKI_PUSH_URL, DISPATCH_WEBHOOK_URL, DISPATCH_WEBHOOK_SECRET, DISPATCH_HOST",
    "Who hears of events, and the name of this machine in them; they come before config.json.",
);
