//! `run`: serve a configuration until told to stop.

use portcullis_config::render;

use super::Exit;
use crate::app::{App, AppFault, AppOptions};
use crate::cli::RunArgs;
use crate::configuration::Selection;
use crate::output::{Output, chain};

/// Starts and blocks until a signal ends it.
pub(super) fn run(args: &RunArgs, output: &mut Output) -> Exit {
    let selection = match Selection::from_args(&args.config, false) {
        Ok(selection) => selection,
        Err(fault) => {
            output.error(fault.to_string());
            return Exit::Usage;
        }
    };
    let options = AppOptions {
        selection,
        drain_timeout: args.drain_timeout,
        watches_files: !args.no_watch,
    };
    match App::start(options) {
        Ok(app) => {
            app.run_until_told_to_stop();
            Exit::Clean
        }
        Err(AppFault::Refused(refused)) => {
            let color = output.color();
            output.error_text(render(&refused.problems, &refused.sources, color));
            Exit::Problems
        }
        Err(fault) => {
            output.error(chain(&fault));
            Exit::Problems
        }
    }
}
