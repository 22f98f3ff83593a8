//! Text that scrolls by, and below it some lines that are drawn anew, as a bar of progress is: on a terminal the lines are
//! taken away before each piece of text, and put below it.
//! Unaware of what the lines say.

use std::io::{self, Write};
use std::sync::Arc;

use crate::output::Output;

/// Lines without a newline behind the last. None is wider than the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame(pub(crate) Arc<str>);

#[derive(Debug)]
pub(crate) struct Screen<W> {
    to: W,
    /// So many lines are drawn at present.
    drawn: usize,
    /// What was written last does not end its line.
    is_mid_line: bool,
}

impl<W: Write> Screen<W> {
    pub(crate) fn new(to: W) -> Screen<W> {
        Screen {
            to,
            drawn: 0,
            is_mid_line: false,
        }
    }

    /// Writes text, and the frame below it.
    pub(crate) fn write(&mut self, text: &[&[u8]], frame: Option<&Frame>) -> io::Result<()> {
        if self.drawn == 0 && frame.is_none() {
            return text.iter().try_for_each(|text| self.to.write_all(text));
        }
        // In one piece, as a terminal shows what it has.
        let mut all = self.erase();
        for text in text {
            self.look_at(text);
            all.extend_from_slice(text);
        }
        self.draw(frame, &mut all);
        self.to.write_all(&all)
    }

    /// The same of a command's output, which may be large.
    pub(crate) fn write_pieces(&mut self, text: &Output, frame: Option<&Frame>) -> io::Result<()> {
        if self.drawn == 0 && frame.is_none() {
            return text.for_each_piece(|piece| self.to.write_all(piece));
        }
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

    /// The cursor stands behind the last line drawn.
    fn erase(&mut self) -> Vec<u8> {
        match std::mem::take(&mut self.drawn) {
            0 => Vec::new(),
            1 => b"\r\x1b[J".to_vec(),
            lines => format!("\r\x1b[{}A\x1b[J", lines - 1).into_bytes(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn written(screen: &mut Screen<Vec<u8>>) -> String {
        String::from_utf8(std::mem::take(&mut screen.to)).expect("text")
    }

    #[test]
    fn lines_stand_below_the_text_and_are_taken_away_before_more() {
        let mut screen = Screen::new(Vec::new());
        let frame = |lines: &str| Some(Frame(lines.into()));
        screen.write(&[b"plain"], None).expect("a vector");
        assert_eq!(written(&mut screen), "plain");
        screen
            .write(&[b"text\n"], frame("a\nb").as_ref())
            .expect("a vector");
        assert_eq!(written(&mut screen), "text\na\nb");
        screen.write(&[], frame("c").as_ref()).expect("a vector");
        assert_eq!(written(&mut screen), "\r\x1b[1A\x1b[Jc");
        let mut output = Output::default();
        output.push(b"half").expect("room");
        screen
            .write_pieces(&output, frame("d").as_ref())
            .expect("a vector");
        assert_eq!(written(&mut screen), "\r\x1b[Jhalf\nd");
        screen.write(&[b"last\n"], None).expect("a vector");
        assert_eq!(written(&mut screen), "\r\x1b[Jlast\n");
        screen.write_pieces(&output, None).expect("a vector");
        assert_eq!(written(&mut screen), "half");
    }
}
