//! What the cloud itself does wrong in a round.
//!
//! Rule: only what passes: nothing here has to be mended by a person, so that everything that is
//! promised can be kept.

use std::time::Duration;

use authbridge::sandbox::{Fault, Place, Sandbox, What};

use super::dice::Dice;
use super::journal::Journal;

/// Requests of Graph that change something.
const CHANGING: &[Place] = &[
    Place::GraphSendMail,
    Place::GraphSendMail,
    Place::GraphSendMail,
    Place::GraphSendMail,
    Place::GraphCreate,
    Place::GraphAttach,
    Place::GraphUpload,
    Place::GraphSendDraft,
];

/// The program looks for a copy up to ten seconds after an answer was lost.
const LATEST_COPY: Duration = Duration::from_secs(9);
/// Longer than a client is made to wait before its message is written down.
const VERY_LATE: (Duration, Duration) = (Duration::from_secs(31), Duration::from_secs(36));

/// What an overloaded, a broken and a lying service answer.
fn answers(dice: &mut Dice) -> What {
    let wait = Some(1 + dice.below(2));
    let table = [
        What::Status(429, None),
        What::Status(429, wait),
        What::Status(503, None),
        What::Status(503, wait),
        What::Status(500, None),
        What::Status(502, None),
        What::Status(504, None),
        What::ResetBefore,
        What::ResetWhileReading,
        What::ResetAfter,
        What::ResetAfter,
        What::Truncate,
        What::Truncate,
        What::Latency(dice.time(Duration::from_millis(50), Duration::from_millis(1500))),
        What::AnswerLate(dice.time(Duration::from_millis(50), Duration::from_millis(2500))),
        What::AnswerLate(dice.time(Duration::from_millis(50), Duration::from_millis(2500))),
        What::Stall,
    ];
    dice.pick(&table).clone()
}

/// An answer that is lost, and a copy in Sent Items that comes while the program looks for it.
fn late_copy(dice: &mut Dice) -> [Fault; 2] {
    let at = *dice.pick(&[Place::GraphSendMail, Place::GraphSendMail, Place::GraphSendDraft]);
    let copy = What::LateCopy(dice.time(Duration::from_millis(200), LATEST_COPY));
    let answers = [
        What::ResetAfter,
        What::Truncate,
        What::StatusAfter(504),
        What::AnswerLate(Duration::from_millis(1200)),
    ];
    [copy, dice.pick(&answers).clone()].map(|what| Fault { at, what, times: 1 })
}

fn at_graph(dice: &mut Dice) -> Fault {
    let at = *dice.pick(CHANGING);
    let what = match dice.below(10) {
        0 | 1 => What::ExpireToken,
        2 if at == Place::GraphSendMail => What::FalseSuccess,
        _ => answers(dice),
    };
    // Upload URLs carry no token.
    let what =
        if at == Place::GraphUpload && what == What::ExpireToken { What::ResetAfter } else { what };
    Fault { at, what, times: 1 }
}

fn at_smtp(dice: &mut Dice) -> Fault {
    let table = [
        What::Reply("CONNECT", "421 4.3.0 Temporary System Problem. Try again later."),
        What::Reply("MAIL", "421 4.7.0 Try again later, closing connection."),
        What::Reply("MAIL", "451 4.3.0 Mail server temporarily rejected message."),
        What::Reply("RCPT", "450 4.2.1 The user is receiving mail at a rate that is too high."),
        What::Reply("RCPT", "452 4.2.2 The account is over quota."),
        What::Reply("RCPT", "550 5.1.1 The account does not exist."),
        What::Reply(".", "421 4.3.0 Temporary System Problem. Try again later."),
        What::Reply(".", "451 4.3.0 Mail server temporarily rejected message."),
        What::DisconnectAt("CONNECT"),
        What::DisconnectAt("AUTH"),
        What::DisconnectAt("MAIL"),
        What::DisconnectAt("RCPT"),
        What::DisconnectAt("."),
        What::DisconnectAt("."),
        What::AcceptThenReset,
        What::AcceptThenReset,
        What::RefuseToken("400"),
        What::StallAtDot,
        What::Stall,
    ];
    Fault { at: Place::Smtp, what: dice.pick(&table).clone(), times: 1 }
}

fn draw(dice: &mut Dice) -> Fault {
    match dice.below(20) {
        0..=10 => at_graph(dice),
        11 => Fault { at: Place::GraphRead, what: answers(dice), times: 1 },
        12 => Fault { at: Place::EntraToken, what: answers(dice), times: 1 },
        13 => Fault { at: Place::GoogleToken, what: answers(dice), times: 1 },
        _ => at_smtp(dice),
    }
}

/// Asks the cloud for some faults; gives how many.
pub fn ask_for(sandbox: &Sandbox, dice: &mut Dice) -> Vec<Fault> {
    let mut faults: Vec<Fault> = (0..8 + dice.below(16)).map(|_| draw(dice)).collect();
    if dice.percent(50) {
        faults.extend(late_copy(dice));
    }
    faults.iter().for_each(|fault| sandbox.fault(fault.clone()));
    if dice.percent(10) {
        sandbox.revoke_tokens();
    }
    faults
}

/// Asks for answers that come when no client waits for them any more.
pub fn ask_for_patience(sandbox: &Sandbox, dice: &mut Dice) -> Vec<Fault> {
    let late = |dice: &mut Dice| What::AnswerLate(dice.time(VERY_LATE.0, VERY_LATE.1));
    let faults: Vec<Fault> =
        (0..6).map(|_| Fault { at: Place::GraphSendMail, what: late(dice), times: 1 }).collect();
    faults.iter().for_each(|fault| sandbox.fault(fault.clone()));
    faults
}

/// Writes down which of them have struck, and forgets the others.
pub fn settle(sandbox: &Sandbox, asked: Vec<Fault>, journal: &Journal) {
    let mut left = sandbox.faults_left();
    sandbox.clear_faults();
    for fault in asked {
        match left.iter().position(|one| *one == fault) {
            Some(index) => drop(left.swap_remove(index)),
            None => journal.fault(kind(&fault.what), &format!("{:?} {:?}", fault.at, fault.what)),
        }
    }
}

fn kind(what: &What) -> &'static str {
    match what {
        What::Status(429, None) => "429 without Retry-After",
        What::Status(429, Some(_)) => "429 with Retry-After",
        What::Status(..) => "5xx",
        What::AnswerLate(time) if *time >= VERY_LATE.0 => "taken, answered when nobody waits",
        What::Latency(_) | What::AnswerLate(_) => "late answer",
        What::LateCopy(_) => "late copy in Sent Items",
        What::Stall | What::StallAtDot => "never answered",
        What::ResetBefore | What::ResetWhileReading | What::DisconnectAt(_) => {
            "reset by the service"
        }
        What::ResetAfter | What::AcceptThenReset => "taken, answer dropped",
        What::Truncate => "taken, answer truncated",
        What::StatusAfter(_) => "taken, answered 5xx",
        What::FalseSuccess => "200 and nothing done",
        What::ExpireToken | What::RefuseToken(_) => "token dies on the way",
        What::Reply(_, text) if text.starts_with('5') => "recipient refused for good",
        What::Reply(..) => "4xx of SMTP",
        _ => "other",
    }
}
