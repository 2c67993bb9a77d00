//! The settings of the schema's token helper, in its own `.config` file.
//!
//! Danger: the file belongs to another program, whose keys have no prefix and may mean anything.
//! Rule: a file is the helper's when its `appSettings` hold one of the five keys below, in any
//! case; all other keys are that program's business, and a wrong value of ours is told with its
//! file and line.

use std::path::{Path, PathBuf};

use super::diagnostic::{Diagnostic, Diagnostics, Origin};
use super::load::{is_xml, read_text};
use super::value::{self, Wrong};
use super::written::{Setting, Value};
use super::{dotnet, schema};

/// The keys, as the schema spells them.
const KEYS: [&str; 5] = ["ClientId", "TenantId", "RedirectUri", "CacheFileName", "CacheDirectory"];

/// What the helper's `.config` file says. An empty value counts as not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelperSettings {
    /// `ClientId`.
    pub client_id: Option<String>,
    /// `TenantId`.
    pub tenant_id: Option<String>,
    /// `RedirectUri`.
    pub redirect_uri: Option<String>,
    /// `CacheFileName`.
    pub cache_file_name: Option<String>,
    /// `CacheDirectory`; a relative one counts from the file's folder.
    pub cache_directory: Option<PathBuf>,
    /// True when the file holds no key under a prefix of ours: then it is no configuration.
    pub stands_alone: bool,
}

impl HelperSettings {
    /// Reads a file; `None` when it is not the helper's.
    pub fn read(path: &Path) -> Result<Option<Self>, Diagnostics> {
        let text = read_text(path).map_err(Diagnostics)?;
        if !is_xml(path, &text) {
            return Ok(None);
        }
        let mut notes = Vec::new();
        let settings =
            dotnet::read_keys(path, &text, is_helpers, &mut notes).map_err(Diagnostics)?;
        if settings.is_empty() {
            return Ok(None);
        }
        let ours = dotnet::read_keys(path, &text, schema::is_ours, &mut notes);
        let stands_alone = ours.is_ok_and(|ours| ours.is_empty());
        Self { stands_alone, ..Self::default() }.filled(settings).map(Some).map_err(Diagnostics)
    }

    /// These settings, and those of `base` where these say nothing.
    #[must_use]
    pub fn over(self, base: Self) -> Self {
        Self {
            client_id: self.client_id.or(base.client_id),
            tenant_id: self.tenant_id.or(base.tenant_id),
            redirect_uri: self.redirect_uri.or(base.redirect_uri),
            cache_file_name: self.cache_file_name.or(base.cache_file_name),
            cache_directory: self.cache_directory.or(base.cache_directory),
            stands_alone: self.stands_alone && base.stands_alone,
        }
    }

