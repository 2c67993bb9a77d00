//! Microsoft Graph, its mail part, version v1.0.
//!
//! Danger: Graph forgives nothing that matters (recipients come from headers alone, uploads have
//! exact ranges) and a stand-in that does would let mail be lost later. Rule: [`gate`] stands in
//! front of every route: token, right, concurrency and size are checked there, and each refusal is
//! the real JSON with the real code (facts/graph-mail.md). One file per call.

mod attachments;
mod compose;
mod error;
mod folders;
mod gate;
mod messages;
mod odata;
mod send_mail;
mod upload;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware;
use axum::routing::{get, post};

pub(crate) use self::upload::UploadSession;
use super::faults::Place;
use super::store::Cloud;

pub(super) fn router(cloud: Arc<Cloud>) -> Router {
    let gate = middleware::from_fn_with_state(cloud.clone(), gate::gate);
    Router::new()
        .route("/v1.0/users/{user}/sendMail", post(send_mail::send_mail))
        .route("/v1.0/users/{user}/messages", get(messages::list).post(messages::create))
        .route(
            "/v1.0/users/{user}/messages/{id}",
            get(messages::read).patch(messages::update).delete(messages::delete),
        )
        .route("/v1.0/users/{user}/messages/{id}/$value", get(messages::value))
        .route("/v1.0/users/{user}/messages/{id}/send", post(messages::send))
        .route("/v1.0/users/{user}/messages/{id}/attachments", post(attachments::add))
        .route(
            "/v1.0/users/{user}/messages/{id}/attachments/createUploadSession",
            post(upload::create),
        )
        .route("/v1.0/users/{user}/mailFolders", get(folders::list))
        .route("/v1.0/users/{user}/mailFolders/{folder}", get(folders::read))
        .route(
            "/v1.0/users/{user}/mailFolders/{folder}/messages",
            get(messages::list_folder).post(messages::create_in_folder),
        )
        .fallback(error::no_such_segment)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(gate)
        .layer(DefaultBodyLimit::disable())
        .with_state(cloud)
}

/// The upload host: another name and port, no token.
pub(super) fn upload_router(cloud: Arc<Cloud>) -> Router {
    Router::new().fallback(upload::session).with_state(cloud)
}

pub(super) fn place_of(method: &Method, path: &str) -> Place {
    let last = path.rsplit('/').next().unwrap_or_default();
    match (method, last) {
        (&Method::GET, _) => Place::GraphRead,
        (&Method::PATCH, _) => Place::GraphUpdate,
        (&Method::DELETE, _) => Place::GraphDelete,
        (_, "sendMail") => Place::GraphSendMail,
        (_, "messages") => Place::GraphCreate,
        (_, "send") => Place::GraphSendDraft,
        (_, "attachments" | "createUploadSession") => Place::GraphAttach,
        _ => Place::Other,
    }
}

pub(super) fn upload_place_of(_: &Method, _: &str) -> Place {
    Place::GraphUpload
}
