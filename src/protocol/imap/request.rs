//! Commands after login, as read.
//!
//! Danger: a command that is half understood does something else. Rule: a [`Request`] is complete
//! and valid in itself; what can't be read wholly is a BAD with its reason, never a guess.

use time::{Date, OffsetDateTime};

/// A command with its tag.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The client's tag, as sent.
    pub tag: String,
    /// What it asks for.
    pub verb: Verb,
}

/// What a client asks for after login. Mailbox names are decoded to UTF-8.
#[derive(Clone, Debug, PartialEq)]
pub enum Verb {
    /// RFC 9051 section 6.1.1.
    Capability,
    /// Section 6.1.2.
    Noop,
    /// Section 6.1.3.
    Logout,
    /// RFC 2971.
    Id,
    /// LOGIN, AUTHENTICATE or STARTTLS: not in this state.
    BeforeLogin,
    /// Section 6.3.1: capability names in upper case.
    Enable(Vec<String>),
    /// SELECT and EXAMINE, sections 6.3.2 and 6.3.3.
    Select(Select),
    /// Section 6.3.4; a trailing separator is cut off.
    Create(String),
    /// Section 6.3.5.
    Delete(String),
    /// Section 6.3.6.
    Rename {
        /// The old name.
        from: String,
        /// The new one.
        to: String,
    },
    /// Section 6.3.7.
    Subscribe(String),
    /// Section 6.3.8.
    Unsubscribe(String),
    /// Section 6.3.9.
    List(List),
    /// RFC 3501 section 6.3.9.
    Lsub {
        /// Put in front of the pattern.
        reference: String,
        /// With `*` and `%`.
        pattern: String,
    },
    /// Section 6.3.10.
    Namespace,
    /// Section 6.3.11.
    Status {
        /// The folder.
        mailbox: String,
        /// What is asked.
        items: Vec<StatusItem>,
    },
    /// Section 6.3.12, without the message itself.
    Append(Append),
    /// Section 6.3.13.
    Idle,
    /// RFC 3501 section 6.4.1.
    Check,
    /// Section 6.4.1.
    Close,
    /// Section 6.4.2.
    Unselect,
    /// EXPUNGE and UID EXPUNGE, sections 6.4.3 and 6.4.9.
    Expunge(Option<SequenceSet>),
    /// Section 6.4.4.
    Search(Search),
    /// RFC 5256.
    Sort {
        /// In this order of importance.
        keys: Vec<SortKey>,
        /// Which messages.
        search: Search,
    },
    /// RFC 5256.
    Thread {
        /// How.
        algorithm: ThreadAlgorithm,
        /// Which messages.
        search: Search,
    },
    /// Section 6.4.5.
    Fetch(Fetch),
    /// Section 6.4.6.
    Store(Store),
    /// Section 6.4.7.
    Copy(Transfer),
    /// Section 6.4.8.
    Move(Transfer),
    /// Anything else, in upper case.
    Unknown(String),
}

/// SELECT or EXAMINE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Select {
    /// The folder.
    pub mailbox: String,
    /// EXAMINE.
    pub read_only: bool,
    /// `(CONDSTORE)`.
    pub condstore: bool,
    /// `(QRESYNC (…))`.
    pub qresync: Option<Qresync>,
}

/// What the client remembers (RFC 7162 section 3.2.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qresync {
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// The last modification sequence it saw.
    pub modseq: u64,
    /// UIDs that it knows; `None`: all below UIDNEXT.
    pub known: Option<SequenceSet>,
    /// Message numbers and their UIDs.
    pub matches: Option<(SequenceSet, SequenceSet)>,
}

/// LIST (RFC 9051 section 6.3.9, RFC 5258, RFC 5819, RFC 6154).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List {
    /// Put in front of each pattern.
    pub reference: String,
    /// With `*` and `%`.
    pub patterns: Vec<String>,
    /// True when selection options, return options or several patterns were given.
    pub extended: bool,
    /// `SUBSCRIBED`.
    pub only_subscribed: bool,
    /// `SPECIAL-USE` before the patterns.
    pub only_special_use: bool,
    /// `RECURSIVEMATCH`.
    pub recursive_match: bool,
    /// `RETURN (SUBSCRIBED)`.
    pub return_subscribed: bool,
    /// `RETURN (CHILDREN)`.
    pub return_children: bool,
    /// `RETURN (STATUS (…))`.
    pub return_status: Option<Vec<StatusItem>>,
}

