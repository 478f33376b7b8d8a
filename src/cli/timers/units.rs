//! What a service manager or cron is told: unit files and crontab lines, as text.

use std::path::Path;

use crate::shell;

/// The first line of every file that we write; a file without it is somebody else's.
pub(super) const MARK: &str = "# Written by 'dispatch install-timers'; '--remove' takes it away.";

/// A program that is to run by the clock.
pub(super) struct Job<'a> {
    /// The name of its units.
    pub unit: &'static str,
    /// What it does, for people.
    pub about: &'static str,
    /// The program.
    pub program: &'a Path,
    /// Its arguments.
    pub arguments: &'static [&'static str],
    /// When systemd starts it (`systemd.time(7)`).
    pub calendar: &'static str,
    /// When cron starts it (`crontab(5)`).
    pub cron: &'static str,
}

/// The service: one run, whose children (revived watchers) live on when it has ended.
pub(super) fn service(job: &Job<'_>, variables: &[(&str, String)]) -> String {
    let mut text = format!(
        "{MARK}\n[Unit]\nDescription=dispatch: {}\n\n[Service]\nType=oneshot\nKillMode=process\n",
        job.about
    );
    for (name, value) in variables {
        text.push_str(&format!(
            "Environment={}\n",
            quoted(&format!("{name}={value}"))
        ));
    }
    // A dollar is special on this line alone.
    let program = quoted(&job.program.to_string_lossy()).replace('$', "$$");
    text.push_str(&format!("ExecStart={program}"));
    for argument in job.arguments {
        text.push_str(&format!(" {argument}"));
    }
    text.push('\n');
    text
}

/// The timer of the service.
pub(super) fn timer(job: &Job<'_>) -> String {
    format!(
        "{MARK}\n[Unit]\nDescription=dispatch: {}\n\n[Timer]\nOnCalendar={}\nAccuracySec=1s\n\n[Install]\nWantedBy=timers.target\n",
        job.about, job.calendar
    )
}

/// The line for a crontab.
pub(super) fn cron_line(job: &Job<'_>, variables: &[(&str, String)]) -> String {
    let mut words = vec![job.cron.to_owned()];
    for (name, value) in variables {
        words.push(format!("{name}={}", shell::word(value)));
    }
    let program = job.program.to_string_lossy();
    words.push(shell::word(&program).into_owned());
    words.extend(job.arguments.iter().map(|word| (*word).to_owned()));
    let (schedule, command) = words.split_at(1);
    // In a crontab a percent sign ends the command, and a backslash keeps it. One that is there already, which is within
    // quotes, would be taken for that.
    let command = command.join(" ").replace("\\%", "\\''%");
    format!("{} {}", schedule.join(" "), command.replace('%', "\\%"))
}

/// A word of a unit file (`systemd.syntax(7)`), specifiers switched off.
fn quoted(word: &str) -> String {
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' => text.push_str("%%"),
            c if c.is_control() => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

/// The variables that a service of ours gives its program; `None` for one that somebody else wrote.
pub(crate) fn variables_of_service(text: &str) -> Option<Vec<(String, String)>> {
    let ours = text.strip_prefix(MARK)?;
    let lines = ours.lines();
    let values = lines.filter_map(|line| line.strip_prefix("Environment=\"")?.strip_suffix('"'));
    let variables = values.filter_map(|value| {
        let (name, value) = value.split_once('=')?;
        Some((name.to_owned(), unquoted(value)))
    });
    Some(variables.collect())
}

/// The variables that stand before the program in a line of a crontab; `None` for a line in which more stands there.
pub(crate) fn variables_of_cron_line(line: &str, program: &str) -> Option<Vec<(String, String)>> {
    let mut command = line;
    for _ in 0..5 {
        command = command.trim_start().split_once([' ', '\t'])?.1;
    }
    let mut variables = Vec::new();
    for word in shell_words::split(&command.replace("\\%", "%")).ok()? {
        match word.split_once('=') {
            Some((name, value)) if !name.contains('/') => {
                variables.push((name.to_owned(), value.to_owned()));
            }
            _ => return (Path::new(&word).file_name()? == program).then_some(variables),
        }
    }
    None
}

/// What [`quoted`] has made of a text, without its quotes.
fn unquoted(word: &str) -> String {
    let mut text = String::new();
    let mut rest = word.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' | '%' => text.extend(rest.next()),
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(program: &str) -> Job<'_> {
        Job {
            unit: "dispatch-x",
            about: "does x",
            program: Path::new(program),
            arguments: &["--quiet"],
            calendar: "*:0/15",
            cron: "*/15 * * * *",
        }
    }

    fn variables() -> Vec<(&'static str, String)> {
        vec![("DISPATCH_HOME", "/a b/50%/$x\"y\\".to_owned())]
    }

    #[test]
    fn a_service_quotes_what_systemd_would_read_otherwise() {
        let text = service(&job("/opt/50% $HOME/x"), &variables());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], MARK);
        assert!(
            lines.contains(&"Environment=\"DISPATCH_HOME=/a b/50%%/$x\\\"y\\\\\""),
            "{text}"
        );
        assert!(
            lines.contains(&"ExecStart=\"/opt/50%% $$HOME/x\" --quiet"),
            "{text}"
        );
        assert!(lines.contains(&"KillMode=process"), "{text}");
    }

    #[test]
    fn what_is_given_to_a_program_is_read_back() {
        let given = |variables: Vec<(String, String)>| {
            let given = variables
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"));
            given.collect::<Vec<_>>()
        };
        let expected = ["DISPATCH_HOME=/a b/50%/$x\"y\\"];
        let text = service(&job("/opt/x"), &variables());
        assert_eq!(
            variables_of_service(&text).map(given),
            Some(expected.map(str::to_owned).to_vec())
        );
        assert_eq!(
            variables_of_service("[Service]\nEnvironment=\"A=b\"\n"),
            None
        );
        let line = cron_line(&job("/opt/5 x/529-recovery"), &variables());
        let read = variables_of_cron_line(&line, "529-recovery");
        assert_eq!(read.map(given), Some(expected.map(str::to_owned).to_vec()));
        for (line, known) in [
            ("* * * * * 529-recovery", true),
            ("*/5 *  *\t* * A='b c' /opt/529-recovery >/dev/null", true),
            ("* * * * * cd /x && 529-recovery", false),
            ("@hourly 529-recovery", false),
            ("* * * * * A=1", false),
        ] {
            let read = variables_of_cron_line(line, "529-recovery");
            assert_eq!(read.is_some(), known, "{line}");
        }
    }

    #[test]
    fn a_crontab_line_quotes_what_a_shell_and_cron_would_read_otherwise() {
        assert_eq!(
            cron_line(&job("/opt/50% x"), &variables()),
            "*/15 * * * * DISPATCH_HOME='/a b/50\\%/$x\"y\\' '/opt/50\\% x' --quiet"
        );
        assert_eq!(
            cron_line(&job(r"/opt/a\%b"), &[]),
            r"*/15 * * * * '/opt/a\''\%b' --quiet"
        );
    }
}
