//! Graph's JSON of a message, and what of it goes into the index.

use serde_json::Value;

use crate::store::{NewMessage, Update};

/// The properties that the index needs, as `$select=…&$expand=…` of a listing or a single GET,
/// without `?`.
pub(super) const FIELDS: &str = "$select=id";

/// Those of them that tell of a change, as `$select=…` of a delta request: extended properties do
/// not come with it.
pub(super) const DELTA_FIELDS: &str = "$select=id";

/// What a listing or a GET with [`FIELDS`] says of a message; `None` when it lacks an id.
pub(super) fn new_message(json: &Value) -> Option<NewMessage> {
    let _ = json;
    None
}

/// The id of the folder that a message is in.
pub(super) fn parent(json: &Value) -> Option<&str> {
    json["parentFolderId"].as_str()
}

/// The version of a message, for telling our own changes from others'.
pub(super) fn etag(json: &Value) -> Option<&str> {
    json["@odata.etag"].as_str()
}

/// What a full GET says of a message that is in the index already.
pub(super) fn update(message: &NewMessage) -> Update {
    Update {
        graph_id: message.graph_id.clone(),
        etag: message.etag.clone(),
        flags: Some(message.flags.clone()),
        size: None,
    }
}
