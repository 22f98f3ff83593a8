//! Starts side by side: `starts TABLE ..` runs the peers of a table in turn, in one run, and prints their medians.
//! Unaware of how each peer works.
//!
//! TABLE: `W1-4`, `W2-16`: short commands with null streams, or captured, so many at once. `W3`: sleepers, until all have
//! executed. `W6-4`: short commands beside an endless writer. `turns`: how long starts hold their thread. `program`: `execloop
//! run` beside xargs, `lines`: its `--stream` beside GNU parallel. After `busy:` a process computes on each core meanwhile.
//!
//! `ROUNDS` (9): how often each peer runs, in an order that rotates. `COUNT`: commands each time. `ONLY=a,b`: these peers.
//! x is the median of each round's ratio to the first peer. A peer that cannot be built or found is left out, which is said.
#![allow(unsafe_code, reason = "getrusage has no safe wrapper")]
#![expect(clippy::disallowed_methods, reason = "it reads the clock")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use children::Children;
use peers::Outcome;

mod children;
mod peers;
#[path = "starts/runs.rs"]
mod runs;

/// What a peer's run gives, one figure for each column.
type Figures = Vec<f64>;

/// `all CPU` counts what the children took, too.
const TIMES: &[&str] = &["wall us", "CPU us"];
const PROGRAM_TIMES: &[&str] = &["wall ms", "all CPU ms"];

fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["spin", core] => {
            stay_on(core.parse()?)?;
            spin()
        }
        [
            "one",
            peer,
            workload,
            count,
            at_once,
            program,
            ref writer @ ..,
        ] => {
            let run = runs::Run {
                count: count.parse()?,
                at_once: at_once.parse()?,
                program: Path::new(program),
                writer: writer.first().map(Path::new),
            };
            let figures = run.by(peer, workload)?;
            let figures: Vec<_> = figures.iter().map(f64::to_string).collect();
            println!("{}", figures.join(" "));
            Ok(())
        }
        [] => Err("starts [busy:]TABLE ..; its first lines say more".into()),
        _ => {
            let place = Place::new()?;
            words.iter().try_for_each(|table| place.table(table))
        }
    }
}

fn number(name: &str, otherwise: usize) -> Outcome<usize> {
    match std::env::var(name) {
        Ok(value) => Ok(value.parse()?),
        Err(_) => Ok(otherwise),
    }
}

/// What the peers run, and the peers that are no part of this program.
struct Place {
    children: Children,
    blast: PathBuf,
    own: PathBuf,
    bare: Option<PathBuf>,
    go: Option<PathBuf>,
}

impl Place {
    fn new() -> Outcome<Place> {
        let children = Children::new()?;
        let own = std::env::current_exe()?;
        // 1 TiB does not end in time.
        let blast = children.blast(1 << 40)?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers");
        let bare = own.with_file_name("starts-bare");
        let mut compile = Command::new("cc");
        compile.args(["-O2", "-fno-stack-protector", "-w", "-o"]);
        compile.arg(&bare).arg(sources.join("bare.c"));
        let go = own.with_file_name("starts-go");
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(&go);
        build.arg(sources.join("peer.go")).env("GO111MODULE", "off");
        Ok(Place {
            children,
            blast,
            own,
            bare: is_done(compile).then_some(bare),
            go: is_done(build).then_some(go),
        })
    }

