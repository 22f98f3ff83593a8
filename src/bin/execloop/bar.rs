//! Shows how a run stands: on a terminal by lines that stay at its bottom, elsewhere by a line now and then.
//! Unaware of how commands are run.
//!
//! indicatif makes the lines' text. The outbox draws them, between what else it writes, so that no command waits for a
//! terminal that has stopped.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};
use rustix::termios::{Winsize, tcgetwinsize};

use crate::clock;
use crate::outbox::Outbox;
use crate::progress::Progress;
use crate::screen::Frame;
use crate::sink::{Ended, Fate, Job, Sink};

/// A run that is over before this shows nothing.
const FIRST_AFTER: Duration = Duration::from_millis(300);
const DRAWN_EVERY: Duration = Duration::from_millis(100);
/// Lines come ever more slowly, so that a log of hours is not full of them.
const LINE_EVERY_FIRST: Duration = Duration::from_secs(1);
const LINE_EVERY_MAX: Duration = Duration::from_secs(30);
/// So many commands are shown by name.
const NAMES_MAX: usize = 3;
const BAR_COLUMNS: usize = 20;
/// Of a terminal that does not say.
const COLUMNS: u16 = 80;
const ROWS: u16 = 24;

/// `--progress`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    #[default]
    Auto,
    Always,
    Never,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// By lines at the bottom of the terminal.
    Drawn,
    /// By a line now and then.
    Lines,
}

impl Style {
    /// `None`: not at all. `is_calm`: no command writes on the terminal itself, and the user wants to see something. Whoever
    /// reads stdout by a pipe may write on the same terminal.
    pub(crate) fn of(when: When, is_calm: bool) -> Option<Style> {
        match (when, is_drawable()) {
            (When::Never, _) => None,
            (When::Auto, false) => None,
            (When::Auto, true) => (is_calm && !is_piped()).then_some(Style::Drawn),
            (When::Always, true) => Some(Style::Drawn),
            (When::Always, false) => Some(Style::Lines),
        }
    }
}

/// stderr is a terminal whose cursor can be moved.
fn is_drawable() -> bool {
    io::stderr().is_terminal()
        && std::env::var_os("TERM").is_some_and(|term| term != "dumb" && !term.is_empty())
}

fn is_piped() -> bool {
    let metadata = metadata(io::stdout().as_fd());
    metadata.is_some_and(|metadata| metadata.file_type().is_fifo())
}

pub(crate) fn metadata(fd: BorrowedFd<'_>) -> Option<Metadata> {
    File::from(fd.try_clone_to_owned().ok()?).metadata().ok()
}

/// Messages have colours. <https://no-color.org>: any value but an empty one means none.
pub(crate) fn has_colours() -> bool {
    is_drawable() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Text in red.
pub(crate) fn red(text: &str, has_colours: bool) -> String {
    let [begin, end] = red_marks(has_colours);
    format!("{begin}{text}{end}")
}

fn red_marks(has_colours: bool) -> [&'static str; 2] {
    if has_colours {
        ["\x1b[31m", "\x1b[0m"]
    } else {
        [""; 2]
    }
}

/// stdout and stderr are one terminal, pipe, file or socket: what is written to one stands between what is written to the
/// other.
pub(crate) fn is_one_target() -> bool {
    let (stdout, stderr) = (io::stdout(), io::stderr());
    let (Some(out), Some(err)) = (metadata(stdout.as_fd()), metadata(stderr.as_fd())) else {
        return false;
    };
    let is_one_file = (out.dev(), out.ino()) == (err.dev(), err.ino());
    // A terminal may have two names.
    let is_one_terminal = stdout.is_terminal() && stderr.is_terminal() && out.rdev() == err.rdev();
    is_one_file || is_one_terminal
}

/// The bar of one run. A clone is the same one.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    shared: Rc<RefCell<Shared>>,
}

#[derive(Debug)]
struct Shared {
    progress: Progress,
    outbox: Outbox,
    /// `None`: by lines.
    drawing: Option<Drawing>,
    next_at: Instant,
    line_every: Duration,
}

impl Bar {
    pub(crate) fn new(style: Style, has_colours: bool, outbox: Outbox, now: Instant) -> Bar {
        let (drawing, first_after) = match style {
            Style::Drawn => (Some(Drawing::new(has_colours)), FIRST_AFTER),
            Style::Lines => (None, LINE_EVERY_FIRST),
        };
        Bar {
            shared: Rc::new(RefCell::new(Shared {
                progress: Progress::new(now),
                outbox,
                drawing,
                next_at: now + first_after,
                line_every: LINE_EVERY_FIRST,
            })),
        }
    }

    /// How many commands there are.
    pub(crate) fn set_total(&self, total: u64) {
        self.shared.borrow_mut().progress.total = Some(total);
    }

    pub(crate) fn has_total(&self) -> bool {
        self.shared.borrow().progress.total.is_some()
    }

    /// Shows how it stands, if it is time for that. Returns after how long it is, the next time.
    pub(crate) fn show(&self, now: Instant) -> Duration {
        let mut shared = self.shared.borrow_mut();
        if shared.next_at <= now {
            shared.show(now);
        }
        shared.next_at.saturating_duration_since(now)
    }

    /// Takes it away. It is shown again when it is time.
    pub(crate) fn hide(&self) {
        self.shared.borrow().outbox.set_frame(None);
    }
}

impl Shared {
    fn show(&mut self, now: Instant) {
        let Some(drawing) = &self.drawing else {
            let counts = self.progress.counts(now, [""; 2]);
            self.outbox
                .push_message(format!("progress: {counts}\n").into_bytes());
            self.line_every = (self.line_every * 2).min(LINE_EVERY_MAX);
            self.next_at = now + self.line_every;
            return;
        };
        self.outbox
            .set_frame(Some(drawing.frame(&self.progress, now)));
        self.next_at = now + DRAWN_EVERY;
    }
}

