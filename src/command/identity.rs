//! Who a command is to the system: its user and groups, its process group, its session.
//! Unaware of the system calls behind them, and of signals.

use super::Command;
use crate::sys::Groups;

impl Command {
    /// Runs it as this user (setuid(2)). Default: the parent's. Needs `CAP_SETUID`, unless it is this process's real or
    /// saved user; else its start fails with [`StartStep::Uid`](crate::StartStep::Uid). Unless
    /// [`groups`](Command::groups) says otherwise, supplementary groups are dropped where this process may do that. A
    /// start with it waits for the program's exec.
    ///
    /// The traps: the group stays the parent's, unless [`gid`](Command::gid) sets it, too; and without `CAP_KILL`, this
    /// process may not signal a child of another user ([`wait_delay`](Command::wait_delay)).
    pub fn uid(&mut self, uid: u32) -> &mut Command {
        self.change(|command| command.attributes_mut().uid = Some(uid))
    }

    /// Runs it with this group (setgid(2)), which is set before the [user](Command::uid). Default: the parent's. Needs
    /// `CAP_SETGID`, unless it is this process's real or saved group; else its start fails with
    /// [`StartStep::Gid`](crate::StartStep::Gid). A start with it waits for the program's exec. The trap: supplementary
    /// groups are dropped, as with a user.
    pub fn gid(&mut self, gid: u32) -> &mut Command {
        self.change(|command| command.attributes_mut().gid = Some(gid))
    }

    /// Sets its supplementary groups (setgroups(2)). Default: the parent's, and none with a [user](Command::uid) or a
    /// [group](Command::gid), where this process may drop them. Takes [`keep_groups`](Command::keep_groups) back. Needs
    /// `CAP_SETGID`, else its start fails with [`StartStep::Groups`](crate::StartStep::Groups). The trap: an empty list
    /// is not the default: where groups cannot be dropped, it fails.
    pub fn groups(&mut self, groups: &[u32]) -> &mut Command {
        self.change(|command| command.attributes_mut().groups = Groups::Set(groups.to_vec()))
    }

    /// With `true`, leaves its supplementary groups as the parent's, also with a [user](Command::uid) or group set, and
    /// takes [`groups`](Command::groups) back (Go: `NoSetGroups`). Default: `false`.
    pub fn keep_groups(&mut self, keep: bool) -> &mut Command {
        self.change(|command| {
            let groups = &mut command.attributes_mut().groups;
            if keep {
                *groups = Groups::Keep;
            } else if *groups == Groups::Keep {
                *groups = Groups::default();
            }
        })
    }

    /// Puts it into the process group `group`; 0 makes a new one that it leads, and a number below 0 fails at the
    /// start. Default: the parent's. Terminal signals such as Ctrl-C then no longer reach it, and
    /// [`Cancel::to_group`](crate::Cancel::to_group) reaches its descendants.
    pub fn process_group(&mut self, group: i32) -> &mut Command {
        self.change(|command| command.attributes_mut().process_group = Some(group))
    }

    /// With `true`, makes it the leader of a new session, and so of a new group, without a terminal (setsid(2)).
    /// Default: `false`, it is in the parent's. Needs no privilege; what the system says against it is
    /// [`StartStep::Session`](crate::StartStep::Session). Another [`process_group`](Command::process_group) than 0
    /// beside it is refused at the start, which waits for the program's exec. The trap: Ctrl-C, Ctrl-Z and the hangup
    /// of this process's terminal no longer reach it, and its `/dev/tty` leads nowhere.
    pub fn session(&mut self, session: bool) -> &mut Command {
        self.change(|command| command.attributes_mut().session = session)
    }

    /// With `true`, whoever is left of its process group when it has exited is killed then, also after a normal end:
    /// what it has left in the background does not survive it. Default: `false`. It has to lead a group
    /// ([`process_group(0)`](Command::process_group) or [`session`](Command::session)), else its start is refused. The
    /// trap: a descendant with a group or session of its own is out of reach.
    pub fn sweep_group(&mut self, sweep: bool) -> &mut Command {
        self.change(|command| command.attributes_mut().sweeps_group = sweep)
    }
}
