//! Settings that a running process can't change.
//!
//! Danger: a state folder that changes under open databases loses mail; a setting that is changed,
//! not applied and not mentioned is trusted. Rule: these keep their values until a restart, the rest
//! of the new configuration is applied, and each key is named.

use crate::config::Config;

/// Gives `new` what `running` can't let go of. The keys whose new value waits for a restart.
pub(super) fn keep(running: &Config, new: &mut Config) -> Vec<&'static str> {
    let mut waiting = Vec::new();
    // Where the cache's folder is the state folder by default, it is one change, not two.
    let by_default = |config: &Config| config.msal_cache.folder == config.state_directory;
    if by_default(running) && by_default(new) {
        new.msal_cache.folder.clone_from(&running.msal_cache.folder);
    }
    let mut fix = |key, changed: bool| {
        if changed {
            waiting.push(key);
        }
    };
    fix("Proxy.StateDirectory", held(&running.state_directory, &mut new.state_directory));
    fix("Proxy.Tokens.KeyFile", held(&running.tokens_key_file, &mut new.tokens_key_file));
    fix("Proxy.Store", held(&running.store, &mut new.store));
    fix("MSAL.Cache.Folder", held(&running.msal_cache.folder, &mut new.msal_cache.folder));
    fix("MSAL.Cache.FileName", held(&running.msal_cache.file_name, &mut new.msal_cache.file_name));
    fix("Proxy.Log.Format", held(&running.log.format, &mut new.log.format));
    fix("Proxy.Log.File", held(&running.log.file, &mut new.log.file));
    let (old, now) = (&running.limits.max_cache_bytes, &mut new.limits.max_cache_bytes);
    fix("Proxy.Limits.MaxCacheBytes", held(old, now));
    waiting
}

/// True when it was another one.
fn held<T: Clone + PartialEq>(running: &T, new: &mut T) -> bool {
    let changed = running != new;
    if changed {
        new.clone_from(running);
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::reload::changes::tests::configured;

    #[test]
    fn each_key_that_waits_is_named_and_keeps_its_value() {
        let running = configured("Proxy.StateDirectory = '/a'");
        for (toml, keys) in [
            ("Proxy.StateDirectory = '/a'\nProxy.Limits.MaxConnections = 5", &[][..]),
            ("Proxy.StateDirectory = '/b'", &["Proxy.StateDirectory"]),
            (
                "Proxy.StateDirectory = '/a'\nMSAL.Cache.Folder = '/c'\nProxy.Log.Format = 'json'",
                &["MSAL.Cache.Folder", "Proxy.Log.Format"],
            ),
            (
                "Proxy.StateDirectory = '/a'\nProxy.Store = 'postgres://h/d'\n\
                 Proxy.Tokens.KeyFile = '/k'\nProxy.Limits.MaxCacheBytes = '2 GiB'\n\
                 MSAL.Cache.FileName = 'x.dat'\nProxy.Log.File = '/l'",
                &[
                    "Proxy.Tokens.KeyFile",
                    "Proxy.Store",
                    "MSAL.Cache.FileName",
                    "Proxy.Log.File",
                    "Proxy.Limits.MaxCacheBytes",
                ],
            ),
        ] {
            let mut new = configured(toml);
            assert_eq!(keep(&running, &mut new), keys, "{toml}");
            assert_eq!(keep(&running, &mut new), Vec::<&str>::new(), "kept: {toml}");
        }
    }
}
