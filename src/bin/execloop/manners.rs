//! What shells and man(1) want of a program: completions and pages, made of the arguments.
//! Unaware of what the arguments mean.

use clap::CommandFactory;
use clap_complete::Shell;
use clap_mangen::Man;

use crate::arguments::Arguments;

pub(crate) fn completions(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(shell, &mut command, "execloop", &mut text);
    text
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
    let command = if name == "execloop" {
        all
    } else {
        let found = all.find_subcommand(name).cloned();
        found.ok_or_else(|| {
            let names: Vec<&str> = all.get_subcommands().map(clap::Command::get_name).collect();
            format!(
                "there is no page {name:?}: there are execloop, {}",
                names.join(", ")
            )
        })?
    };
    let mut text = Vec::new();
    Man::new(command)
        .render(&mut text)
        .map_err(|error| error.to_string())?;
    Ok(text)
}
