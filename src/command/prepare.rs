//! From a `Command` to one start of it: what is refused before anything is tried, everything in the form that the kernel
//! wants, each stream split into the child's part and ours. Unaware of limits, queues and processes.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::{Command, Extra, PLAIN};
use crate::admission::{Cost, Patience};
use crate::cancel::Cancel;
use crate::context::Context;
use crate::data::Carried;
use crate::env::{Snapshot, resolve};
use crate::error::StartError;
use crate::job::{Policy, Streams};
use crate::queue::{Pool, Ticket};
use crate::stdio::{Duties, Input, Output};
use crate::sys::{CStrings, Launch, Namespaces, Program, Stdio, Stream, Target, nul_free};

/// What all starts of a command share, until it is changed.
#[derive(Clone)]
pub(super) struct Prepared {
    program: Arc<Program>,
    /// `None`: the parent's, from the reactor's snapshot.
    environment: Option<Arc<CStrings>>,
    policy: Arc<Policy>,
    cancel: Arc<Cancel>,
}

/// One start of a command: everything that the engine needs, and nothing borrowed.
pub(crate) struct Spec {
    pub(crate) launch: Launch,
    pub(crate) duties: Duties,
    pub(crate) policy: Arc<Policy>,
    pub(crate) cancel: Arc<Cancel>,
    pub(crate) context: Option<Context>,
    pub(crate) retry: Retry,
    pub(crate) cost: Cost,
    pub(crate) priority: i32,
    /// What its context's deadline leaves it from its start on, if the queue does not count.
    pub(crate) left: Option<Duration>,
    /// Where it stands in the queue.
    pub(crate) ticket: Option<Ticket>,
    /// Pipes of the caller's that he has closed while it waits for its start.
    pub(crate) closed: Streams,
    /// The reactor's end does not kill it.
    pub(crate) survives: bool,
}

impl Spec {
    /// Drops the caller's things, where the command will not be started: each for itself, as each may panic.
    pub(crate) fn drop_apart(self: Box<Spec>) {
        let Spec {
            mut duties, cancel, ..
        } = *self;
        for stream in Stream::ALL {
            duties.forget(stream);
        }
        cancel.let_go();
    }
}

/// What becomes of a start that fails for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retry {
    pub(crate) retries_text_busy: bool,
    /// How often its program's file was found busy.
    pub(crate) text_busy_tries: u32,
    /// What the kernel was short of when it was to start.
    pub(crate) patience: Patience,
}

impl Command {
    /// What one start needs, checked in Go's order: the program, the settings, the context, the streams, the
    /// environment.
    pub(crate) fn spec(&mut self, snapshot: &mut Snapshot) -> Result<Box<Spec>, StartError> {
        if self.program.is_empty() {
            return Err(StartError::NoCommand);
        }
        if let Some(error) = self.lookup_error() {
            return Err(StartError::LookPath(error.again()));
        }
        self.refuse_contradictions()?;
        if let Some(cause) = self.context.as_ref().and_then(Context::cause) {
            return Err(StartError::Stopped(cause));
        }
        self.refuse_consumed()?;
        let prepared = match &self.prepared {
            Some(prepared) if !self.has_moving_pwd() => prepared.clone(),
            _ => self.prepared.insert(self.prepare(snapshot)?).clone(),
        };
        let environment = prepared
            .environment
            .clone()
            .unwrap_or_else(|| snapshot.shared());
        let (mut stdio, mut duties) = self.take_streams();
        let mut extra = Vec::new();
        for (number, given) in &mut self.extra {
            let standard = usize::try_from(*number).ok();
            match standard.and_then(|number| Stream::ALL.get(number)) {
                None => extra.push((*number, given.take())),
                Some(stream) => {
                    // It can only be closed.
                    stdio[*stream as usize] = Stdio::Closed;
                    duties.forget(*stream);
                }
            }
        }
        let is_pipe = |stdio: &&Stdio| stdio.has_our_end();
        let cost = Cost {
            pipes: stdio.iter().filter(is_pipe).count() as u32,
            extra: extra.iter().filter(|(_, fd)| fd.is_some()).count() as u32,
            weight: self.weight,
            pool: Pool::COMMON,
        };
        Ok(Box::new(Spec {
            launch: Launch {
                program: prepared.program,
                environment,
                stdio,
                extra,
                cgroup: None,
                console: None,
            },
            duties,
            policy: prepared.policy,
            cancel: prepared.cancel,
            context: self.context.clone(),
            retry: Retry {
                retries_text_busy: self.retries_text_busy,
                text_busy_tries: 0,
                patience: Patience::default(),
            },
            cost,
            priority: self.priority,
            left: None,
            ticket: None,
            closed: Streams::default(),
            survives: self.survives,
        }))
    }