impl Sink for Bar {
    fn skipped(&mut self) {
        self.shared.borrow_mut().progress.skipped();
    }

    fn started(&mut self, job: &Job) {
        let progress = &mut self.shared.borrow_mut().progress;
        progress.started(job.sequence, &job.shown, clock::now());
    }

    fn ended(&mut self, ended: &Ended<'_>) {
        let progress = &mut self.shared.borrow_mut().progress;
        progress.ended(ended.job.sequence, matches!(ended.fate, Fate::Failed(_)));
    }

    fn close(&mut self) {
        self.hide();
    }
}

/// Makes lines of it.
#[derive(Debug)]
struct Drawing {
    bar: ProgressBar,
    paper: Paper,
    text: Arc<Mutex<Vec<String>>>,
    has_colours: bool,
    /// What the style was made for: the columns, the lines, and whether there is a bar.
    layout: RefCell<Option<(u16, usize, bool)>>,
}

impl Drawing {
    fn new(has_colours: bool) -> Drawing {
        let paper = Paper::default();
        let target = ProgressDrawTarget::term_like(Box::new(paper.clone()));
        Drawing {
            bar: ProgressBar::with_draw_target(Some(0), target),
            paper,
            text: Arc::default(),
            has_colours,
            layout: RefCell::new(None),
        }
    }

    fn frame(&self, progress: &Progress, now: Instant) -> Frame {
        let mut text = vec![progress.counts(now, red_marks(self.has_colours))];
        let size = size();
        let names = NAMES_MAX.min(usize::from(size.ws_row) - 1);
        text.extend(progress.longest(names, now));
        let layout = (size.ws_col, text.len(), progress.total.is_some());
        *lock(&self.text) = text;
        if self.layout.replace(Some(layout)) != Some(layout) {
            self.bar.set_style(self.style(layout));
        }
        lock(&self.paper.lines).clear();
        lock(&self.paper.columns).clone_from(&layout.0);
        self.bar.update(|state| {
            state.set_len(progress.total.unwrap_or(0));
            state.set_pos(progress.done());
        });
        Frame(lock(&self.paper.lines).join("\n").into())
    }

    /// Each line is cut off before the terminal's edge.
    fn style(&self, (columns, lines, has_bar): (u16, usize, bool)) -> ProgressStyle {
        let room = usize::from(columns).saturating_sub(1).max(1);
        let mut template = String::new();
        let mut rest = room;
        if has_bar && room > 3 * BAR_COLUMNS {
            rest = room - BAR_COLUMNS - 3;
            let _ = write!(template, "[{{bar:{BAR_COLUMNS}}}] ");
        }
        for line in 0..lines {
            let newline = if line == 0 { "" } else { "\n" };
            let _ = write!(template, "{newline}{{line{line}:{rest}!}}");
            rest = room;
        }
        let style = ProgressStyle::with_template(&template).expect("the template is right");
        (0..lines).fold(style.progress_chars("=> "), |style, line| {
            let text = Arc::clone(&self.text);
            let key: &'static str = ["line0", "line1", "line2", "line3"][line];
            style.with_key(key, move |_: &_, to: &mut dyn std::fmt::Write| {
                let _ = to.write_str(lock(&text).get(line).map_or("", String::as_str));
            })
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The terminal's. Both are at least 1.
fn size() -> Winsize {
    let size = tcgetwinsize(io::stderr()).ok();
    let told = |of: fn(&Winsize) -> u16| size.as_ref().map(of).filter(|number| *number > 0);
    Winsize {
        ws_col: told(|size| size.ws_col).unwrap_or(COLUMNS),
        ws_row: told(|size| size.ws_row).unwrap_or(ROWS),
        ws_xpixel: 0,
        ws_ypixel: 0,
    }
}

/// What indicatif takes for a terminal: keeps the lines, and nothing of how they would be placed.
#[derive(Clone, Debug, Default)]
struct Paper {
    lines: Arc<Mutex<Vec<String>>>,
    columns: Arc<Mutex<u16>>,
}

impl TermLike for Paper {
    fn width(&self) -> u16 {
        *lock(&self.columns)
    }

    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(line)
    }

    /// Blanks fill a line up, which its erasure does already.
    fn write_str(&self, text: &str) -> io::Result<()> {
        let line = text.trim_end();
        if !line.is_empty() {
            lock(&self.lines).push(line.to_owned());
        }
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_bar_the_counts_and_the_names_and_fits_the_terminal() {
        let since = clock::now();
        let now = since + Duration::from_secs(4);
        let mut progress = Progress::new(since);
        progress.started(1, "cc -c a.c", since);
        progress.started(2, &"ä日".repeat(100), since);
        let drawing = Drawing::new(false);
        let lines = |progress: &Progress| -> Vec<String> {
            let frame = drawing.frame(progress, now);
            frame.0.split('\n').map(str::to_owned).collect()
        };
        let drawn = lines(&progress);
        assert_eq!(drawn[..2], ["0 done, 2 running", "   4.00s  cc -c a.c"]);
        // 79 columns, of which each second character takes two.
        assert_eq!(drawn[2].chars().count(), 10 + 46);
        progress.ended(2, false);
        progress.total = Some(2);
        let drawn = lines(&progress);
        let bar = "[==========>         ] 1/2 done, 1 running, 0.2/s, 4.00s left";
        assert_eq!(drawn, [bar, "   4.00s  cc -c a.c"]);
    }
}
