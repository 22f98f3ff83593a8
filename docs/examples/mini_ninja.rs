//! ninja in miniature: makes what is out of date, as a `build.ninja` says, with ninja's options and output.
//!
//! `cargo run --example mini_ninja -- [-C DIR] [-f FILE] [-j N] [-k N] [-l LOAD] [TARGET ..]`
//!
//! Its own are the file and the plan. The library has the queue, pools, `-j`, `-l`, make's jobserver, output in one piece, and
//! Ctrl-C. Left out: ninja's log (an edited command is not run again), restat, subninja, dyndep, paths with spaces.

use execloop::jobserver::Jobserver;
use execloop::{Cancel, Command, Context, Error, Input, Output, Reactor, Signal};
use signal_hook::{consts::*, iterator::Signals};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};
use std::{env, fs, mem, path::Path, process::ExitCode, thread};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;
type Scope = HashMap<String, String>;

const WAIT_DELAY: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Edge {
    rule: String,
    scope: Scope,
    outputs: Vec<String>,
    /// Those that are `$in`, others, what a depfile adds, and what only has to be there before.
    inputs: [Vec<String>; 4],
    has_to_run: bool,
    waits_for: usize,
    users: Vec<usize>,
}

#[derive(Default)]
struct Build {
    scope: Scope,
    rules: HashMap<String, Scope>,
    pools: Vec<(String, usize)>,
    edges: Vec<Edge>,
    makers: HashMap<String, usize>,
    defaults: Vec<String>,
    /// When the files were changed that were visited; `None` if they are missing, or will be made.
    stamps: HashMap<String, Option<SystemTime>>,
    ready: VecDeque<usize>,
}

impl Build {
    fn read(&mut self, path: &str) -> Result<()> {
        let text = fs::read_to_string(path).map_err(|error| format!("{path}: {error}"))?;
        // Two dollars are one, later; one at the end of a line has it go on.
        let text = text.replace("$$", "\0");
        let parts = text.split("$\n").map(|part| part.trim_start_matches(' '));
        let text: String = parts.collect();
        let is_told = |line: &&str| !line.trim().is_empty() && !line.trim().starts_with('#');
        let lines: Vec<&str> = text.lines().filter(is_told).collect();
        for block in lines.chunk_by(|_, next| next.starts_with(' ')) {
            let stated = self.state(block[0], &block[1..]);
            stated.map_err(|error| format!("{path}: {}: {error}", block[0]))?;
        }
        Ok(())
    }

    fn state(&mut self, head: &str, block: &[&str]) -> Result<()> {
        let (word, rest) = head.split_once(' ').unwrap_or((head, ""));
        let (rest, mut edge) = (rest.trim(), Edge::default());
        let is_block = ["rule", "pool", "build", "default", "include"].contains(&word);
        for line in block.iter().chain((!is_block).then_some(&head)) {
            let (name, text) = line.split_once('=').ok_or("not understood")?;
            let (name, text) = (name.trim().to_owned(), text.trim_start());
            // A rule's are expanded for each of its edges.
            let value = Some(text.to_owned()).filter(|_| word == "rule");
            let value = value.unwrap_or_else(|| self.expand(text, &edge));
            edge.scope.insert(name, value);
        }
        match word {
            "rule" => drop(self.rules.insert(rest.to_owned(), edge.scope)),
            "pool" => (self.pools).push((rest.to_owned(), self.value("depth", &edge).parse()?)),
            "default" => self.defaults.extend(self.paths(rest, &edge)),
            "include" => self.read(&self.expand(rest, &edge))?,
            "build" => {
                let (outputs, rest) = rest.split_once(':').ok_or("no rule")?;
                let (rule, inputs) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
                let (inputs, before) = inputs.split_once("||").unwrap_or((inputs, ""));
                let (inputs, others) = inputs.split_once('|').unwrap_or((inputs, ""));
                edge.inputs = [inputs, others, "", before].map(|text| self.paths(text, &edge));
                edge.outputs = self.paths(&outputs.replace('|', " "), &edge);
                edge.rule = rule.to_owned();
                self.rules.get(rule).ok_or("no such rule")?;
                for output in &edge.outputs {
                    self.makers.insert(output.clone(), self.edges.len());
                }
                self.edges.push(edge);
            }
            _ => self.scope.extend(edge.scope),
        }
        Ok(())
    }

    fn paths(&self, text: &str, edge: &Edge) -> Vec<String> {
        let words = text.split_whitespace();
        words.map(|word| self.expand(word, edge)).collect()
    }

