//! The access token of a role, and what it permits.
//!
//! Danger: a token without the permission is issued all the same, and the refusal comes with the
//! first message; but a permission that no token names may come from RBAC for Applications. Rule:
//! what is missing is named with the page on which it is granted; it has failed only where nothing
//! else can grant it.

use std::sync::Arc;

use super::progress::{Outcome, Progress};
use super::{ANY_LOGIN, Site, is_public};
use crate::admin::report::Subject;
use crate::config::{Microsoft365, MicrosoftApp};
use crate::oauth::msal::Protection;
use crate::oauth::{AccessToken, Error, Fault, Permissions, Service, TokenSource};

/// "Nobody has consented": to what, Microsoft does not say.
const NO_CONSENT: &str = "AADSTS65001";

/// What a token says of the permissions that its service needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Says {
    /// They are there.
    Granted,
    /// They are not, and may be granted elsewhere.
    Missing,
    /// Nothing.
    Nothing,
}

impl Site<'_> {
    /// Gets a token. A Google one has no permissions to look at: its scope is asked for by name.
    pub(super) async fn google_token(
        self,
        tokens: &Arc<dyn TokenSource>,
        progress: &mut Progress<'_>,
    ) -> Option<()> {
        progress.step(Subject::Token, async { fetch(tokens).await }).await?;
        Some(())
    }

    /// Gets a token of Microsoft's and looks into it.
    pub(super) async fn microsoft_token(
        self,
        account: &Microsoft365,
        service: Service,
        tokens: &Arc<dyn TokenSource>,
        progress: &mut Progress<'_>,
    ) -> Option<Says> {
        if is_public(account) {
            self.look_at_cache(progress).await;
        }
        let work = async {
            match fetch(tokens).await {
                Err(outcome) if is_public(account) => {
                    Err(self.explain_sign_in(account, service, outcome).await)
                }
                outcome => outcome,
            }
        };
        let token = progress.step(Subject::Token, work).await?;
        let permissions = Permissions::of(token.secret.expose());
        let outcome = judge(permissions.as_ref(), service);
        progress.step(Subject::Permissions, std::future::ready(outcome)).await
    }

    /// A plain cache is a choice (MSAL's own programs share it), and one to know of.
    async fn look_at_cache(self, progress: &mut Progress<'_>) {
        let cache = self.builder.accounts().cache();
        if let Ok(Some(Protection::Plain)) = cache.protection().await {
            let text = format!(
                "the account cache {} is plain JSON: whoever can read the file can read mail; let \
                 `authbridge token import` take it over into a sealed one if no other program \
                 shares it",
                cache.path().display()
            );
            progress.note(Subject::Configuration, Outcome::warning(text));
        }
        for path in cache.readable_by_others() {
            let text = format!(
                "other users of this computer may read {}: let only the user who runs authbridge \
                 read it (chmod 600)",
                path.display()
            );
            progress.note(Subject::Configuration, Outcome::warning(text));
        }
    }

    /// Nobody has signed in: one sentence instead of whatever the token request says.
    async fn explain_sign_in(
        self,
        account: &Microsoft365,
        service: Service,
        outcome: Outcome,
    ) -> Outcome {
        let MicrosoftApp::Public { account: name, .. } = &account.app else { return outcome };
        let name = name.as_str();
        let known = match self.builder.accounts().list().await {
            Ok(known) => known,
            Err(error) => return Outcome::failed(error.text).with_code(error.code),
        };
        let is_signed_in = known.iter().any(|one| {
            one.username.eq_ignore_ascii_case(name)
                && one.client_id.eq_ignore_ascii_case(&account.client_id)
        });
        let not_agreed = outcome.code.as_deref() == Some(NO_CONSENT);
        match is_signed_in {
            true if not_agreed => {
                let needed = service.needed().join(", ");
                let text = format!("{} (this role needs {needed})", outcome.text);
                Outcome { text, ..outcome }
            }
            true => outcome,
            false => Outcome::failed(format!(
                "{name} has not signed in to this application: run `authbridge token add` and sign \
                 in as {name}"
            )),
        }
    }
}

async fn fetch(tokens: &Arc<dyn TokenSource>) -> Result<(Outcome, Arc<AccessToken>), Outcome> {
    match tokens.token(Some(ANY_LOGIN)).await {
        Ok(token) => {
            let left = token.expires_at.duration_since(std::time::SystemTime::now());
            let minutes = left.unwrap_or_default().as_secs() / 60;
            let text = format!("there is an access token (good for {minutes} minutes)");
            Ok((Outcome::works(text), token))
        }
        Err(error) => Err(refused(error)),
    }
}