    fn table(&self, name: &str) -> Outcome<()> {
        let (is_busy, what) = match name.strip_prefix("busy:") {
            Some(what) => (true, what),
            None => (false, name),
        };
        let (workload, at_once) = what.split_once('-').unwrap_or((what, "16"));
        let (count, columns): (usize, &[&str]) = match workload {
            "W1" | "W2" => (2000, TIMES),
            "W3" => (1000, TIMES),
            "W6" => (1000, &["p50 us", "p99 us"]),
            "turns" => (1000, &["p50 us", "p99 us", "longest us"]),
            "program" => (2000, PROGRAM_TIMES),
            "lines" => (500_000, PROGRAM_TIMES),
            _ => return Err(format!("no table {name}").into()),
        };
        let count = number("COUNT", count)?;
        let rounds = number("ROUNDS", 9)?;
        let only = std::env::var("ONLY").ok();
        let is_asked = |peer: &str| {
            only.as_ref()
                .is_none_or(|only| only.split(',').any(|name| name == peer))
        };
        let mut peers: Vec<(&str, Command)> = self.peers(workload, count, at_once)?;
        peers.retain(|(peer, _)| is_asked(peer));
        let _load = is_busy.then(|| Load::new(&self.own)).transpose()?;
        let is_program = columns == PROGRAM_TIMES;
        let mut figures: Vec<Vec<Figures>> = vec![Vec::new(); peers.len()];
        for round in 0..rounds {
            for turn in 0..peers.len() {
                let which = (round + turn) % peers.len();
                let (peer, command) = &mut peers[which];
                let told = if is_program {
                    program(command)
                } else {
                    told(command)
                };
                figures[which].push(told.map_err(|error| format!("{peer}: {error}"))?);
            }
        }
        println!("\n{name}: {count} commands, {rounds} rounds\n");
        let names: Vec<_> = peers.iter().map(|(peer, _)| *peer).collect();
        print(&names, columns, &figures);
        Ok(())
    }

    fn peers(
        &self,
        workload: &str,
        count: usize,
        at_once: &str,
    ) -> Outcome<Vec<(&'static str, Command)>> {
        if workload == "program" || workload == "lines" {
            return self.programs(workload, count);
        }
        let child = match workload {
            "W1" | "turns" => &self.children.nop,
            "W3" => &self.children.pause,
            _ => &self.children.say,
        };
        let finish = |mut command: Command, leading: &[&str]| {
            command.args(leading).args([workload, &count.to_string()]);
            command.arg(at_once).arg(child);
            if workload == "W6" {
                command.arg(&self.blast);
            }
            command
        };
        let mut peers = Vec::new();
        let has_bare = matches!(workload, "W1" | "W2" | "W3" | "W6");
        if let Some(bare) = self.bare.as_ref().filter(|_| has_bare) {
            peers.push(("vfork", finish(Command::new(bare), &["vfork"])));
            if workload == "W1" {
                peers.push(("pidfd", finish(Command::new(bare), &["pidfd"])));
            }
            peers.push(("nowait", finish(Command::new(bare), &["nowait"])));
        }
        let inside: &[&str] = match workload {
            "W1" | "W2" => &["execloop", "std", "tokio", "async-process"],
            _ => &["execloop", "std"],
        };
        for peer in inside {
            peers.push((peer, finish(Command::new(&self.own), &["one", peer])));
        }
        if let Some(go) = self.go.as_ref().filter(|_| matches!(workload, "W1" | "W2")) {
            peers.push(("go", finish(Command::new(go), &[])));
        }
        Ok(peers)
    }

    fn programs(&self, workload: &str, count: usize) -> Outcome<Vec<(&'static str, Command)>> {
        let ours = self
            .own
            .parent()
            .and_then(Path::parent)
            .map(|up| up.join("execloop"));
        let ours = ours.filter(|path| path.exists());
        let ours = ours.ok_or("build the program first: cargo build --release --features cli")?;
        let directory = self.children.nop.parent().ok_or("no directory")?;
        let list = directory.join("list");
        let mut run = Command::new(ours);
        run.args(["run", "-q", "-j", "4"]);
        let mut peers = Vec::new();
        if workload == "program" {
            fs::write(
                &list,
                format!("{}\n", self.children.nop.display()).repeat(count),
            )?;
            run.arg(&list);
            peers.push(("execloop", run));
            let mut xargs = Command::new("xargs");
            xargs.args(["-P", "4", "-I{}", "-a"]).arg(&list);
            xargs.args(["/bin/sh", "-c", "{}"]);
            peers.push(("xargs", xargs));
        } else {
            fs::write(&list, format!("seq {}\n", count / 4).repeat(4))?;
            run.arg("--stream").arg(&list);
            peers.push(("execloop", run));
            let mut parallel = Command::new("parallel");
            parallel.args(["-j", "4", "--line-buffer", "--tag", "-a"]);
            peers.push(("parallel", {
                parallel.arg(&list);
                parallel
            }));
        }
        peers.retain(|(name, command)| {
            let mut asked = Command::new(command.get_program());
            asked.arg("--version");
            *name == "execloop" || is_done(asked)
        });
        Ok(peers)
    }
}