    /// Replaces `$name` and `${name}`.
    fn expand(&self, text: &str, edge: &Edge) -> String {
        let mut parts = text.split('$');
        let mut expanded = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let plain = part.find(|c| !is_name(c)).unwrap_or(part.len());
            let braced = part.strip_prefix('{').and_then(|part| part.split_once('}'));
            let (name, rest) = braced.unwrap_or(part.split_at(plain));
            expanded.extend([&self.value(name, edge), rest]);
        }
        expanded.replace('\0', "$")
    }

    fn value(&self, name: &str, edge: &Edge) -> String {
        let rule = self.rules.get(&edge.rule).and_then(|rule| rule.get(name));
        match (name, edge.scope.get(name), rule) {
            ("in", ..) => edge.inputs[0].join(" "),
            ("out", ..) => edge.outputs.join(" "),
            (_, None, Some(text)) => self.expand(text, edge),
            (_, own, _) => own.or(self.scope.get(name)).cloned().unwrap_or_default(),
        }
    }

    /// When a file was changed; `None` if it will be made: then it is known what has to run for that, and in which order.
    fn visit(&mut self, path: &String) -> Result<Option<SystemTime>> {
        if let Some(stamp) = self.stamps.get(path) {
            return Ok(*stamp);
        }
        let changed = |path| fs::metadata(path).and_then(|data| data.modified()).ok();
        let Some(&index) = self.makers.get(path) else {
            let stamp = changed(path);
            self.stamps.insert(path.clone(), stamp);
            let error = || format!("{path} is missing, and no rule makes it").into();
            return stamp.map(Some).ok_or_else(error);
        };
        self.stamps.insert(path.clone(), None);
        let edge = &self.edges[index];
        let (mut inputs, outputs) = (edge.inputs.clone(), edge.outputs.clone());
        let is_phony = edge.rule == "phony";
        let found = fs::read_to_string(self.value("depfile", edge)).unwrap_or_default();
        let found = found.split_whitespace().map(str::to_owned);
        let found = found.filter(|word| !word.ends_with([':', '\\']));
        // One that is gone is a reason to run it, and no error.
        let (found, gone): (_, Vec<_>) = found.partition(|path| self.visit(path).is_ok());
        inputs[2] = found;
        for input in inputs.iter().flatten() {
            self.visit(input)?;
            if let Some(maker) = self.makers.get(input) {
                self.edges[*maker].users.push(index);
                self.edges[index].waits_for += 1;
            }
        }
        let stamps = inputs[..3].iter().flatten().map(|input| self.stamps[input]);
        let is_changed = !gone.is_empty() || stamps.clone().any(|stamp| stamp.is_none());
        let newest = stamps.max().flatten();
        let stamps = outputs.iter().map(changed);
        let (oldest, latest) = (stamps.clone().min().flatten(), stamps.max().flatten());
        let is_old = (oldest.is_none() || oldest < newest) && !is_phony;
        // What is phony is as new as its inputs; without any, and without such a file, it is made anew each time.
        let stamp = newest.max(latest).filter(|_| !is_changed && !is_old);
        let made = outputs.into_iter().map(|output| (output, stamp));
        self.stamps.extend(made);
        self.edges[index].has_to_run = stamp.is_none() && !is_phony;
        let is_ready = self.edges[index].waits_for == 0;
        self.ready.extend(is_ready.then_some(index));
        Ok(stamp)
    }

    fn let_users_go(&mut self, index: usize) {
        for user in mem::take(&mut self.edges[index].users) {
            self.edges[user].waits_for -= 1;
            let is_ready = self.edges[user].waits_for == 0;
            self.ready.extend(is_ready.then_some(user));
        }
    }

    /// Runs what has to be run. Returns the exit status.
    fn run(&mut self, mut reactor: Reactor, failures_max: usize) -> Result<u8> {
        let total = self.edges.iter().filter(|edge| edge.has_to_run).count();
        let stop = Context::new();
        let (context, mut signals) = (stop.clone(), Signals::new([SIGHUP, SIGINT, SIGTERM])?);
        thread::spawn(move || signals.forever().for_each(|_| context.cancel()));
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").context(&stop).wait_delay(WAIT_DELAY);
        // A group of its own: the terminal's Ctrl-C is ours alone, and we pass it on. None of it outlives its shell.
        shell.process_group(0).sweep_group(true);
        shell.on_cancel(Cancel::signal(Signal::INT).to_group());
        // This one has the terminal, alone, with its Ctrl-C.
        let mut console = shell.clone();
        console.console(true).stdin(Input::inherit());
        console.stdout(Output::inherit()).stderr(Output::inherit());
        shell.stdout(Output::capture()).stderr_to_stdout(true);
        let (mut ids, mut done, mut failures, mut is_enough) = (Vec::new(), 0, 0, false);
        loop {
            while let Some(index) = self.ready.pop_front() {
                let edge = &self.edges[index];
                if !edge.has_to_run {
                    self.let_users_go(index);
                } else if !is_enough && stop.cause().is_none() {
                    for path in edge.outputs.iter().map(Path::new) {
                        let missing = path.parent().filter(|directory| !directory.is_dir());
                        missing.map_or(Ok(()), fs::create_dir_all)?;
                    }
                    let pool = self.value("pool", edge);
                    let kind = match pool.as_str() {
                        "console" => &console,
                        _ => shell.pool(&pool),
                    };
                    let mut command = kind.clone();
                    command.arg(self.value("command", edge));
                    ids.push(reactor.submit(command.data(index)));
                }
            }
            let finished = reactor.wait_any()?;
            let Some(mut finished) = finished else { break };
            let index: usize = finished.take_data().expect("its edge");
            let edge = &self.edges[index];
            if finished.outcome.is_err() && finished.pid.is_some() {
                // What is made in part is not to look as if it were made.
                let _: Vec<_> = edge.outputs.iter().map(fs::remove_file).collect();
            }
            match &finished.outcome {
                Err(Error::Exit(exit)) if exit.signal() == Some(Signal::INT) => stop.cancel(),
                _ => {}
            }
            if stop.cause().is_some() || (is_enough && finished.pid.is_none()) {
                continue;
            }
            done += 1;
            let [title, command] = ["description", "command"].map(|name| self.value(name, edge));
            let title = if title.is_empty() { &command } else { &title };
            let mut text = format!("[{done}/{total}] {title}\n");
            if let Err(error) = &finished.outcome {
                text += &format!("FAILED: {}: {error}\n{command}\n", edge.outputs.join(" "));
                failures += 1;
                is_enough |= failures == failures_max;
            } else {
                self.let_users_go(index);
            }
            if is_enough {
                // Nothing has started since (`take_before_start`), and what is queued never does.
                ids.retain(|id| reactor.pid(*id).is_none() && reactor.cancel(*id));
            }
            print!("{text}{}", String::from_utf8_lossy(&finished.stdout));
        }
        let (code, why) = match failures {
            _ if stop.cause().is_some() => (130, "interrupted by user"),
            0 if total == 0 => (0, "no work to do"),
            0 if done == total => return Ok(0),
            _ if is_enough => (1, "subcommand failed"),
            _ => (1, "cannot make progress"),
        };
        println!("mini_ninja: {why}.");
        Ok(code)
    }
}

