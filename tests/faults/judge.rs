//! What was promised against what has arrived.
//!
//! Danger: a judge that excuses too much finds nothing. Rule: over SMTP alone a message may be
//! doubled, and only where it is proved that the reply to the first copy was not seen: the tap kept
//! it back, or the process was killed right after the service took it. Over Graph nothing excuses a
//! second copy: no Sent Items copy is made to appear here later than the program looks for it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use authbridge::sandbox::{Delivery, Via};

use super::letter::{Letter, id_of, reported};
use super::tap::Passage;

/// A process that is killed within this time after the service took a message may not have settled
/// it: the reply is on its way, the queue's transaction is synced, and the machine is busy.
const SETTLING: Duration = Duration::from_secs(3);

/// Everything known so far.
#[derive(Default)]
pub struct Judge(Mutex<Records>);

#[derive(Default)]
struct Records {
    letters: BTreeMap<String, Record>,
    kills: Vec<Instant>,
    /// Deliveries that belong to no message of ours, or not as they are.
    wrong: Vec<String>,
    reports: usize,
}

struct Record {
    letter: Letter,
    accepted: Vec<bool>,
    /// By recipient.
    arrivals: Vec<Vec<Arrival>>,
    reported: Vec<bool>,
    /// A report that could not be delivered is in the dead-letter list.
    report_kept: Vec<bool>,
    /// The message is in the dead-letter list because of this recipient.
    kept: Vec<bool>,
}

#[derive(Clone, Copy, Debug)]
struct Arrival {
    at: Instant,
    via: Via,
    peer: Option<SocketAddr>,
}

/// The sums, and what is wrong, in words.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Messages that a client has handed in, or tried to.
    pub offered: usize,
    /// Messages answered 250.
    pub accepted: usize,
    /// Recipients of those.
    pub promised: usize,
    /// Recipients that were reached, of all messages.
    pub delivered: usize,
    /// Messages that were not answered 250 and arrived all the same.
    pub unpromised: usize,
    /// Recipients told to the sender as not reached.
    pub reported: usize,
    /// Recipients that are in the dead-letter list, as is the report about them.
    pub report_kept: usize,
    /// Second copies that the documented window explains.
    pub in_window: usize,
    /// Promised, not delivered, not reported.
    pub lost: Vec<String>,
    /// Second copies.
    pub doubled: Vec<String>,
    /// To somebody else, or not what was sent.
    pub misdelivered: Vec<String>,
}

impl Judge {
    /// A client is about to hand this in.
    pub fn offer(&self, letter: &Letter) {
        let count = letter.recipients.len();
        let record = Record {
            letter: letter.clone(),
            accepted: vec![false; count],
            arrivals: vec![Vec::new(); count],
            reported: vec![false; count],
            report_kept: vec![false; count],
            kept: vec![false; count],
        };
        self.with(|records| records.letters.insert(letter.id.clone(), record));
    }

    /// It was answered 250 for these recipients.
    pub fn accept(&self, id: &str, recipients: &[usize]) {
        self.with(|records| {
            let record = records.letters.get_mut(id).expect("offered before");
            recipients.iter().for_each(|number| record.accepted[*number] = true);
        });
    }

    /// The process was killed.
    pub fn killed(&self, at: Instant) {
        self.with(|records| records.kills.push(at));
    }

    /// What the cloud has delivered since the last call.
    pub fn arrived(&self, deliveries: &[Delivery]) {
        self.with(|records| deliveries.iter().for_each(|one| records.arrived(one)));
    }

    /// What the dead-letter list holds in the end: the message, and its recipients that failed.
    pub fn dead(&self, raw: &[u8], failed: &[String]) {
        self.with(|records| records.dead(raw, failed));
    }

    /// Recipients that were promised and are neither reached nor reported yet.
    pub fn outstanding(&self) -> usize {
        self.with(|records| records.letters.values().map(|one| one.open().count()).sum())
    }

    /// Judges; `passage` knows what became of a connection.
    pub fn verdict(&self, passage: impl Fn(SocketAddr, Instant) -> Option<Passage>) -> Verdict {
        self.with(|records| records.verdict(&passage))
    }

