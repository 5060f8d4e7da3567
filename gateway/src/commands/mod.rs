//! One file per command: arguments and an [`Output`] in, an [`Exit`] out.

use std::process::ExitCode;

use clap::CommandFactory;
use portcullis_config::problems_to_json;
use portcullis_model::{Origin, Problem};

use crate::cli::{Cli, Command, ExplainCommand, Format};
use crate::output::Output;

mod admin_client;
mod cert;
mod check;
mod checks;
mod demo;
mod deny;
pub(crate) mod explain;
mod input;
mod lists;
mod moments;
mod run;
#[cfg(test)]
mod tests;
mod token;

/// How a command ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// All is well.
    Clean,
    /// The configuration, the network or an answer is not what it should be.
    Problems,
    /// There is no answer: the command was not understood, the admin port cannot be asked, or what decides is not known.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Clean => Self::SUCCESS,
            Exit::Problems => Self::from(1),
            Exit::Usage => Self::from(2),
        }
    }
}

/// Says why there is no answer, where its reader looks: on standard error for people, on standard output for programs,
/// in the form that the problems of a configuration have.
fn fail(code: &'static str, text: &str, format: Format, output: &mut Output) {
    match format {
        Format::Text => output.error(text),
        Format::Json => {
            let problem = Problem::error(code, &Origin::default(), text.to_owned());
            output.json(&problems_to_json(&problem.into()));
        }
    }
}

/// Does what was asked.
pub fn execute(command: Command, output: &mut Output) -> Exit {
    match command {
        Command::Run(args) => run::run(&args, output),
        Command::Check(args) => check::check(&args, output),
        Command::Demo(args) => demo::demo(&args, output),
        Command::Explain(ExplainCommand::Request(args)) => explain::request(&args, output),
        Command::Explain(ExplainCommand::Route { name, config, format }) => {
            explain::route(&name, &config, format, output)
        }
        Command::Explain(ExplainCommand::Endpoint {
            address,
            admin,
            format,
        }) => explain::endpoint(&address, &admin, format, output),
        Command::Token(args) => token::token(&args, output),
        Command::Cert(args) => cert::cert(&args, output),
        Command::Deny(command) => deny::deny(&command, output),
        Command::Routes(args) => lists::routes(&args, output),
        Command::Pools(args) => lists::pools(&args, output),
        Command::Schema => {
            output.json(&portcullis_config::json_schema());
            Exit::Clean
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "portcullis", &mut script);
            output.text(script);
            Exit::Clean
        }
    }
}
