//! A message by way of Drafts (Graph pages `api/user-post-messages`, `concepts/outlook-large-attachments`).
//!
//! Danger: above some megabytes a message goes in pieces, and a draft that has only some of them looks
//! whole. Rule: until the last piece is there, the record of the APPEND calls it partial: it is
//! deleted, never finished. Signed and encrypted messages are not taken apart.

use std::sync::Arc;

use reqwest::StatusCode;
use serde_json::Value;

use super::journal::partial;
use super::lost::Posted;
use super::{DOING, Job};
use crate::config::role::LargeMessages;
use crate::mail::{Error, Kind};
use crate::upstream::graph::ask::Target;
use crate::upstream::graph::body::Mime;
use crate::upstream::graph::client::{Patience, Payload};
use crate::upstream::graph::delivery::{Plan, Policy, attach, plan};
use crate::upstream::graph::draft::Draft;

/// Where MIME makes a draft.
const DRAFTS: Target<'_> = Target::Path("/messages");
/// Messages are stored in pieces whatever the role says of sending.
const POLICY: Policy = Policy { save_to_sent_items: true, large_messages: LargeMessages::Upload };

impl Job<'_> {
    /// The message in Drafts, complete.
    pub(super) async fn draft(&mut self) -> Result<Value, Error> {
        let mime = self.mime();
        let size = mime.encoded_size();
        let limit = &self.engine.appending.limit;
        if size <= limit.octets() {
            match self.post(DRAFTS, &Payload::Mime(mime)).await? {
                Posted::Made(item) => return Ok(item),
                Posted::Unclear(error) => return self.look_for(error).await,
                Posted::Refused(answer)
                    if answer.status == StatusCode::PAYLOAD_TOO_LARGE && limit.refused(size) => {}
                Posted::Refused(answer) => return Err(self.engine.graph.refusal(DOING, &answer)),
            }
        }
        self.in_pieces().await
    }

    async fn in_pieces(&mut self) -> Result<Value, Error> {
        let limit = &self.engine.appending.limit;
        loop {
            let plan = plan(&self.engine.graph, &self.message, POLICY, limit).await?;
            let skeleton = Mime::of(&self.message, plan.skeleton.clone());
            let size = skeleton.encoded_size();
            match self.post(DRAFTS, &Payload::Mime(skeleton)).await? {
                Posted::Made(item) => return self.fill(item, plan).await,
                // A skeleton can't be told from a message that somebody writes: it is not looked for.
                Posted::Unclear(error) => return Err(error),
                Posted::Refused(answer)
                    if answer.status == StatusCode::PAYLOAD_TOO_LARGE && limit.refused(size) => {}
                Posted::Refused(answer) => return Err(self.engine.graph.refusal(DOING, &answer)),
            }
        }
    }

    async fn fill(&mut self, item: Value, plan: Plan) -> Result<Value, Error> {
        let Some(graph_id) = item["id"].as_str().map(str::to_owned) else {
            let text = format!("{}: Graph made a draft without an id", self.role());
            return Err(Error::new(Kind::Unavailable, text));
        };
        self.note(partial(&graph_id)).await?;
        let draft = Draft::kept(graph_id.clone());
        let graph = &self.engine.graph;
        let mut patience = Patience::new(&graph.client.timing);
        let message = Arc::clone(&self.message);
        for (part, size) in &plan.attachments {
            let added = attach(graph, &draft, &message, part, *size, &mut patience).await;
            if let Err(failure) = added {
                return Err(self.give_up(&graph_id, failure).await);
            }
        }
        Ok(item)
    }
}
