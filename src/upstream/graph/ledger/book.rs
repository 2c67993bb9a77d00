//! What of the ledger is on the disk: the store's notes of hand-overs, or nothing.

use std::time::SystemTime;

use super::{MessageKey, PartKey};
use crate::store::Error;
use crate::store::handovers::{Handover, Handovers};

/// Where the ledger writes through to; clones are the same.
#[derive(Clone, Debug, Default)]
pub(in super::super) enum Book {
    /// Nowhere: who only proves logins.
    #[default]
    None,
    /// The state folder's database.
    Disk(Handovers),
    /// A stand-in that lives as long as a test.
    #[cfg(test)]
    Fake(fake::Fake),
}

impl Book {
    pub async fn uncertain(&self, part: PartKey) -> Result<Option<Handover>, Error> {
        match self {
            Self::None => Ok(None),
            Self::Disk(handovers) => handovers.uncertain(&part.hex()).await,
            #[cfg(test)]
            Self::Fake(fake) => Ok(fake.uncertain(&part.hex())),
        }
    }

    pub async fn begin(&self, part: PartKey, since: SystemTime, left: &str) -> Result<(), Error> {
        match self {
            Self::None => Ok(()),
            Self::Disk(handovers) => handovers.begin(&part.hex(), since, Some(left)).await,
            #[cfg(test)]
            Self::Fake(fake) => fake.begin(&part.hex(), since, left),
        }
    }

    pub async fn settle(
        &self,
        part: PartKey,
        message: MessageKey,
        sent: Option<SystemTime>,
    ) -> Result<(), Error> {
        match self {
            Self::None => Ok(()),
            Self::Disk(handovers) => handovers.settle(&part.hex(), &message.hex(), sent).await,
            #[cfg(test)]
            Self::Fake(fake) => fake.settle(&part.hex(), &message.hex(), sent),
        }
    }

    pub async fn copies(&self, message: MessageKey, since: SystemTime) -> Result<u64, Error> {
        match self {
            Self::None => Ok(0),
            Self::Disk(handovers) => handovers.copies(&message.hex(), since).await,
            #[cfg(test)]
            Self::Fake(fake) => Ok(fake.copies(&message.hex(), since)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::panic)]
pub mod fake {
    //! The promises of `store::handovers` in memory, and a disk that can be full.

    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, MutexGuard};
    use std::time::SystemTime;

    use super::{Book, Error, Handover};

    #[derive(Clone, Debug, Default)]
    pub struct Fake(Arc<Mutex<Pages>>);

    #[derive(Debug, Default)]
    struct Pages {
        uncertain: HashMap<String, Handover>,
        copies: Vec<(String, SystemTime)>,
        broken: bool,
    }

    impl Book {
        pub fn fake() -> Self {
            Self::Fake(Fake::default())
        }

        /// No note can be written any more.
        pub fn break_writes(&self) {
            let Self::Fake(fake) = self else { panic!("only a fake breaks") };
            fake.pages().broken = true;
        }

        /// How many attempts are noted.
        pub fn noted(&self) -> usize {
            let Self::Fake(fake) = self else { panic!("only a fake tells") };
            fake.pages().uncertain.len()
        }
    }

    impl Fake {
        fn pages(&self) -> MutexGuard<'_, Pages> {
            self.0.lock().expect("no test panicked")
        }

        fn writing(&self) -> Result<MutexGuard<'_, Pages>, Error> {
            let pages = self.pages();
            match pages.broken {
                true => Err(Error::Failed("disk full".to_owned())),
                false => Ok(pages),
            }
        }

        pub fn uncertain(&self, part: &str) -> Option<Handover> {
            self.pages().uncertain.get(part).cloned()
        }

        pub fn begin(&self, part: &str, since: SystemTime, left: &str) -> Result<(), Error> {
            let mut pages = self.writing()?;
            let new = Handover { since, trace: None };
            let known = pages.uncertain.entry(part.to_owned()).or_insert(new);
            known.trace = Some(left.to_owned());
            Ok(())
        }

        pub fn settle(
            &self,
            part: &str,
            message: &str,
            sent: Option<SystemTime>,
        ) -> Result<(), Error> {
            let mut pages = self.writing()?;
            pages.uncertain.remove(part);
            pages.copies.extend(sent.map(|at| (message.to_owned(), at)));
            Ok(())
        }

        pub fn copies(&self, message: &str, since: SystemTime) -> u64 {
            let pages = self.pages();
            let fits = |(of, at): &&(String, SystemTime)| of == message && *at >= since;
            pages.copies.iter().filter(fits).count() as u64
        }
    }
}