    /// Its `PWD` depends on where this process is when it starts.
    fn has_moving_pwd(&self) -> bool {
        let is_relative = |directory: &PathBuf| directory.is_relative();
        self.directory.as_ref().is_some_and(is_relative)
    }

    fn refuse_contradictions(&self) -> Result<(), StartError> {
        let kills_group = self.cancel.target == Target::Group;
        self.refuse_set(
            kills_group && !self.attributes.leads_group(),
            "a cancel to the group needs process_group(0) or session(true)",
        )?;
        self.refuse_set(
            self.policy.idle_timeout.is_some() && !self.can_hear_silence(),
            "an idle timeout needs output that passes through this process, and none that does not",
        )?;
        if !Arc::ptr_eq(&self.attributes, &PLAIN.attributes) {
            self.refuse_contradicting_attributes()?;
        }
        self.refuse_false_terminals()?;
        self.refuse_set(
            self.environment.has_odd_name(),
            "the name of an environment variable is empty or contains '='",
        )?;
        self.refuse_odd_numbers()
    }

    fn refuse_contradicting_attributes(&self) -> Result<(), StartError> {
        let attributes = &self.attributes;
        self.refuse_set(
            attributes.sweeps_group && !attributes.leads_group(),
            "a group to sweep needs process_group(0) or session(true)",
        )?;
        self.refuse_set(
            attributes.cgroup.is_some() && attributes.own_cgroup.is_some(),
            "a cgroup of its own and another one exclude each other",
        )?;
        let rejoins =
            attributes.session && attributes.process_group.is_some_and(|group| group != 0);
        self.refuse_set(
            rejoins,
            "a session leader cannot join another process group",
        )?;
        let both = attributes.foreground.is_some() && attributes.controlling_terminal.is_some();
        self.refuse_set(
            both,
            "foreground and a new controlling terminal exclude each other",
        )?;
        let no_session = attributes.controlling_terminal.is_some() && !attributes.session;
        self.refuse_set(no_session, "a controlling terminal needs session(true)")?;
        let goes_elsewhere = attributes.session
            || attributes.process_group.is_some_and(|group| group != 0)
            || attributes.foreground.is_some()
            || attributes.leave_terminal;
        self.refuse_set(
            attributes.console && goes_elsewhere,
            "the console is for a group of the command's own, in this session",
        )?;
        let has_number = |number| {
            let extra = self.extra.iter().find(|(other, _)| *other == number);
            match extra {
                Some((_, extra)) => !matches!(extra, Extra::Closed),
                None => (0..3).contains(&number) || attributes.inherit_fds,
            }
        };
        let terminal = attributes.controlling_terminal;
        self.refuse_set(
            terminal.is_some_and(|number| !has_number(number)),
            "the controlling terminal is no descriptor of the command",
        )?;
        self.refuse_set(
            attributes.session && attributes.foreground.is_some(),
            "a new session has no terminal whose foreground it could take",
        )?;
        let born = attributes.namespaces.contains(Namespaces::USER);
        let enters = attributes.unshare.contains(Namespaces::USER);
        self.refuse_set(
            attributes.has_id_maps() && born == enters,
            "id maps need one new user namespace",
        )
    }

    fn refuse_odd_numbers(&self) -> Result<(), StartError> {
        let negative = self.extra.iter().any(|(number, _)| *number < 0);
        self.refuse_set(negative, "an extra descriptor's number is negative")?;
        let low =
            |extra: &(i32, Extra)| (0..3).contains(&extra.0) && !matches!(extra.1, Extra::Closed);
        self.refuse_set(
            self.extra.iter().any(low),
            "descriptors 0, 1 and 2 are set by stdin, stdout and stderr",
        )
    }

    pub(crate) fn refuse_set(&self, is_set: bool, why: &'static str) -> Result<(), StartError> {
        if is_set {
            Err(StartError::Refused(why))
        } else {
            Ok(())
        }
    }