/// A failure that passes by itself is one all the same: clients meet it now.
pub(super) fn refused(error: Error) -> Outcome {
    let text = match error.fault {
        Fault::Person => error.text,
        Fault::Passing => format!("{} (this may pass by itself)", error.text),
    };
    Outcome::failed(text).with_code(error.code)
}

/// What the token names against what the service needs. More than that does no harm.
fn judge(permissions: Option<&Permissions>, service: Service) -> Result<(Outcome, Says), Outcome> {
    let Some(permissions) = permissions else {
        let text = "the token does not say what it permits; the next steps show it";
        return Ok((Outcome::not_proved(text), Says::Nothing));
    };
    let needed = match permissions.delegated {
        true => service.needed(),
        false => service.needed_roles(),
    };
    let missing = permissions.missing(needed);
    if missing.is_empty() {
        let text = format!("the token permits what is needed ({})", needed.join(", "));
        return Ok((Outcome::works(text), Says::Granted));
    }
    let missing = missing.join(", ");
    let has = match permissions.names.as_slice() {
        [] => "none at all".to_owned(),
        names => names.join(", "),
    };
    let page = "Entra admin center → App registrations → API permissions";
    let api = api_name(service);
    if permissions.delegated {
        return Err(Outcome::failed(format!(
            "the signed-in user's token lacks {missing} (it has {has}): add it under {page} → {api} \
             → Delegated permissions, then sign in again with `authbridge token add`"
        )));
    }
    let fix = format!(
        "add it under {page} → {api} → Application permissions and grant admin consent there"
    );
    match service {
        Service::GraphSending | Service::GraphReading => Ok((
            Outcome::warning(format!(
                "the token lacks {missing} (it has {has}): {fix}, unless RBAC for Applications in \
                 Exchange Online grants it, which no token shows"
            )),
            Says::Missing,
        )),
        Service::Smtp | Service::Imap | Service::Pop3 => {
            Err(Outcome::failed(format!("the token lacks {missing} (it has {has}): {fix}")))
        }
    }
}

fn api_name(service: Service) -> &'static str {
    match service {
        Service::GraphSending | Service::GraphReading => "Microsoft Graph",
        Service::Smtp | Service::Imap | Service::Pop3 => {
            "APIs my organization uses → Office 365 Exchange Online"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::report::Verdict;

    fn judged(names: &[&str], delegated: bool, service: Service) -> Outcome {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let outcome = judge(Some(&Permissions { names, delegated }), service);
        outcome.map_or_else(|failed| failed, |(outcome, _)| outcome)
    }

    #[test]
    fn what_is_missing_is_named_with_its_page() {
        use Service::{GraphReading, GraphSending, Imap, Smtp};
        for (names, delegated, service, verdict, words) in [
            (
                &["Mail.Send", "User.Read"] as &[_],
                false,
                GraphSending,
                Verdict::Works,
                "(Mail.Send)",
            ),
            (&["Mail.Read"], false, GraphSending, Verdict::Warning, "lacks Mail.Send|RBAC"),
            (&[], false, GraphReading, Verdict::Warning, "none at all|Application permissions"),
            (&["Mail.Read"], true, GraphReading, Verdict::Failed, "Delegated|token add"),
            (&["SMTP.SendAsApp"], false, Smtp, Verdict::Works, "SMTP.SendAsApp"),
            (&["IMAP.AccessAsApp"], false, Smtp, Verdict::Failed, "lacks SMTP.SendAsApp|Exchange"),
            (&["IMAP.AccessAsUser.All"], true, Imap, Verdict::Works, "IMAP.AccessAsUser.All"),
        ] {
            let outcome = judged(names, delegated, service);
            assert_eq!(outcome.verdict, verdict, "{names:?} {service:?}");
            for word in words.split('|') {
                assert!(outcome.text.contains(word), "{word} in {}", outcome.text);
            }
        }
        let (opaque, says) = judge(None, Imap).expect("not a failure");
        assert_eq!((opaque.verdict, says), (Verdict::NotProved, Says::Nothing));
    }

    #[test]
    fn a_refusal_keeps_its_code() {
        let error = Error { code: Some("AADSTS50057".to_owned()), ..Error::person("disabled") };
        let outcome = refused(error);
        assert_eq!(outcome.code.as_deref(), Some("AADSTS50057"));
        assert!(refused(Error::passing("busy")).text.contains("pass by itself"));
    }
}
