//! A `Command` once more: its clone, and one start of it as a command of its own.
//! Unaware of what a start needs.

use super::{Command, Extra};
use crate::stdio::{Input, Output};

/// What it has for one start stays with the original: see [`Command`], "Once more".
impl Clone for Command {
    fn clone(&self) -> Command {
        let again = |(number, extra): &(i32, Extra)| match extra {
            Extra::Closed => (*number, Extra::Closed),
            Extra::File(_) | Extra::Consumed => (*number, Extra::Consumed),
        };
        Command {
            program: self.program.clone(),
            found: self.found.clone(),
            lookup_error: self
                .lookup_error
                .as_ref()
                .map(|error| Box::new(error.again())),
            allows_dot: self.allows_dot,
            arg0: self.arg0.clone(),
            args: self.args.clone(),
            environment: self.environment.clone(),
            directory: self.directory.clone(),
            stdin: self.stdin.as_ref().map(|input| input.again()),
            stdout: self.stdout.as_ref().map(|output| output.again()),
            stderr: self.stderr.as_ref().map(|output| output.again()),
            stderr_to_stdout: self.stderr_to_stdout,
            extra: self.extra.iter().map(again).collect(),
            attributes: self.attributes.clone(),
            chroot: self.chroot.clone(),
            context: self.context.clone(),
            cancel: self.cancel.clone(),
            policy: self.policy.clone(),
            retries_text_busy: self.retries_text_busy,
            data: self.data.again(),
            pool: self.pool.clone(),
            priority: self.priority,
            weight: self.weight,
            counts_queue: self.counts_queue,
            survives: self.survives,
            prepared: self.prepared.clone(),
        }
    }
}

/// One start of it: what it has for one start goes along. See [`Command`], "Once more".
impl From<&mut Command> for Command {
    fn from(command: &mut Command) -> Command {
        let mut start = command.clone();
        start.stdin = command.stdin.as_mut().map(Input::hand_over);
        start.stdout = command.stdout.as_mut().map(Output::hand_over);
        start.stderr = command.stderr.as_mut().map(Output::hand_over);
        for ((_, taken), (_, extra)) in start.extra.iter_mut().zip(&mut command.extra) {
            if let Extra::File(_) = extra {
                *taken = std::mem::replace(extra, Extra::Consumed);
            }
        }
        start.data = command.data.take();
        start
    }
}