    /// A terminal is read and typed into by this process, and stdin's is that of stdout.
    fn refuse_false_terminals(&self) -> Result<(), StartError> {
        let outputs = [&self.stdout, &self.stderr];
        let mut terminals = outputs
            .into_iter()
            .flatten()
            .filter(|output| output.is_terminal());
        self.refuse_set(
            terminals.any(|output| output.passes_through() != Some(true)),
            "a terminal is for an output that this process reads",
        )?;
        let Some(input) = self.stdin.as_ref().filter(|input| input.is_typed()) else {
            return Ok(());
        };
        let is_closed = |(number, extra): &(i32, Extra)| {
            (0..2).contains(number) && matches!(extra, Extra::Closed)
        };
        let has_terminal = self.stdout.as_ref().is_some_and(Output::is_terminal);
        self.refuse_set(
            input.comes_from_elsewhere(),
            "what is typed into a terminal comes from this process",
        )?;
        self.refuse_set(
            !has_terminal || self.extra.iter().any(is_closed),
            "stdin can be on a terminal only where stdout is on one",
        )
    }

    /// The caller is to read or write one of its streams himself.
    pub(crate) fn has_callers_pipe(&self) -> bool {
        !self.lends().is_empty()
    }

    /// Those streams.
    pub(crate) fn lends(&self) -> Streams {
        let is_pipe = |output: &Option<Output>| output.as_ref().is_some_and(Output::is_pipe);
        let lent = [
            self.stdin.as_ref().is_some_and(Input::is_pipe),
            is_pipe(&self.stdout),
            is_pipe(&self.stderr) && !self.stderr_to_stdout,
        ];
        let mut streams = Streams::default();
        for (stream, _) in Stream::ALL
            .into_iter()
            .zip(lent)
            .filter(|(_, is_lent)| *is_lent)
        {
            streams.insert(stream);
        }
        streams
    }

    /// All that it writes can be seen, or goes to `/dev/null`.
    fn can_hear_silence(&self) -> bool {
        let outputs = [&self.stdout, &self.stderr].into_iter().flatten();
        let mut passes_through = outputs.filter_map(Output::passes_through).peekable();
        passes_through.peek().is_some() && passes_through.all(|passes| passes)
    }

    /// Before anything is taken: a refused start takes nothing.
    fn refuse_consumed(&self) -> Result<(), StartError> {
        let refuse = |stream: String| Err(StartError::Consumed { stream });
        if self.stdin.as_ref().is_some_and(Input::is_consumed) {
            return refuse("stdin".to_owned());
        }
        for (output, name) in [(&self.stdout, "stdout"), (&self.stderr, "stderr")] {
            if output.as_ref().is_some_and(Output::is_consumed) {
                return refuse(name.to_owned());
            }
        }
        if matches!(self.data, Carried::Consumed) {
            return refuse("data".to_owned());
        }
        let is_consumed = |(_, extra): &&(i32, Extra)| matches!(extra, Extra::Consumed);
        match self.extra.iter().find(is_consumed) {
            Some((number, _)) => refuse(format!("extra descriptor {number}")),
            None => Ok(()),
        }
    }

    fn prepare(&self, snapshot: &mut Snapshot) -> Result<Prepared, StartError> {
        let nul = |what: &str| StartError::Nul {
            what: what.to_owned(),
        };
        let mut attributes = Arc::clone(&self.attributes);
        if let Some(root) = &self.chroot {
            let root = nul_free(root.as_os_str()).ok_or_else(|| nul("root directory"))?;
            Arc::make_mut(&mut attributes).chroot = Some(root);
        }
        if attributes.console {
            Arc::make_mut(&mut attributes).process_group = Some(0);
        }
        let directory = match &self.directory {
            Some(directory) => {
                Some(nul_free(directory.as_os_str()).ok_or_else(|| nul("directory"))?)
            }
            None => None,
        };
        let argv = CStrings::new(self.argv()).ok_or_else(|| self.string_with_nul())?;
        let found = if self.arg0.is_none() && self.found.is_none() {
            None
        } else {
            let path = self.resolved_path().as_os_str();
            Some(nul_free(path).ok_or_else(|| nul("program"))?)
        };
        let environment = self.prepare_environment(snapshot)?;
        Ok(Prepared {
            program: Arc::new(Program {
                found,
                argv,
                directory,
                attributes,
            }),
            environment,
            policy: self.prepare_policy(),
            cancel: Arc::clone(&self.cancel),
        })
    }

