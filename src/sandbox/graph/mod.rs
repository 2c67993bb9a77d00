//! Microsoft Graph, its mail part, versions v1.0 and beta.
//!
//! Danger: Graph forgives nothing that matters (recipients come from headers alone, links are good
//! only as they came) and a stand-in that does would let mail be lost later. Rule: [`gate`] stands
//! in front of every route and of every part of a [`batch`]: token, right, concurrency and size are
//! checked there, and each refusal is the real JSON with the real code (facts/graph-mail.md).

mod attachments;
mod batch;
mod change;
mod compose;
mod delta;
mod error;
mod extended;
mod filter;
mod folder_changes;
mod folder_delta;
mod folders;
mod gate;
mod late;
mod links;
mod listing;
mod messages;
mod odata;
mod send_mail;
mod tally;
mod transfer;
mod upload;
mod view;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::Method;
use axum::middleware;
use axum::routing::{get, post};

pub(in crate::sandbox) use self::extended::{extended_value, property_key};
pub(crate) use self::links::Link;
pub(crate) use self::tally::Tally;
pub(crate) use self::upload::UploadSession;
use super::faults::Place;
use super::store::Cloud;

pub(super) fn router(cloud: Arc<Cloud>) -> Router {
    let import = post(messages::import_mime);
    let routes = Router::new()
        .nest("/v1.0/users/{user}", mailbox_routes())
        .nest("/beta/users/{user}", mailbox_routes())
        .route("/beta/users/{user}/mailFolders/{folder}/importMime", import)
        .fallback(error::no_such_segment)
        .method_not_allowed_fallback(error::no_such_method)
        .layer(DefaultBodyLimit::disable())
        .with_state(cloud.clone());
    // In front of the routing: a batch goes through it once for each part.
    let gate = middleware::from_fn_with_state(cloud, gate::gate);
    Router::new().fallback_service(routes).layer(gate)
}

fn mailbox_routes() -> Router<Arc<Cloud>> {
    message_routes().merge(folder_routes())
}

fn message_routes() -> Router<Arc<Cloud>> {
    Router::new()
        .route("/sendMail", post(send_mail::send_mail))
        .route("/messages", get(listing::list).post(messages::create))
        .route("/messages/{id}", get(messages::read).patch(change::update).delete(transfer::delete))
        .route("/messages/{id}/$value", get(messages::value))
        .route("/messages/{id}/send", post(messages::send))
        .route("/messages/{id}/move", post(transfer::move_to))
        .route("/messages/{id}/copy", post(transfer::copy))
        .route("/messages/{id}/permanentDelete", post(transfer::permanent_delete))
        .route("/messages/{id}/attachments", post(attachments::add))
        .route("/messages/{id}/attachments/createUploadSession", post(upload::create))
}

fn folder_routes() -> Router<Arc<Cloud>> {
    Router::new()
        .route("/mailFolders", get(folders::list).post(folder_changes::create))
        .route("/mailFolders/delta", get(folder_delta::delta))
        .route(
            "/mailFolders/{folder}",
            get(folders::read).patch(folder_changes::rename).delete(folder_changes::delete),
        )
        .route(
            "/mailFolders/{folder}/childFolders",
            get(folders::children).post(folder_changes::create_child),
        )
        .route("/mailFolders/{folder}/move", post(folder_changes::move_to))
        .route("/mailFolders/{folder}/copy", post(folder_changes::copy))
        .route(
            "/mailFolders/{folder}/messages",
            get(listing::list_folder).post(messages::create_in_folder),
        )
        .route("/mailFolders/{folder}/messages/delta", get(delta::delta))
        .route("/mailFolders/{folder}/messages/{id}/$value", get(error::not_supported))
}

/// The upload host: another name and port, no token.
pub(super) fn upload_router(cloud: Arc<Cloud>) -> Router {
    Router::new().fallback(upload::session).with_state(cloud)
}

pub(super) fn place_of(method: &Method, path: &str) -> Place {
    let last = path.rsplit('/').next().unwrap_or_default();
    match (method, last) {
        (&Method::GET, "delta" | "delta()") => Place::GraphDelta,
        (&Method::GET, "$value") => Place::GraphValue,
        (&Method::GET, _) => Place::GraphRead,
        (&Method::PATCH, _) => Place::GraphUpdate,
        (&Method::DELETE, _) => Place::GraphDelete,
        (_, "$batch") => Place::GraphBatch,
        (_, "sendMail") => Place::GraphSendMail,
        (_, "messages") => Place::GraphCreate,
        (_, "importMime") => Place::GraphImport,
        (_, "move" | "copy") => Place::GraphTransfer,
        (_, "mailFolders" | "childFolders") => Place::GraphFolder,
        (_, "send") => Place::GraphSendDraft,
        (_, "permanentDelete") => Place::GraphDelete,
        (_, "attachments" | "createUploadSession") => Place::GraphAttach,
        _ => Place::Other,
    }
}

pub(super) fn upload_place_of(_: &Method, _: &str) -> Place {
    Place::GraphUpload
}
