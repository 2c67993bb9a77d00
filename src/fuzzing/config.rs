//! Configuration files.

use crate::config::fuzzing::checked;

/// A .NET configuration file.
pub fn dotnet_xml(data: &[u8]) {
    checked("web.config", data);
}

/// A TOML file.
pub fn config_toml(data: &[u8]) {
    checked("proxy.toml", data);
}