    /// With what the other settings mean to it.
    fn prepare_policy(&self) -> Arc<Policy> {
        let mut policy = Arc::clone(&self.policy);
        let kills_group = self.cancel.target == Target::Group;
        let sweeps_group = self.attributes.sweeps_group;
        let ignores_context = self.cancel.is_nothing();
        if kills_group || sweeps_group || ignores_context || !self.cancel.rungs.is_empty() {
            let policy = Arc::make_mut(&mut policy);
            policy.ignores_context = ignores_context;
            policy.kills_group = kills_group;
            policy.sweeps_group = sweeps_group;
            policy.rungs = self.cancel.rungs.iter().map(|(after, _)| *after).collect();
        }
        policy
    }

    fn string_with_nul(&self) -> StartError {
        let has_nul = |string: &OsStr| string.as_encoded_bytes().contains(&0);
        let what = match self.argv().position(has_nul) {
            Some(position) if !has_nul(self.resolved_path().as_os_str()) => {
                format!("argument {position}")
            }
            _ => "program".to_owned(),
        };
        StartError::Nul { what }
    }

    /// `None` where all commands that change nothing can share one.
    fn prepare_environment(
        &self,
        snapshot: &mut Snapshot,
    ) -> Result<Option<Arc<CStrings>>, StartError> {
        let pwd = if self.environment.is_inherited() {
            self.pwd()?
        } else {
            None
        };
        if self.environment.is_unchanged() && pwd.is_none() {
            return Ok(None);
        }
        let (entries, has_nul) = resolve(
            snapshot.entries(),
            &self.environment,
            pwd.as_deref().map(Path::as_os_str),
        );
        let block = CStrings::new(entries.iter().map(AsRef::as_ref)).filter(|_| !has_nul);
        let block = block.ok_or_else(|| StartError::Nul {
            what: "environment".to_owned(),
        })?;
        Ok(Some(Arc::new(block)))
    }

    /// The absolute path of the directory set, for `PWD`. POSIX wants that without `..`, and behind a symbolic link
    /// only the file system knows where `..` leads. A directory that is not there is left to chdir(2), which says so.
    pub(super) fn pwd(&self) -> Result<Option<PathBuf>, StartError> {
        let Some(path) = &self.directory else {
            return Ok(None);
        };
        let goes_up = path.components().any(|part| part == Component::ParentDir);
        if goes_up
            && self.chroot.is_none()
            && let Ok(real) = path.canonicalize()
        {
            return Ok(Some(real));
        }
        match std::path::absolute(path) {
            Ok(absolute) => Ok(Some(absolute.components().collect())),
            Err(source) => Err(StartError::Directory {
                path: path.clone(),
                source,
            }),
        }
    }

    /// Splits each stream into what the child gets and what we do with our end.
    fn take_streams(&mut self) -> ([Stdio; 3], Duties) {
        let nothing = (Stdio::Null, None);
        let (in_stdio, stdin) = self.stdin.as_mut().map_or(nothing, Input::take);
        let take = |output: &mut Option<Output>| match output {
            Some(output) => output.take(),
            None => (Stdio::Null, None),
        };
        let (out_stdio, stdout) = take(&mut self.stdout);
        let (err_stdio, stderr) = if self.stderr_to_stdout {
            (Stdio::SameAsStdout, None)
        } else {
            take(&mut self.stderr)
        };
        let duties = Duties {
            stdin,
            stdout,
            stderr,
        };
        ([in_stdio, out_stdio, err_stdio], duties)
    }
}

impl Extra {
    /// The descriptor, for one start.
    fn take(&mut self) -> Option<OwnedFd> {
        match std::mem::replace(self, Extra::Consumed) {
            Extra::File(file) => Some(file),
            other => {
                *self = other;
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_start_looks_at_anew_leaves_what_is_prepared() {
        let mut snapshot = Snapshot::default();
        let mut command = Command::new("/bin/true");
        command.env("A", "1");
        let mut prepared = |command: &mut Command| {
            let spec = command
                .spec(&mut snapshot)
                .expect("nothing is wrong with it");
            (spec.launch.program, spec.launch.environment)
        };
        let first = prepared(&mut command);
        command
            .stdin(Input::bytes(*b"x"))
            .stdout(Output::capture())
            .context(&Context::new())
            .priority(3);
        let second = prepared(&mut command);
        assert!(Arc::ptr_eq(&first.0, &second.0) && Arc::ptr_eq(&first.1, &second.1));
        command.arg("x");
        assert!(!Arc::ptr_eq(&first.0, &prepared(&mut command).0));
    }
}
