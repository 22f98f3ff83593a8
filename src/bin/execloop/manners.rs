//! What shells and man(1) want of a program: completions and pages, made of the arguments.
//! Unaware of what the arguments mean.

use clap::builder::PossibleValuesParser;
use clap::{Command, CommandFactory, Id};
use clap_complete::Shell;
use clap_mangen::Man;
use execloop::Signal;

use crate::arguments::Arguments;

const PROGRAM: &str = "execloop";

pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    let command = Arguments::command();
    let pages = names(&command).chain([PROGRAM]).map(str::to_owned);
    let pages = words(pages.collect());
    let mut command = command
        .mut_subcommand("man", |man| {
            man.mut_arg("page", |page| page.value_parser(pages))
        })
        .mut_subcommand("run", |run| {
            run.mut_arg("signal", |signal| signal.value_parser(words(signals())))
        });
    clap_complete::generate(shell, &mut command, PROGRAM, &mut text);
    text
}

fn names(command: &Command) -> impl Iterator<Item = &str> {
    command.get_subcommands().map(Command::get_name)
}

/// As kill(1) has them.
fn signals() -> Vec<String> {
    let signals = (1..32).filter_map(Signal::new);
    let names = signals.map(|signal| signal.to_string());
    names
        .filter_map(|name| Some(name.strip_prefix("SIG")?.to_owned()))
        .collect()
}

/// Words to choose from, which clap keeps for ever.
fn words(words: Vec<String>) -> PossibleValuesParser {
    let words = words.into_iter().map(|word| &*word.leak());
    PossibleValuesParser::new(words)
}

/// The page of a subcommand, or of the program itself by its name.
///
/// # Errors
/// In words, if there is none of that name.
pub(crate) fn man_page(name: &str) -> Result<Vec<u8>, String> {
    let mut all = Arguments::command();
    // Pages of subcommands are named as git has it.
    all = all.disable_help_subcommand(true);
    all.build();
    let command = if name == PROGRAM {
        all
    } else {
        let found = all.find_subcommand(name).cloned();
        found.ok_or_else(|| {
            let names: Vec<&str> = names(&all).collect();
            format!(
                "there is no page {name:?}: there are execloop, {}",
                names.join(", ")
            )
        })?
    };
    // What is no option has a section of its own.
    let words = command.get_positionals().map(|word| word.get_id().clone());
    let words: Vec<Id> = words.collect();
    let command = words.into_iter().fold(command, |command, word| {
        command.mut_arg(word, |word| word.help_heading("Arguments"))
    });
    let mut text = Vec::new();
    Man::new(command)
        .render(&mut text)
        .map_err(|error| error.to_string())?;
    Ok(text)
}
