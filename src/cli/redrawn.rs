//! Lines on a terminal that are drawn over the ones before them. Nothing above them is touched, so what was on the screen
//! stays in its history, and an interrupt leaves the last picture there.

use std::fmt::Write as _;
use std::io::{self, Write};

/// The height of a terminal that does not tell it.
const USUAL_ROWS: u16 = 24;

/// A picture of some lines at the end of a terminal's text.
#[derive(Debug)]
pub struct Redrawn<W> {
    out: W,
    /// Lines of the picture that stands there now.
    drawn: usize,
    /// What it was made of.
    shown: (Vec<String>, usize),
}

impl<W: Write> Redrawn<W> {
    /// Nothing is drawn yet.
    pub fn on(out: W) -> Self {
        Self {
            out,
            drawn: 0,
            shown: (Vec::new(), 0),
        }
    }

    /// Draws these lines in the place of the ones before; what does not fit into `rows` of the terminal is left out with
    /// a line that says so.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn draw(&mut self, lines: &[String], rows: usize) -> io::Result<()> {
        // Drawn again, it would be the same; where everything is kept that a terminal is sent, it would stand there twice.
        let wanted = (lines.to_vec(), rows);
        if self.drawn > 0 && self.shown == wanted {
            return Ok(());
        }
        self.shown = wanted;
        // The cursor needs a line of its own below them.
        let room = rows.saturating_sub(1).max(1);
        let shown = match lines.len() > room {
            true => room - 1,
            false => lines.len(),
        };
        let mut picture = self.back();
        for line in lines.iter().take(shown) {
            picture.push_str(line);
            picture.push('\n');
        }
        self.drawn = shown;
        if shown < lines.len() {
            // Writing to a string cannot fail.
            let _ = writeln!(picture, "… {} more lines", lines.len() - shown);
            self.drawn += 1;
        }
        self.out.write_all(picture.as_bytes())?;
        self.out.flush()
    }

    /// Takes the picture away.
    ///
    /// # Errors
    /// When the terminal does not take it.
    pub fn clear(&mut self) -> io::Result<()> {
        if self.drawn == 0 {
            return Ok(());
        }
        let back = self.back();
        self.drawn = 0;
        self.out.write_all(back.as_bytes())?;
        self.out.flush()
    }

    /// To the picture's beginning, with nothing left below.
    fn back(&self) -> String {
        match self.drawn {
            0 => String::new(),
            lines => format!("\r\x1b[{lines}A\x1b[J"),
        }
    }
}

/// Columns and rows of the terminal at `end`.
pub fn size_of(end: impl std::os::fd::AsFd) -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(end).ok();
    let known = |number: u16, usual: u16| usize::from(if number > 0 { number } else { usual });
    (
        known(
            size.map_or(0, |size| size.ws_col),
            super::output::USUAL_COLUMNS,
        ),
        known(size.map_or(0, |size| size.ws_row), USUAL_ROWS),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(pictures: &[(&[&str], usize)]) -> String {
        let mut redrawn = Redrawn::on(Vec::new());
        for (lines, rows) in pictures {
            let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
            redrawn.draw(&lines, *rows).expect("memory takes it");
        }
        redrawn.clear().expect("memory takes it");
        redrawn.clear().expect("memory takes it");
        String::from_utf8(redrawn.out).expect("text")
    }

    #[test]
    fn each_picture_takes_the_place_of_the_one_before() {
        assert_eq!(
            drawn(&[(&["a", "b"], 24), (&["c"], 24), (&[], 24)]),
            "a\nb\n\r\x1b[2A\x1b[Jc\n\r\x1b[1A\x1b[J"
        );
    }

    #[test]
    fn the_same_picture_is_not_drawn_again() {
        assert_eq!(
            drawn(&[(&["a"], 24), (&["a"], 24), (&["b"], 24), (&["a"], 24)]),
            "a\n\r\x1b[1A\x1b[Jb\n\r\x1b[1A\x1b[Ja\n\r\x1b[1A\x1b[J"
        );
    }

    #[test]
    fn what_does_not_fit_is_counted() {
        assert_eq!(
            drawn(&[(&["a", "b", "c", "d"], 4)]),
            "a\nb\n… 2 more lines\n\r\x1b[3A\x1b[J"
        );
        assert_eq!(drawn(&[(&["a", "b", "c"], 4)]), "a\nb\nc\n\r\x1b[3A\x1b[J");
    }
}