    /// Takes the settings in their order, as .NET does; every wrong value is told.
    fn filled(mut self, settings: Vec<Setting>) -> Result<Self, Vec<Diagnostic>> {
        let mut problems = Vec::new();
        for setting in settings {
            let Value::One(text) = &setting.value else { continue };
            if let Err(wrong) = self.take(&setting, text.expose().trim()) {
                let problem = format!("{:?} {}", shortened(text.expose()), wrong.problem);
                problems.push(Diagnostic::new(
                    setting.dotted.as_str(),
                    setting.origin.clone(),
                    problem,
                    wrong.fix,
                ));
            }
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    fn take(&mut self, setting: &Setting, text: &str) -> Result<(), Wrong> {
        let set = |check: fn(&str) -> Result<String, Wrong>| match text.is_empty() {
            true => Ok(None),
            false => check(text).map(Some),
        };
        match setting.dotted.to_ascii_lowercase().as_str() {
            "clientid" => self.client_id = set(value::guid)?,
            "tenantid" => self.tenant_id = set(value::tenant)?,
            "redirecturi" => self.redirect_uri = set(value::redirect_uri)?,
            "cachefilename" => self.cache_file_name = set(value::file_name)?,
            _ => {
                let directory = (!text.is_empty()).then(|| folder(&setting.origin).join(text));
                self.cache_directory = directory;
            }
        }
        Ok(())
    }
}

fn is_helpers(key: &str) -> bool {
    KEYS.iter().any(|own| own.eq_ignore_ascii_case(key))
}

fn folder(origin: &Origin) -> &Path {
    match origin {
        Origin::File { path, .. } => path.parent().unwrap_or(Path::new("")),
        _ => Path::new(""),
    }
}

/// As much of a value as a sentence bears.
fn shortened(text: &str) -> String {
    const LONGEST: usize = 80;
    text.trim().chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "11111111-2222-3333-4444-555555555555";

    fn read(name: &str, settings: &str) -> Result<Option<HelperSettings>, Diagnostics> {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join(name);
        let text =
            format!("<configuration><appSettings>\n{settings}</appSettings></configuration>");
        std::fs::write(&file, text).expect("written");
        HelperSettings::read(&file)
    }

    #[test]
    fn the_five_keys_are_read_in_any_case_and_all_others_ignored() {
        let text = format!(
            "<add key='CLIENTID' value=' {ID} '/><add key='tenantId' value='Contoso.example'/>\n\
             <add key='RedirectUri' value='http://localhost'/>\n\
             <add key='CacheFileName' value='cmo.dat'/><add key='cachedirectory' value='sub'/>\n\
             <add key='ClientSettingsProvider.ServiceUri' value=''/>\n\
             <add key='Logging' value='x'/>"
        );
        let read = read("Helper.exe.config", &text).expect("valid").expect("the helper's");
        assert_eq!(read.client_id.as_deref(), Some(ID));
        assert_eq!(read.tenant_id.as_deref(), Some("Contoso.example"));
        assert_eq!(read.redirect_uri.as_deref(), Some("http://localhost"));
        assert_eq!(read.cache_file_name.as_deref(), Some("cmo.dat"));
        let directory = read.cache_directory.expect("set");
        assert!(directory.is_absolute() && directory.ends_with("sub"), "{}", directory.display());
        assert!(read.stands_alone);
    }

    #[test]
    fn a_file_is_the_helpers_when_it_holds_one_of_its_keys() {
        let ours = "<add key='Mail.Sending.ServerType' value='Smtp'/>";
        let mixed = format!("{ours}<add key='TenantId' value='common'/>");
        for (name, text, stands_alone) in [
            ("a.config", "<add key='TenantId' value=''/>", Some(true)),
            ("a.xml", mixed.as_str(), Some(false)),
            ("a.config", ours, None),
            ("a.config", "<add key='Other' value='1'/>", None),
        ] {
            let read = read(name, text).expect("valid");
            assert_eq!(read.map(|read| read.stands_alone), stands_alone, "{text}");
        }
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("proxy.toml");
        std::fs::write(&file, "ClientId = 'x'").expect("written");
        assert_eq!(HelperSettings::read(&file), Ok(None));
    }

    #[test]
    fn wrong_values_are_told_all_at_once_with_file_and_line() {
        let text = "<add key='ClientId' value='my app'/>\n<add key='TenantId' value='here'/>\n\
            <add key='RedirectUri' value='localhost'/>\n<add key='CacheFileName' value='a/b'/>";
        let told = read("helper.config", text).expect_err("refused").to_string();
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 4, "{told}");
        for (line, part) in lines.iter().zip([
            "helper.config:2: ClientId: \"my app\" is not a GUID; ",
            "helper.config:3: TenantId: \"here\" is neither",
            "helper.config:4: RedirectUri: ",
            "helper.config:5: CacheFileName: ",
        ]) {
            assert!(line.contains(part), "{part} in {line}");
        }
        let absent = HelperSettings::read(Path::new("absent.config")).expect_err("not there");
        assert!(absent.to_string().contains("absent.config:1: can't be read"), "{absent}");
    }

    #[test]
    fn a_later_file_wins_key_by_key() {
        let named = |client: Option<&str>, tenant: Option<&str>| HelperSettings {
            client_id: client.map(str::to_owned),
            tenant_id: tenant.map(str::to_owned),
            stands_alone: true,
            ..HelperSettings::default()
        };
        let merged = named(Some("b"), None).over(named(Some("a"), Some("t")));
        assert_eq!(merged, named(Some("b"), Some("t")));
    }
}
