//! `authbridge spool`: looks into the queue and steers it.
//!
//! Danger: an administrator who drops or retries what the running proxy is sending doubles or loses
//! it. Rule: the command works on the same database under the same leases as the proxy.

use super::{ConfigFiles, Failure};

/// Look into and steer the queue of messages that wait to be sent
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    config: ConfigFiles,
}

/// Runs the command.
pub fn run(args: &Args) -> Result<(), Failure> {
    args.config.load().map(|_| ())
}
