//! Entra's client credentials (RFC 6749 section 4.4): an application with its own secret or
//! certificate.
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
//!
//! Danger: one token per mailbox where one per application would do looks like an attack to Entra
//! (AADSTS50196); and some keys sign only in the old way. Rule: all mailboxes of a role share the
//! application's token; an assertion is PS256 and, should Entra refuse the certificate, once RS256.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::StatusCode;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
};
use oauth2::{
    AsyncHttpClient, ClientId, ClientSecret, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, RequestTokenError, Scope, StandardRevocableToken, TokenUrl,
};
use reqwest::Url;

use super::answer::{Granted, TokenAnswer, unreadable};
use super::assertion::{Algorithm, SigningKey, for_entra, thumbprint};
use super::http::{HttpClient, endpoint};
use super::key_file::KeyFile;
use super::subject::{Subject, resolve};
use super::tokens::Grant;
use super::{Ending, Error, Expiry, entra_error};
use crate::config::{Microsoft365, MicrosoftCredential, Template};
use crate::secret::Secret;
use crate::tls::{Identity, PemOrPkcs12};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Refusals that another signature algorithm may cure.
const SIGNATURE_REFUSED: &[&str] = &["AADSTS700027", "AADSTS50012"];

const PROVIDER: &str = "Microsoft's sign-in service";

type Client = oauth2::Client<
    BasicErrorResponse,
    TokenAnswer,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The application of one role.
pub(super) struct ClientCredentials {
    role: String,
    user: Template,
    client_id: String,
    token_url: Url,
    scope: String,
    proof: Proof,
    http: HttpClient,
}

enum Proof {
    Secret {
        value: Secret,
        expires: Option<SystemTime>,
    },
    Certificate {
        path: PathBuf,
        file: Arc<KeyFile<Certificate>>,
        /// PS256 was refused and RS256 was not.
        rs256: AtomicBool,
    },
}

struct Certificate {
    key: SigningKey,
    thumbprint: String,
    expires_at: Option<SystemTime>,
}

impl ClientCredentials {
    pub fn new(
        account: &Microsoft365,
        credential: &MicrosoftCredential,
        user: &Template,
        resource: &str,
        http: &HttpClient,
        role: &str,
    ) -> Result<Self, Error> {
        let address = format!("{}/{}/oauth2/v2.0/token", account.authority_url, account.tenant_id);
        let proof = match credential {
            MicrosoftCredential::Secret { value, expires } => {
                Proof::Secret { value: value.clone(), expires: *expires }
            }
            MicrosoftCredential::Certificate { path, password } => {
                let password = password.clone().unwrap_or_else(|| Secret::new(""));
                let decode =
                    move |path: &_, content: &_| Certificate::decode(path, content, &password);
                Proof::Certificate {
                    path: path.clone(),
                    file: KeyFile::new(path, decode),
                    rs256: AtomicBool::new(false),
                }
            }
        };
        Ok(Self {
            role: role.to_owned(),
            user: user.clone(),
            client_id: account.client_id.clone(),
            token_url: endpoint(&address, &format!("{role}.Microsoft365.AuthorityUrl"))?,
            scope: format!("{}/.default", resource.trim_end_matches('/')),
            proof,
            http: http.clone(),
        })
    }

    async fn granted(&self) -> Result<Granted, Error> {
        let (file, rs256) = match &self.proof {
            Proof::Secret { value, .. } => return self.ask_with_secret(value).await,
            Proof::Certificate { file, rs256, .. } => (file, rs256),
        };
        let certificate = file.current().await.map_err(|problem| self.bad_certificate(&problem))?;
        if rs256.load(Ordering::Relaxed) {
            return self.ask_with_certificate(&certificate, Algorithm::Rs256).await;
        }
        let first = self.ask_with_certificate(&certificate, Algorithm::Ps256).await;
        let refused = first.as_ref().err().and_then(|error| error.code.as_deref());
        if !refused.is_some_and(|code| SIGNATURE_REFUSED.contains(&code)) {
            return first;
        }
        let second = self.ask_with_certificate(&certificate, Algorithm::Rs256).await;
        if second.is_ok() {
            rs256.store(true, Ordering::Relaxed);
        }
        second
    }

    async fn ask_with_secret(&self, secret: &Secret) -> Result<Granted, Error> {
        let client = self.client().set_client_secret(ClientSecret::new(secret.expose().to_owned()));
        let request = client.exchange_client_credentials();
        self.ask(request, secret).await
    }

    async fn ask_with_certificate(
        &self,
        certificate: &Certificate,
        algorithm: Algorithm,
    ) -> Result<Granted, Error> {
        let assertion = for_entra(
            &certificate.key,
            algorithm,
            &certificate.thumbprint,
            &self.client_id,
            self.token_url.as_str(),
            SystemTime::now(),
        )
        .map_err(|problem| self.bad_certificate(&problem))?;
        let client = self.client();
        let request = client
            .exchange_client_credentials()
            .add_extra_param("client_assertion_type", ASSERTION_TYPE)
            .add_extra_param("client_assertion", assertion.expose().to_owned());
        self.ask(request, &assertion).await
    }

