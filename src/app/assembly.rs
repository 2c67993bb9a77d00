//! Everything that is made of one configuration.
//!
//! Danger: a configuration that fails half-way leaves a proxy that is neither the old one nor the
//! new one. Rule: all that can fail is here, and nothing here changes what is served; putting it in
//! force ([`super::serving`]) can't fail any more.

use std::sync::Arc;

use super::process::Process;
use super::reload::{Snapshot, of_config, of_listeners};
use super::roles::{self, Built, Net};
use super::{Error, HOST_NAME, page};
use crate::admin::Page;
use crate::config::Config;
use crate::frontend::Context;
use crate::secret::Secret;
use crate::tls::{self, ServerTls};

/// One configuration, ready to be served.
pub(super) struct Assembly {
    pub config: Config,
    pub built: Built,
    pub tls: ServerTls,
    /// Of the page.
    pub password_hash: Secret,
    /// The page's password when it was made just now: to be shown once.
    pub first_password: Option<Secret>,
    /// What was in the files of the listeners' certificate.
    pub certificate: Snapshot,
}

/// Builds it; what is as `before` is taken over.
pub(super) async fn assemble(
    config: Config,
    process: &mut Process,
    before: Option<&Assembly>,
) -> Result<Assembly, Error> {
    process.open_for(&config).await?;
    let files = Snapshot::take(of_config(&config));
    let net = match before {
        Some(before) => before.built.net_for(&config, &files)?,
        None => Net::new(&config)?,
    };
    let before = before.map(|assembly| &assembly.built);
    let built = roles::build(&config, net, process.common.clone(), files, before)?;
    let (tls, certificate) = server_tls(&config)?;
    // The password comes last: see `Assembly::page`.
    let (password_hash, first_password) = (Secret::new(""), None);
    Ok(Assembly { config, built, tls, password_hash, first_password, certificate })
}

impl Assembly {
    /// The page. The last thing to be made: a password that is made in a start that fails would be
    /// kept, and nobody would have seen it.
    pub fn page(&mut self, process: &Process) -> Result<Page, Error> {
        let password = page::password(&self.config)?;
        (self.password_hash, self.first_password) = (password.hash, password.made);
        let parts = page::Parts {
            built: &self.built,
            activity: Arc::clone(&process.activity),
            tls: self.tls.clone(),
            logins: Arc::clone(&process.page_logins),
            load_state: Arc::clone(&process.load_state),
            queue: process.queue.clone(),
        };
        page::build(&self.config, &self.built.net.tls, parts)
    }

    /// What new sessions get from now on; clients, spool and page's password are those of this
    /// configuration, too.
    pub fn put_in_force(&self, process: &Process) -> Context {
        process.common.lasting.renew();
        process.logins.replace(self.config.clients.clone());
        process.page_logins.replace(vec![page::administrator(&self.password_hash)]);
        Context {
            logins: Arc::clone(&process.logins),
            roles: roles::spooled(&self.config, &self.built, process.spool.as_ref()),
            anonymous: self.config.anonymous.clone(),
            limits: self.config.limits.clone(),
            tls: self.tls.clone(),
            messages: process.messages.clone(),
            host_name: HOST_NAME.to_owned(),
            activity: Arc::clone(&process.activity),
            stopping: process.stopping.clone(),
        }
    }
}

/// And what was in its files: looked at before they are read, so that a change in between is a
/// change; our own are made where there are none, and looked at after that.
fn server_tls(config: &Config) -> Result<(ServerTls, Snapshot), tls::Error> {
    let look = || Snapshot::take(of_listeners(config));
    match &config.tls {
        Some(files) => {
            let found = look();
            let tls = ServerTls::from_files(&files.certificate, files.key.as_deref())?;
            Ok((tls, found))
        }
        None => {
            let tls = ServerTls::self_signed(&config.state_directory.join("certs"))?;
            Ok((tls, look()))
        }
    }
}
