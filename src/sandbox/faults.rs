//! Faults on demand: what goes wrong, where, and how often.
//!
//! Danger: a proxy that was only ever met by a healthy cloud loses or doubles mail on the first bad
//! day. Rule: every failure that the real services showed can be asked for here by place and count;
//! it strikes in the order it was asked for, and what is left unstruck can be seen, so that a test
//! proves its fault happened.

use std::time::Duration;

/// Where a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    /// Entra's token endpoint.
    EntraToken,
    /// Entra's authorize endpoint.
    EntraAuthorize,
    /// Entra's device code endpoint.
    EntraDevice,
    /// Google's token endpoint.
    GoogleToken,
    /// `POST …/sendMail`.
    GraphSendMail,
    /// `POST …/messages`: a new draft.
    GraphCreate,
    /// `PATCH …/messages/{id}`.
    GraphUpdate,
    /// `DELETE …/messages/{id}`.
    GraphDelete,
    /// `POST …/attachments` and `…/createUploadSession`.
    GraphAttach,
    /// `POST …/messages/{id}/send`.
    GraphSendDraft,
    /// `POST …/messages/{id}/move` and `…/copy`; of folders too.
    GraphTransfer,
    /// `POST …/mailFolders` and `…/childFolders`.
    GraphFolder,
    /// `POST …/importMime`.
    GraphImport,
    /// `POST /$batch` itself. Its parts are struck by `Status` and `Latency` of their own places.
    GraphBatch,
    /// `GET …/delta`.
    GraphDelta,
    /// `GET …/messages/{id}/$value`.
    GraphValue,
    /// Any other `GET` of Graph.
    GraphRead,
    /// The upload host.
    GraphUpload,
    /// An SMTP listener.
    Smtp,
    /// An IMAP listener.
    Imap,
    /// A POP3 listener.
    Pop3,
    /// Anything else over HTTP.
    Other,
}

/// What happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// HTTP: the answer comes later by this much.
    Latency(Duration),
    /// HTTP: the request is carried out and the answer comes later by this much.
    AnswerLate(Duration),
    /// HTTP: the request is carried out and this status answered all the same.
    StatusAfter(u16),
    /// HTTP: this status instead of doing anything, with a `Retry-After` in seconds if given.
    Status(u16, Option<u64>),
    /// HTTP: the connection is reset before anything is done.
    ResetBefore,
    /// HTTP: the connection is reset while the request's body is still being read.
    ResetWhileReading,
    /// HTTP: the request is carried out and the connection reset: an unknown outcome.
    ResetAfter,
    /// HTTP: the request is carried out and half of the answer arrives.
    Truncate,
    /// HTTP: no answer, ever. Mail protocols: no greeting.
    Stall,
    /// HTTP: 200 with an empty body, and nothing was done.
    FalseSuccess,
    /// Graph: the token that came with the request dies before it is looked at.
    ExpireToken,
    /// Mail protocols: this reply (`"451 4.7.0 Try later"`; IMAP's without its tag) to this verb
    /// (`"MAIL"`; of SMTP `"CONNECT"` is the greeting, `"."` the end of the message, which is then
    /// not taken).
    Reply(&'static str, &'static str),
    /// Mail protocols: the connection is reset at this verb (`"."` as above, nothing is taken).
    DisconnectAt(&'static str),
    /// SMTP: the final dot is never answered and nothing is taken.
    StallAtDot,
    /// SMTP: the message is taken and the connection reset before the reply.
    AcceptThenReset,
    /// IMAP and POP3: a right login is refused.
    RefuseLogin,
    /// Gmail: a right token is refused with this status in the challenge (`"400"`).
    RefuseToken(&'static str),
    /// Graph: refuses with this status and code a request whose token is good.
    Graph(u16, &'static str),
    /// Graph: a message is sent, and lies in Drafts as before for so long: only then does it become
    /// its copy in Sent Items, or vanish where none is kept (facts/graph-mail.md sections 4 and 9).
    /// It strikes together with a fault of the connection.
    LateCopy(Duration),
    /// Entra: AADSTS50196, the loop detection.
    LoopDetected,
    /// Entra: refuses with this AADSTS number, in the place's own shape.
    Aadsts(u32),
    /// Entra's authorize endpoint: sends this AADSTS number to the redirect address.
    AadstsToRedirect(u32),
    /// Google's token endpoint: `error` and `error_description`.
    Google(&'static str, &'static str),
}

impl What {
    /// True for what the service itself answers; the rest strikes before a request reaches it.
    pub(crate) fn is_an_answer(&self) -> bool {
        matches!(
            self,
            Self::LoopDetected
                | Self::Aadsts(_)
                | Self::AadstsToRedirect(_)
                | Self::Google(..)
                | Self::Graph(..)
                | Self::LateCopy(_)
        )
    }
}

/// A fault to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub at: Place,
    /// What.
    pub what: What,
    /// How many times.
    pub times: usize,
}

/// The faults still to come.
#[derive(Debug, Default)]
pub(crate) struct Pending(Vec<Fault>);

impl Pending {
    pub fn add(&mut self, fault: Fault) {
        if fault.times > 0 {
            self.0.push(fault);
        }
    }

    /// Takes the oldest fault of the place that fits.
    pub fn take(&mut self, at: Place, fits: impl Fn(&What) -> bool) -> Option<What> {
        let index = self.0.iter().position(|fault| fault.at == at && fits(&fault.what))?;
        let fault = &mut self.0[index];
        fault.times -= 1;
        let what = fault.what.clone();
        if fault.times == 0 {
            self.0.remove(index);
        }
        Some(what)
    }

    pub fn left(&self) -> Vec<Fault> {
        self.0.clone()
    }

    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_strike_in_order_and_as_often_as_asked() {
        let mut pending = Pending::default();
        let (first, second) = (What::Status(503, None), What::ResetAfter);
        pending.add(Fault { at: Place::GraphSendMail, what: first.clone(), times: 2 });
        pending.add(Fault { at: Place::GraphSendMail, what: second.clone(), times: 1 });
        pending.add(Fault { at: Place::Smtp, what: What::StallAtDot, times: 0 });
        let mut take = |at| pending.take(at, |_| true);
        assert_eq!(take(Place::Smtp), None);
        assert_eq!(take(Place::GraphSendMail), Some(first.clone()));
        assert_eq!(take(Place::GraphSendMail), Some(first));
        assert_eq!(take(Place::GraphSendMail), Some(second));
        assert_eq!(take(Place::GraphSendMail), None);
        assert!(pending.left().is_empty());
    }

    #[test]
    fn what_does_not_fit_waits() {
        let mut pending = Pending::default();
        pending.add(Fault { at: Place::Smtp, what: What::Reply("MAIL", "451 x"), times: 1 });
        assert_eq!(pending.take(Place::Smtp, |what| *what == What::StallAtDot), None);
        assert_eq!(pending.left().len(), 1);
        pending.clear();
        assert!(pending.left().is_empty());
    }
}
