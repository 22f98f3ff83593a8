//! A child in a cgroup of its own.
//! Unaware of how it gets there: it is born in it, or moves there where clone3(2) is refused.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use execloop::linux::{Cgroup as OwnCgroup, CommandExt, Namespaces};
use execloop::{Command, Finished, Input, Output, Reactor, StartError, StartStep};

use super::{calls, cat, fails, finish, is_root, open, print, skip};
use crate::start_error::start_error;

/// Where file systems of this kind are mounted; v2 may be mounted beside v1.
fn mounts(kind: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/mounts").expect("/proc/mounts");
    let places = text.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        (words.next()? == kind).then(|| PathBuf::from(place))
    });
    places.collect()
}

/// A cgroup of the test's own.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new(mount: &Path) -> io::Result<Cgroup> {
        let path = mount.join(format!("execloop-{}", std::process::id()));
        fs::create_dir(&path)?;
        Ok(Cgroup(path))
    }

    fn open(&self) -> File {
        File::open(&self.0).expect("it can be opened")
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

pub(super) fn placement(reactor: &mut Reactor) {
    let found = mounts("cgroup2");
    let Some(mount) = found.first().filter(|_| is_root()) else {
        return skip("cgroup v2 is not mounted, or not ours");
    };
    let cgroup = match Cgroup::new(mount) {
        Ok(cgroup) => cgroup,
        Err(error) => return skip(&format!("no cgroup can be made: {error}")),
    };
    let name = cgroup
        .0
        .file_name()
        .expect("a name")
        .to_str()
        .expect("text")
        .to_owned();
    let own = print(reactor, &mut cat("cgroup"));
    assert!(!own.contains(&name), "{own}");
    let mut placed = cat("cgroup");
    placed.cgroup(cgroup.open());
    // Twice: the directory stays open.
    for _ in 0..2 {
        let text = print(reactor, &mut placed);
        assert!(
            text.lines()
                .any(|line| line.starts_with("0::") && line.ends_with(&name)),
            "{text}"
        );
    }
    // The new namespace of cgroups has the child's as its root, where the child is born in it; a move comes after.
    let text = print(reactor, placed.unshare(Namespaces::CGROUP));
    assert!(text.lines().any(|line| line == "0::/"), "{text}");
    let procs = fs::read_to_string(cgroup.0.join("cgroup.procs")).expect("its processes");
    assert_eq!(procs, "");
    assert_eq!(print(reactor, &mut cat("cgroup")), own);

    let mut owns = cat("cgroup");
    let text = print(reactor, owns.own_cgroup(OwnCgroup::under(&cgroup.0)));
    let below = format!("{name}/execloop-");
    assert!(
        text.lines()
            .any(|line| line.starts_with("0::") && line.contains(&below)),
        "{text}"
    );

    forked_copy_removes_none(mount, &cgroup);

    // Its directory does not take the place of a stdin that is closed here.
    let directory = cgroup.open();
    let placed = calls::without_stdin(|| {
        let without = || {
            let mut command = Command::new("/bin/sh");
            command
                .args(["-c", "! test -e /proc/$$/fd/0"])
                .stdin(Input::inherit());
            command
        };
        let own = OwnCgroup::under(&cgroup.0);
        [
            finish(reactor, without().own_cgroup(own)),
            finish(reactor, without().cgroup(directory)),
        ]
    });
    assert!(placed.iter().all(Finished::success), "{placed:?}");

    let true_in = |directory: &str| {
        let mut command = Command::new("/bin/true");
        command.cgroup(open(directory));
        command
    };
    fails(
        reactor,
        &mut true_in("/tmp"),
        StartStep::Cgroup,
        libc::EBADF,
    );
    // The other hierarchy is none that a child can be born in.
    if let Some(old) = mounts("cgroup").first() {
        fails(
            reactor,
            &mut true_in(old.to_str().expect("text")),
            StartStep::Cgroup,
            libc::EBADF,
        );
    }
    let mut removed = Command::new("/bin/true");
    removed.cgroup(cgroup.open());
    drop(cgroup);
    let refused = start_error(reactor, &mut removed);
    assert!(
        matches!(
            refused,
            StartError::Step {
                step: StartStep::Cgroup,
                ..
            }
        ),
        "{refused}"
    );
    assert!(finish(reactor, &mut Command::new("/bin/true")).success());
}

/// A copy of this process that drops the reactor leaves the command's cgroup, and those below it, to the original.
fn forked_copy_removes_none(mount: &Path, cgroup: &Cgroup) {
    let mut reactor = Some(Reactor::new().expect("a reactor"));
    let script = "own=$1$(sed -n s/^0:://p /proc/self/cgroup); mkdir $own/below; echo made; \
        read go; test -d $own/below";
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", script, "sh"])
        .arg(mount)
        .own_cgroup(OwnCgroup::under(&cgroup.0))
        .stdin(Input::pipe())
        .stdout(Output::pipe());
    let running = reactor.as_mut().expect("it is here");
    let id = running.start(&mut command).expect("it starts");
    let mut made = [0; 5];
    let mut stdout = running.stdout(id).expect("its stdout");
    stdout.read_exact(&mut made).expect("it is made");
    calls::in_a_copy(|| drop(reactor.take()));
    let running = reactor.as_mut().expect("it is here");
    let mut stdin = running.stdin(id).expect("its stdin");
    stdin.write_all(b"go\n").expect("it reads");
    let done = running.wait(id).expect("waited").expect("finished");
    assert!(done.success(), "{:?}", done.outcome);
}