/// What STATUS asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusItem {
    /// `MESSAGES`.
    Messages,
    /// `UNSEEN`.
    Unseen,
    /// `DELETED`.
    Deleted,
    /// `RECENT`.
    Recent,
    /// `UIDNEXT`.
    UidNext,
    /// `UIDVALIDITY`.
    UidValidity,
    /// `HIGHESTMODSEQ`.
    HighestModSeq,
    /// `SIZE`.
    Size,
    /// `APPENDLIMIT`.
    AppendLimit,
    /// `MAILBOXID` (RFC 8474).
    MailboxId,
}

/// APPEND up to its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The folder.
    pub mailbox: String,
    /// Flags as written; `\Recent` is refused when read.
    pub flags: Vec<String>,
    /// INTERNALDATE.
    pub date: Option<OffsetDateTime>,
    /// Octets of the message that follows.
    pub size: u64,
    /// True when the client waits for `+`.
    pub synchronising: bool,
    /// A literal8 (RFC 3516), which alone may hold NUL.
    pub literal8: bool,
    /// `UTF8 (~{…})`: a closing parenthesis follows the message (RFC 9755).
    pub utf8: bool,
}

/// Numbers of messages; `*` is [`SequenceSet::LAST`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SequenceSet {
    /// Ranges as written: either end may be the larger.
    Ranges(Vec<(u32, u32)>),
    /// `$` (RFC 5182).
    Saved,
}

impl SequenceSet {
    /// `*`.
    pub const LAST: u32 = u32::MAX;
}

/// SEARCH and what SORT and THREAD share with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// UID SEARCH.
    pub uid: bool,
    /// `RETURN (…)`: `None` when absent; an empty list means ALL.
    pub returns: Option<Vec<SearchReturn>>,
    /// Not one that we know: answered with BADCHARSET.
    pub bad_charset: bool,
    /// All must match.
    pub keys: Vec<SearchKey>,
}

/// RFC 4731, RFC 5182.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchReturn {
    /// The lowest.
    Min,
    /// The highest.
    Max,
    /// All.
    All,
    /// How many.
    Count,
    /// Into `$`.
    Save,
}

/// RFC 9051 section 6.4.4. Strings are UTF-8, as the client wrote them.
#[derive(Clone, Debug, PartialEq)]
pub enum SearchKey {
    /// `ALL`.
    All,
    /// Message numbers.
    Seq(SequenceSet),
    /// `UID`.
    Uid(SequenceSet),
    /// A system flag such as `\Seen`, set or not (`SEEN`, `UNSEEN`, …).
    Flag(&'static str, bool),
    /// `KEYWORD`, `UNKEYWORD`.
    Keyword(String, bool),
    /// `RECENT` (true), `OLD` (false).
    Recent(bool),
    /// `NEW`.
    New,
    /// `BEFORE`: INTERNALDATE's day is earlier.
    Before(Date),
    /// `ON`.
    On(Date),
    /// `SINCE`.
    Since(Date),
    /// `SENTBEFORE`: the Date field's day, without regard to its zone.
    SentBefore(Date),
    /// `SENTON`.
    SentOn(Date),
    /// `SENTSINCE`.
    SentSince(Date),
    /// `OLDER`, in seconds (RFC 5032).
    Older(u32),
    /// `YOUNGER`.
    Younger(u32),
    /// `LARGER`.
    Larger(u64),
    /// `SMALLER`.
    Smaller(u64),
    /// `HEADER`, and FROM, TO, CC, BCC and SUBJECT: field name in lower case, substring.
    Header(String, String),
    /// `BODY`.
    Body(String),
    /// `TEXT`.
    Text(String),
    /// `MODSEQ` (RFC 7162).
    ModSeq(u64),
    /// `EMAILID` (RFC 8474).
    EmailId(String),
    /// `NOT`.
    Not(Box<SearchKey>),
    /// `OR`.
    Or(Box<SearchKey>, Box<SearchKey>),
    /// A list in parentheses.
    And(Vec<SearchKey>),
}

/// RFC 5256, RFC 5957.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SortKey {
    /// `REVERSE`.
    pub reverse: bool,
    /// By what.
    pub by: SortBy,
}