fn main() -> Result<ExitCode> {
    // The pool without a name is that of most, and has no limit.
    let (mut build, mut limits) = (Build::default(), Reactor::builder().pool("", usize::MAX));
    let (mut file, mut jobs, mut failures_max) = ("build.ninja".to_owned(), None, 1);
    let (mut arguments, mut targets) = (env::args().skip(1), Vec::new());
    while let Some(argument) = arguments.next() {
        let (flag, value) = argument.split_at_checked(2).unwrap_or_default();
        let mut value = || match value {
            "" => arguments.next().unwrap_or_default(),
            _ => value.to_owned(),
        };
        match flag {
            "-C" => env::set_current_dir(value())?,
            "-f" => file = value(),
            "-j" => jobs = Some(value().parse()?),
            "-k" => failures_max = value().parse()?,
            "-l" => limits = limits.max_load(value().parse()?),
            _ => targets.push(argument),
        }
    }
    build.rules.insert("phony".to_owned(), Scope::new());
    build.read(&file)?;
    let all = build.edges.iter().flat_map(|edge| &edge.outputs);
    let choices = [targets, build.defaults.clone(), all.cloned().collect()];
    let choice = choices.iter().find(|files| !files.is_empty());
    for target in choice.into_iter().flatten() {
        build.visit(target)?;
    }
    for (name, depth) in &build.pools {
        limits = limits.pool(name, *depth);
    }
    limits = match (jobs, Jobserver::from_env()) {
        (Some(0), _) => limits,
        (Some(jobs), _) => limits.max_running(jobs),
        (None, Ok(Some(jobserver))) => limits.jobserver(&jobserver),
        (None, _) => limits.max_running(thread::available_parallelism()?.get() + 2),
    };
    let reactor = limits.take_before_start(true).build()?;
    build.run(reactor, failures_max).map(ExitCode::from)
}
