//! Text that scrolls by, and below it some lines that are drawn anew, as a bar of progress is: on a terminal the lines are
//! taken away before each piece of text, and put below it.
//! Unaware of what the lines say.

use std::io::{self, Write};
use std::sync::Arc;

use rustix::process::getpgrp;
use rustix::termios::tcgetpgrp;

use crate::output::Output;

/// Lines without a newline behind the last. None is wider than the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) Arc<str>);

#[derive(Debug)]
pub(crate) struct Screen<W> {
    to: W,
    /// The lines may be drawn and taken away now. In the background, the terminal is another's.
    is_ours: fn() -> bool,
    /// So many lines are drawn at present.
    drawn: usize,
    /// What was written last does not end its line.
    is_mid_line: bool,
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(to: W, is_ours: fn() -> bool) -> Screen<W> {
        Screen {
            to,
            is_ours,
            drawn: 0,
            is_mid_line: false,
        }
    }

    /// Writes text, and the frame below it.
    pub(crate) fn write(&mut self, text: &[u8], frame: Option<&Frame>) -> io::Result<()> {
        let frame = self.drawable(frame);
        if self.drawn == 0 && frame.is_none() {
            self.look_at(text);
            return self.to.write_all(text);
        }
        // In one piece, as a terminal shows what it has.
        let mut all = self.erase();
        self.look_at(text);
        all.extend_from_slice(text);
        self.draw(frame, &mut all);
        self.to.write_all(&all)
    }

    /// The same of text that begins on a line of its own: an unfinished one before it is ended.
    pub(crate) fn write_on_new_line(
        &mut self,
        text: &[u8],
        frame: Option<&Frame>,
    ) -> io::Result<()> {
        if self.is_mid_line {
            return self.write(&[b"\n", text].concat(), frame);
        }
        self.write(text, frame)
    }

    /// The same of a command's output, which may be large.
    pub(crate) fn write_pieces(&mut self, text: &Output, frame: Option<&Frame>) -> io::Result<()> {
        let frame = self.drawable(frame);
        let erasure = self.erase();
        self.to.write_all(&erasure)?;
        text.for_each_piece(|piece| {
            self.look_at(piece);
            self.to.write_all(piece)
        })?;
        let mut drawing = Vec::new();
        self.draw(frame, &mut drawing);
        self.to.write_all(&drawing)
    }

    /// The frame, if it may be drawn. If not, others write here: where the lines before stand now is not known, and they
    /// are left.
    fn drawable<'f>(&mut self, frame: Option<&'f Frame>) -> Option<&'f Frame> {
        if self.drawn == 0 && frame.is_none() || (self.is_ours)() {
            return frame;
        }
        self.drawn = 0;
        None
    }

    /// The cursor stands behind the last line drawn. Line by line, as tmux keeps what a screen that is erased from its top
    /// has shown.
    fn erase(&mut self) -> Vec<u8> {
        match std::mem::take(&mut self.drawn) {
            0 => Vec::new(),
            lines => format!("\r\x1b[K{}", "\x1b[1A\x1b[K".repeat(lines - 1)).into_bytes(),
        }
    }

    fn look_at(&mut self, text: &[u8]) {
        if let Some(last) = text.last() {
            self.is_mid_line = *last != b'\n';
        }
    }

    fn draw(&mut self, frame: Option<&Frame>, into: &mut Vec<u8>) {
        let Some(Frame(lines)) = frame else {
            return;
        };
        if std::mem::take(&mut self.is_mid_line) {
            // It would be drawn over otherwise.
            into.push(b'\n');
        }
        into.extend_from_slice(lines.as_bytes());
        self.drawn = lines.split('\n').count();
    }
}

/// The terminal of stderr is ours to draw on. Ctrl-Z and a shell's `&` give it to others. One without jobs, or whose
/// foreground is out of our sight, as from a container, is nobody else's.
pub(crate) fn is_in_foreground() -> bool {
    tcgetpgrp(io::stderr()).map_or(true, |foreground| foreground == getpgrp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn written(screen: &mut Screen<Vec<u8>>) -> String {
        String::from_utf8(std::mem::take(&mut screen.to)).expect("text")
    }

    #[test]
    fn lines_stand_below_the_text_and_are_taken_away_before_more() {
        let mut screen = Screen::new(Vec::new(), || true);
        let frame = |lines: &str| Some(Frame(lines.into()));
        screen.write(b"plain", None).expect("a vector");
        assert_eq!(written(&mut screen), "plain");
        screen
            .write(b"text\n", frame("a\nb").as_ref())
            .expect("a vector");
        assert_eq!(written(&mut screen), "text\na\nb");
        screen.write(b"", frame("c").as_ref()).expect("a vector");
        assert_eq!(written(&mut screen), "\r\x1b[K\x1b[1A\x1b[Kc");
        let mut output = Output::default();
        output.push(b"half").expect("room");
        screen
            .write_pieces(&output, frame("d").as_ref())
            .expect("a vector");
        assert_eq!(written(&mut screen), "\r\x1b[Khalf\nd");
        screen.write(b"last\n", None).expect("a vector");
        assert_eq!(written(&mut screen), "\r\x1b[Klast\n");
        screen.write_pieces(&output, None).expect("a vector");
        assert_eq!(written(&mut screen), "half");
    }
    #[test]
    fn a_message_begins_on_a_line_of_its_own_which_a_frame_has_begun_already() {
        let mut screen = Screen::new(Vec::new(), || true);
        let mut told = |text: &[u8], frame: Option<&Frame>| {
            screen.write_on_new_line(text, frame).expect("a vector");
            let mut output = Output::default();
            output.push(b"half").expect("room");
            screen.write_pieces(&output, frame).expect("a vector");
            written(&mut screen)
        };
        assert_eq!(told(b"first\n", None), "first\nhalf");
        assert_eq!(told(b"second\n", None), "\nsecond\nhalf");
        let frame = Frame("a".into());
        assert_eq!(told(b"third\n", Some(&frame)), "\nthird\na\r\x1b[Khalf\na");
        assert_eq!(told(b"fourth\n", None), "\r\x1b[Kfourth\nhalf");
    }
    #[test]
    fn while_the_terminal_is_anothers_nothing_is_drawn_and_nothing_taken_away() {
        static IS_OURS: AtomicBool = AtomicBool::new(true);
        let mut screen = Screen::new(Vec::new(), || IS_OURS.load(Ordering::Relaxed));
        let frame = Frame("a\nb".into());
        screen.write(b"one\n", Some(&frame)).expect("a vector");
        IS_OURS.store(false, Ordering::Relaxed);
        screen.write(b"two\n", Some(&frame)).expect("a vector");
        screen.write(b"", None).expect("a vector");
        let mut output = Output::default();
        output.push(b"three\n").expect("room");
        screen
            .write_pieces(&output, Some(&frame))
            .expect("a vector");
        assert_eq!(written(&mut screen), "one\na\nbtwo\nthree\n");
        IS_OURS.store(true, Ordering::Relaxed);
        screen.write(b"", Some(&frame)).expect("a vector");
        screen.write(b"four\n", None).expect("a vector");
        assert_eq!(written(&mut screen), "a\nb\r\x1b[K\x1b[1A\x1b[Kfour\n");
    }
}