/// Runs what may be missing.
fn is_done(mut command: Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let is_done = command.status().is_ok_and(|status| status.success());
    if !is_done {
        eprintln!("left out, as this failed: {command:?}");
    }
    is_done
}

/// The figures that a run prints.
fn told(command: &mut Command) -> Outcome<Figures> {
    let output = command.stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let figures = text.split_whitespace().map(str::parse);
    Ok(figures.collect::<Result<_, _>>()?)
}

/// The times of a whole program, whose lines a pipe takes away.
fn program(command: &mut Command) -> Outcome<Figures> {
    let used = runs::cpu_us(libc::RUSAGE_CHILDREN)?;
    let start = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = child.stdout.take().ok_or("no pipe")?;
    std::io::copy(&mut lines, &mut std::io::sink())?;
    let status = child.wait()?;
    let wall = start.elapsed().as_secs_f64() * 1e3;
    if !status.success() {
        return Err(format!("{status}").into());
    }
    Ok(vec![
        wall,
        (runs::cpu_us(libc::RUSAGE_CHILDREN)? - used) / 1e3,
    ])
}

/// A process on each core that computes, until dropped. Where the scheduler may choose, it has all of them on one core for whole
/// runs, and another core is idle.
struct Load(Vec<Child>);

impl Load {
    fn new(own: &Path) -> Outcome<Load> {
        let mut load = Load(Vec::new());
        for core in cores()? {
            let mut spin = Command::new(own);
            spin.arg("spin").arg(core.to_string()).stdin(Stdio::piped());
            load.0.push(spin.spawn()?);
        }
        Ok(load)
    }
}

/// Those that this process may run on.
fn cores() -> Outcome<Vec<usize>> {
    // SAFETY: cpu_set_t is plain bits, for which zero is valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set has room for the answer.
    let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &raw mut set) };
    if result != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: the set is whole, and no number is beyond it.
    let is_in = |core: &usize| unsafe { libc::CPU_ISSET(*core, &set) };
    let all = 0..libc::CPU_SETSIZE as usize;
    Ok(all.filter(is_in).collect())
}

fn stay_on(core: usize) -> Outcome<()> {
    // SAFETY: cpu_set_t is plain bits, for which zero is valid.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: the set is whole; a number beyond it panics.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: the set is whole.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    if result != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    Ok(())
}

impl Drop for Load {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Computes until whoever started it is gone.
fn spin() -> ! {
    let parent = std::os::unix::process::parent_id();
    loop {
        for step in 0..10_000_000_u32 {
            std::hint::black_box(step);
        }
        if std::os::unix::process::parent_id() != parent {
            std::process::exit(0);
        }
    }
}

fn print(peers: &[&str], columns: &[&str], figures: &[Vec<Figures>]) {
    let titles = columns.iter().map(|title| format!(" {title} | x |"));
    println!("| |{}", titles.collect::<String>());
    println!("|---|{}", "---|---|".repeat(columns.len()));
    for (peer, rounds) in peers.iter().zip(figures) {
        print!("| {peer} |");
        for column in 0..columns.len() {
            let value = median(rounds.iter().map(|round| round[column]));
            let first = figures[0].iter().map(|round| round[column]);
            let ratios = rounds.iter().map(|round| round[column]).zip(first);
            print!(
                " {value:.1} | {:.2} |",
                median(ratios.map(|(own, first)| own / first))
            );
        }
        println!();
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