/// See [`SortKey`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// INTERNALDATE.
    Arrival,
    /// First Cc address's mailbox.
    Cc,
    /// Sent date.
    Date,
    /// First From address's mailbox.
    From,
    /// RFC822.SIZE.
    Size,
    /// Base subject.
    Subject,
    /// First To address's mailbox.
    To,
    /// First From's display name, else address (RFC 5957).
    DisplayFrom,
    /// First To's.
    DisplayTo,
}

/// RFC 5256 section 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadAlgorithm {
    /// `ORDEREDSUBJECT`.
    OrderedSubject,
    /// `REFERENCES`.
    References,
}

/// FETCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// UID FETCH.
    pub uid: bool,
    /// Which messages.
    pub set: SequenceSet,
    /// What of them, macros resolved.
    pub items: Vec<FetchItem>,
    /// `CHANGEDSINCE` (RFC 7162).
    pub changed_since: Option<u64>,
    /// `VANISHED` (RFC 7162).
    pub vanished: bool,
}

/// What FETCH asks of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchItem {
    /// `UID`.
    Uid,
    /// `FLAGS`.
    Flags,
    /// `INTERNALDATE`.
    InternalDate,
    /// `RFC822.SIZE`.
    Size,
    /// `ENVELOPE`.
    Envelope,
    /// `BODYSTRUCTURE` (true), `BODY` (false).
    Structure(bool),
    /// `MODSEQ`.
    ModSeq,
    /// `EMAILID`.
    EmailId,
    /// `THREADID`.
    ThreadId,
    /// `BODY[…]`, `BODY.PEEK[…]`.
    Section(FetchSection),
    /// `BINARY[…]`, `BINARY.PEEK[…]` (RFC 3516); no section text but parts.
    Binary {
        /// Part numbers.
        part: Vec<u32>,
        /// Does not set `\Seen`.
        peek: bool,
        /// Offset and length.
        partial: Option<(u64, u64)>,
    },
    /// `BINARY.SIZE[…]`.
    BinarySize(Vec<u32>),
    /// `BINARY[….TEXT]` and the like: not of RFC 3516, but Dovecot has them, as `BODY[….TEXT]`.
    BinaryText(FetchSection),
    /// `BINARY.SIZE[….TEXT]` and the like.
    BinaryTextSize(FetchSection),
    /// `RFC822` (sets `\Seen`).
    Rfc822,
    /// `RFC822.HEADER`.
    Rfc822Header,
    /// `RFC822.TEXT` (sets `\Seen`).
    Rfc822Text,
}

/// A body section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchSection {
    /// Part numbers; empty for the message itself.
    pub part: Vec<u32>,
    /// What of the part.
    pub text: SectionText,
    /// Does not set `\Seen`.
    pub peek: bool,
    /// Offset and length.
    pub partial: Option<(u64, u64)>,
}

/// What of a part (RFC 9051 section 6.4.5.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SectionText {
    /// All of it.
    Whole,
    /// `HEADER`.
    Header,
    /// `HEADER.FIELDS`, names as written.
    HeaderFields(Vec<String>),
    /// `HEADER.FIELDS.NOT`.
    HeaderFieldsNot(Vec<String>),
    /// `TEXT`.
    Text,
    /// `MIME`.
    Mime,
}

/// STORE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// UID STORE.
    pub uid: bool,
    /// Which messages.
    pub set: SequenceSet,
    /// `UNCHANGEDSINCE` (RFC 7162).
    pub unchanged_since: Option<u64>,
    /// What to do with the flags.
    pub action: StoreAction,
    /// `.SILENT`.
    pub silent: bool,
    /// Flags as written.
    pub flags: Vec<String>,
}

/// See [`Store`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreAction {
    /// `FLAGS`.
    Replace,
    /// `+FLAGS`.
    Add,
    /// `-FLAGS`.
    Remove,
}

/// COPY and MOVE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// UID COPY, UID MOVE.
    pub uid: bool,
    /// Which messages.
    pub set: SequenceSet,
    /// Where to.
    pub mailbox: String,
}