    /// Id and secret go into the body, not into a Basic header: Entra documents the body.
    fn client(&self) -> Client {
        oauth2::Client::new(ClientId::new(self.client_id.clone()))
            .set_auth_type(oauth2::AuthType::RequestBody)
            .set_token_uri(TokenUrl::from_url(self.token_url.clone()))
    }

    /// `proof` is what no error may show.
    async fn ask(
        &self,
        request: oauth2::ClientCredentialsTokenRequest<'_, BasicErrorResponse, TokenAnswer>,
        proof: &Secret,
    ) -> Result<Granted, Error> {
        let transport = Transport {
            role: self.role.clone(),
            url: self.token_url.clone(),
            http: self.http.clone(),
            proof: proof.clone(),
        };
        let request = request.add_scope(Scope::new(self.scope.clone()));
        match request.request_async(&transport).await {
            Ok(answer) => answer.granted(&self.role, PROVIDER),
            Err(RequestTokenError::Request(error)) => Err(error),
            // The transport lets nothing else pass; and the crate's own texts may hold the body.
            Err(_) => Err(Error::passing(format!(
                "{}: {PROVIDER} answered something that can't be read",
                self.role
            ))),
        }
    }

    /// When secret or certificate ends. What is wrong with the certificate's file is told by the
    /// token request.
    fn expiry(&self) -> Option<Expiry> {
        const PAGE: &str = "App registrations → Certificates & secrets";
        let (role, client) = (&self.role, &self.client_id);
        let group = "Microsoft365.ConfidentialApp";
        Some(match &self.proof {
            Proof::Secret { expires, .. } => Expiry {
                kind: Ending::Secret,
                what: format!("the client secret of application {client} ({role}.{group}.Secret)"),
                at: (*expires)?,
                fix: format!(
                    "make a new one under {PAGE}, put its Value into {role}.{group}.Secret and its \
                     end into SecretExpires"
                ),
            },
            Proof::Certificate { path, file, .. } => Expiry {
                kind: Ending::Certificate,
                what: format!(
                    "the certificate {} ({role}.{group}.CertificatePath)",
                    path.display()
                ),
                at: file.read().ok()?.expires_at?,
                fix: format!(
                    "make a new one, upload its public half under {PAGE} of application {client}, \
                     then replace the file; authbridge need not be restarted"
                ),
            },
        })
    }

    fn bad_certificate(&self, problem: &str) -> Error {
        let key = "Microsoft365.ConfidentialApp.CertificatePath";
        Error::person(format!("{}: {key}: {problem}", self.role))
    }
}

/// How the `oauth2` crate reaches Entra. It loses status, `Retry-After` and most of a refusal, so
/// refusals end here, and so does what is no token.
struct Transport {
    role: String,
    url: Url,
    http: HttpClient,
    proof: Secret,
}

impl<'c> AsyncHttpClient<'c> for Transport {
    type Error = Error;
    type Future = BoxFuture<'c, Result<HttpResponse, Error>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        self.send(request.into_body()).boxed()
    }
}

impl Transport {
    async fn send(&self, form: Vec<u8>) -> Result<HttpResponse, Error> {
        let answer = self.http.post_form(self.url.clone(), form).await;
        let answer = answer.map_err(|error| error.of_role(&self.role))?;
        if answer.status != StatusCode::OK {
            return Err(entra_error::explain(&self.role, &answer, &[self.proof.expose()]));
        }
        match serde_json::from_slice::<TokenAnswer>(&answer.body) {
            Ok(_) => Ok(HttpResponse::new(answer.body)),
            Err(_) => Err(unreadable(&self.role, PROVIDER, &answer)),
        }
    }
}

impl Grant for ClientCredentials {
    fn subject(&self, login: Option<&str>) -> Result<Subject, Error> {
        let key = "Microsoft365.ConfidentialApp.UserObjectId";
        let user = resolve(&self.role, key, &self.user, login)?;
        Ok(Subject { key: format!("application {}", self.client_id), user })
    }

    fn request<'a>(
        &'a self,
        _: &'a Subject,
        _known: Option<&'a Secret>,
    ) -> BoxFuture<'a, Result<Granted, Error>> {
        self.granted().boxed()
    }

    fn expiries(&self) -> Vec<Expiry> {
        self.expiry().into_iter().collect()
    }
}

impl Certificate {
    fn decode(path: &std::path::Path, content: &[u8], password: &Secret) -> Result<Self, String> {
        let identity = match PemOrPkcs12::of(content) {
            PemOrPkcs12::Pem => Identity::load(path, None, password.expose()),
            PemOrPkcs12::Pkcs12 => Identity::from_pkcs12(path, content, password.expose()),
        };
        let identity = identity.map_err(|error| error.to_string())?;
        let Some(certificate) = identity.chain.first() else {
            return Err(format!("{} holds no certificate", path.display()));
        };
        let key = SigningKey::new(&identity.key)
            .map_err(|problem| format!("{}: {problem}", path.display()))?;
        let expires_at = identity.expires_at();
        Ok(Self { key, thumbprint: thumbprint(certificate), expires_at })
    }
}

#[cfg(test)]
mod tests;