    fn with<T>(&self, work: impl FnOnce(&mut Records) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Record {
    fn open(&self) -> impl Iterator<Item = usize> {
        (0..self.accepted.len()).filter(|number| {
            let told = self.reported[*number] || self.report_kept[*number];
            self.accepted[*number] && self.arrivals[*number].is_empty() && !told
        })
    }

    /// Remembers something about those recipients.
    fn mark(&mut self, recipients: &[String], which: impl Fn(&mut Self) -> &mut Vec<bool>) {
        let all = self.letter.recipients.iter();
        let marks: Vec<bool> = all.map(|recipient| recipients.contains(recipient)).collect();
        which(self).iter_mut().zip(marks).for_each(|(mark, new)| *mark |= new);
    }

    /// Recipients that a report tells of without the message being in the dead-letter list.
    fn thrown_away(&self) -> impl Iterator<Item = usize> {
        (0..self.accepted.len()).filter(|number| self.reported[*number] && !self.kept[*number])
    }
}

impl Records {
    fn arrived(&mut self, delivery: &Delivery) {
        if let Some((id, failed)) = reported(&delivery.raw) {
            return self.report(delivery, &id, &failed);
        }
        let Some(record) = id_of(&delivery.raw).and_then(|id| self.letters.get_mut(&id)) else {
            let text =
                format!("nobody sent what {} got from {}", delivery.recipient, delivery.from);
            return self.wrong.push(text);
        };
        let letter = &record.letter;
        let told = format!("{} to {} by {:?}", letter.id, delivery.recipient, delivery.via);
        if delivery.from != letter.from {
            self.wrong.push(format!("{told}: from {}, not {}", delivery.from, letter.from));
        }
        if let Some(difference) = letter.difference(&delivery.raw) {
            self.wrong.push(format!("{told}: {difference}"));
        }
        match letter.recipients.iter().position(|one| *one == delivery.recipient) {
            Some(number) => record.arrivals[number].push(Arrival {
                at: delivery.at,
                via: delivery.via,
                peer: delivery.peer,
            }),
            None => self.wrong.push(format!("{told}: not in its envelope")),
        }
    }

    fn report(&mut self, delivery: &Delivery, id: &str, failed: &[String]) {
        self.reports += 1;
        let Some(record) = self.letters.get_mut(id) else {
            return self.wrong.push(format!("a report about {id}, which nobody sent"));
        };
        if delivery.recipient != record.letter.from {
            self.wrong.push(format!("a report about {id} to {}", delivery.recipient));
        }
        record.mark(failed, |record| &mut record.reported);
    }

    fn dead(&mut self, raw: &[u8], failed: &[String]) {
        if let Some((id, told)) = reported(raw) {
            if let Some(record) = self.letters.get_mut(&id) {
                record.mark(&told, |record| &mut record.report_kept);
            }
        } else if let Some(record) = id_of(raw).and_then(|id| self.letters.get_mut(&id)) {
            record.mark(failed, |record| &mut record.kept);
        }
    }

    fn verdict(&self, passage: &impl Fn(SocketAddr, Instant) -> Option<Passage>) -> Verdict {
        let mut verdict = Verdict { misdelivered: self.wrong.clone(), ..Verdict::default() };
        for record in self.letters.values() {
            let accepted = record.accepted.iter().filter(|accepted| **accepted).count();
            let reached = record.arrivals.iter().filter(|arrivals| !arrivals.is_empty()).count();
            verdict.offered += 1;
            verdict.accepted += usize::from(accepted > 0);
            verdict.promised += accepted;
            verdict.delivered += reached;
            verdict.unpromised += usize::from(accepted == 0 && reached > 0);
            verdict.reported += record.reported.iter().filter(|reported| **reported).count();
            verdict.report_kept += record.report_kept.iter().filter(|kept| **kept).count();
            let Letter { id, recipients, .. } = &record.letter;
            verdict.lost.extend(record.open().map(|n| format!("{id} to {}", recipients[n])));
            let gone = record.thrown_away();
            verdict
                .lost
                .extend(gone.map(|n| format!("{id} to {} reported, and not kept", recipients[n])));
            for (recipient, arrivals) in recipients.iter().zip(&record.arrivals) {
                for pair in arrivals.windows(2) {
                    match self.excuse(pair[0], passage) {
                        true => verdict.in_window += 1,
                        false => verdict.doubled.push(self.described(id, recipient, pair)),
                    }
                }
            }
        }
        verdict
    }

    /// Whether nobody can have known that this copy had been taken.
    fn excuse(
        &self,
        copy: Arrival,
        passage: &impl Fn(SocketAddr, Instant) -> Option<Passage>,
    ) -> bool {
        if copy.via != Via::Smtp {
            return false;
        }
        let lost = copy
            .peer
            .and_then(|peer| passage(peer, copy.at))
            .is_some_and(|one| one.lost_what_was_said(copy.at));
        lost || self.kill_after(copy.at).is_some_and(|time| time <= SETTLING)
    }

    fn kill_after(&self, at: Instant) -> Option<Duration> {
        let mut later = self.kills.iter().filter_map(|kill| kill.checked_duration_since(at));
        later.next()
    }

    fn described(&self, id: &str, recipient: &str, pair: &[Arrival]) -> String {
        let between = pair[1].at.saturating_duration_since(pair[0].at);
        format!(
            "{id} to {recipient} by {:?}, {between:.1?} apart; the next kill came {:.1?} after \
             the first",
            pair[0].via,
            self.kill_after(pair[0].at)
        )
    }
}

impl Verdict {
    /// Adds another one.
    pub fn add(&mut self, other: Self) {
        self.offered += other.offered;
        self.accepted += other.accepted;
        self.promised += other.promised;
        self.delivered += other.delivered;
        self.unpromised += other.unpromised;
        self.reported += other.reported;
        self.report_kept += other.report_kept;
        self.in_window += other.in_window;
        self.lost.extend(other.lost);
        self.doubled.extend(other.doubled);
        self.misdelivered.extend(other.misdelivered);
    }

    /// True when every promise was kept.
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.doubled.is_empty() && self.misdelivered.is_empty()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "messages: {} offered, {} accepted (250), {} not accepted and sent all the same",
            self.offered, self.accepted, self.unpromised
        )?;
        writeln!(
            f,
            "recipients: {} promised, {} delivered, {} reported to the sender, {} whose report could \
             not be delivered either and is kept",
            self.promised, self.delivered, self.reported, self.report_kept
        )?;
        writeln!(
            f,
            "lost {}, doubled {}, misdelivered {}; doubled inside the documented window of SMTP {}",
            self.lost.len(),
            self.doubled.len(),
            self.misdelivered.len(),
            self.in_window
        )?;
        for (what, all) in
            [("lost", &self.lost), ("doubled", &self.doubled), ("misdelivered", &self.misdelivered)]
        {
            all.iter().take(20).try_for_each(|one| writeln!(f, "{what}: {one}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::dice::Dice;
    use super::*;

    /// A judge that was offered one message of several recipients, and promised all of them.
    fn scene() -> (Judge, Letter) {
        let mut dice = Dice::new(5, "judge");
        let from = "o@contoso.example";
        let mut letter = Letter::draw(&mut dice, "f1".into(), from);
        while letter.recipients.len() < 2 || letter.hidden > 0 {
            letter = Letter::draw(&mut dice, "f1".into(), from);
        }
        let judge = Judge::default();
        judge.offer(&letter);
        judge.accept("f1", &(0..letter.recipients.len()).collect::<Vec<_>>());
        (judge, letter)
    }

    fn delivery(letter: &Letter, recipient: &str, via: Via, at: Instant) -> Delivery {
        Delivery {
            via,
            login: String::new(),
            from: letter.from.clone(),
            recipient: recipient.to_owned(),
            raw: letter.raw.clone(),
            submitted: letter.raw.clone(),
            leaves: true,
            at,
            number: 0,
            peer: Some("127.0.0.1:1".parse().expect("an address")),
        }
    }

    /// All recipients reached once.
    fn all(letter: &Letter, via: Via, at: Instant) -> Vec<Delivery> {
        letter.recipients.iter().map(|one| delivery(letter, one, via, at)).collect()
    }

    fn no_passage(_: SocketAddr, _: Instant) -> Option<Passage> {
        None
    }

    #[test]
    fn what_arrives_once_is_right_and_what_does_not_is_lost() {
        let (judge, letter) = scene();
        let mut deliveries = all(&letter, Via::GraphMime, Instant::now());
        let last = deliveries.pop().expect("several");
        judge.arrived(&deliveries);
        let verdict = judge.verdict(no_passage);
        assert_eq!((verdict.lost.len(), verdict.doubled.len(), judge.outstanding()), (1, 0, 1));
        assert!(verdict.lost[0].contains(&last.recipient) && !verdict.is_clean());
        judge.arrived(&[last]);
        let verdict = judge.verdict(no_passage);
        assert!(verdict.is_clean() && judge.outstanding() == 0, "{verdict}");
        assert_eq!((verdict.accepted, verdict.delivered), (1, letter.recipients.len()));
    }

    #[test]
    fn a_second_copy_is_found_with_or_without_a_promise() {
        for promised in [true, false] {
            let (judge, letter) = scene();
            if !promised {
                judge.offer(&letter);
            }
            let deliveries = all(&letter, Via::GraphMime, Instant::now());
            judge.arrived(&deliveries);
            judge.arrived(&deliveries[..1]);
            let verdict = judge.verdict(no_passage);
            assert_eq!((verdict.doubled.len(), verdict.lost.len()), (1, 0), "{verdict}");
            assert_eq!(verdict.unpromised, usize::from(!promised));
        }
    }

    #[test]
    fn a_second_copy_is_excused_by_a_kill_right_after_the_first_and_over_smtp_alone() {
        let ms = Duration::from_millis;
        for (via, kill_after, excused) in [
            (Via::Smtp, Some(ms(100)), true),
            (Via::Smtp, Some(ms(10_000)), false),
            (Via::Smtp, None, false),
            (Via::GraphMime, Some(ms(100)), false),
            (Via::GraphDraft, Some(ms(100)), false),
        ] {
            let (judge, letter) = scene();
            let at = Instant::now();
            // A kill before it explains nothing.
            judge.killed(at.checked_sub(ms(50)).expect("a time"));
            kill_after.into_iter().for_each(|time| judge.killed(at + time));
            judge.arrived(&all(&letter, via, at));
            judge.arrived(&[delivery(&letter, &letter.recipients[0], via, at + ms(20_000))]);
            let verdict = judge.verdict(no_passage);
            let found = (verdict.in_window, verdict.doubled.len());
            assert_eq!(found, if excused { (1, 0) } else { (0, 1) }, "{via:?} {kill_after:?}");
        }
    }

    #[test]
    fn a_second_copy_is_excused_by_a_reply_that_did_not_go_through() {
        let at = Instant::now();
        let ended = Some(at + Duration::from_secs(1));
        for (last_answer, excused) in [(None, true), (Some(at + Duration::from_millis(1)), false)] {
            let (judge, letter) = scene();
            judge.arrived(&all(&letter, Via::Smtp, at));
            judge.arrived(&[delivery(&letter, &letter.recipients[0], Via::Smtp, at)]);
            let passage = Passage { last_answer, ended, broken: true };
            let verdict = judge.verdict(|_, _| Some(passage));
            assert_eq!(verdict.doubled.is_empty(), excused, "{verdict}");
            assert_eq!(verdict.in_window, usize::from(excused));
        }
    }

    #[test]
    fn what_goes_to_somebody_else_or_is_changed_is_found() {
        let (_, letter) = scene();
        let now = Instant::now();
        let good = delivery(&letter, &letter.recipients[0], Via::Smtp, now);
        let mut changed = letter.raw.to_vec();
        let last = changed.len() - 3;
        changed[last] ^= 1;
        let strange = b"From: x\r\nX-Fault: f2\r\n\r\nhi\r\n";
        for (what, wrong) in [
            ("recipient", Delivery { recipient: "eve@elsewhere.example".into(), ..good.clone() }),
            ("sender", Delivery { from: "boss@contoso.example".into(), ..good.clone() }),
            ("octet", Delivery { raw: changed.into(), ..good.clone() }),
            ("message", Delivery { raw: strange.to_vec().into(), ..good.clone() }),
        ] {
            let (judge, letter) = scene();
            judge.arrived(&all(&letter, Via::Smtp, now)[1..]);
            judge.arrived(std::slice::from_ref(&wrong));
            let verdict = judge.verdict(no_passage);
            assert_eq!(verdict.misdelivered.len(), 1, "{what}: {verdict}");
        }
        let (judge, letter) = scene();
        judge.arrived(&all(&letter, Via::Smtp, now));
        assert!(judge.verdict(no_passage).is_clean());
    }

    #[test]
    fn a_report_to_the_sender_is_no_loss_and_one_to_somebody_else_is_a_leak() {
        for (to, clean) in [("o@contoso.example", true), ("eve@elsewhere.example", false)] {
            let (judge, letter) = scene();
            judge.arrived(&all(&letter, Via::Smtp, Instant::now())[1..]);
            let report = format!(
                "Content-Type: multipart/report; report-type=delivery-status\r\n\r\n\
                 Final-Recipient: rfc822; {}\r\n\r\nX-Fault: f1\r\n",
                letter.recipients[0]
            );
            let mut told = delivery(&letter, to, Via::Smtp, Instant::now());
            told.raw = report.into_bytes().into();
            judge.arrived(&[told]);
            assert!(!judge.verdict(no_passage).is_clean(), "the message is kept nowhere");
            judge.dead(&letter.raw, &letter.recipients[..1]);
            let verdict = judge.verdict(no_passage);
            assert_eq!((verdict.is_clean(), verdict.reported), (clean, 1), "{verdict}");
        }
    }

    #[test]
    fn a_report_that_is_kept_is_no_loss() {
        let (judge, letter) = scene();
        judge.arrived(&all(&letter, Via::Smtp, Instant::now())[1..]);
        judge.dead(&letter.raw, &letter.recipients[..1]);
        assert_eq!(judge.verdict(no_passage).lost.len(), 1, "its sender knows nothing of it");
        let report = format!(
            "Content-Type: multipart/report; report-type=delivery-status\r\n\r\n\
             Final-Recipient: rfc822; {}\r\n\r\nX-Fault: f1\r\n",
            letter.recipients[0]
        );
        judge.dead(report.as_bytes(), std::slice::from_ref(&letter.from));
        let verdict = judge.verdict(no_passage);
        assert!(verdict.is_clean() && verdict.report_kept == 1, "{verdict}");
    }
}
