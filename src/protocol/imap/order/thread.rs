//! THREAD=ORDEREDSUBJECT and THREAD=REFERENCES (RFC 5256 section 3).
//!
//! Danger: References fields are written by strangers: they make loops, contradict each other and
//! chain ten thousand messages. Rule: the tree is an array of parents; a link that would close a
//! loop is not made; every walk is a loop over that array, never a call inside a call.

use std::collections::HashMap;

use super::super::request::ThreadAlgorithm;
use super::Sortable;

/// The threads, as they stand after `* THREAD ` (empty: none).
pub fn thread(algorithm: ThreadAlgorithm, mut messages: Vec<Sortable>) -> String {
    // By date, so that places compare as dates do from here on; of equal dates by position.
    messages.sort_by_key(|message| (message.sent(), message.position));
    let forest = match algorithm {
        ThreadAlgorithm::OrderedSubject => ordered_subject(&messages),
        ThreadAlgorithm::References => references(&messages),
    };
    render(&messages, &forest)
}

/// A message, by its place in the sorted list, or a dummy above the last of them.
type Node = usize;

/// Threads: siblings in the order in which they are answered.
struct Forest {
    roots: Vec<Node>,
    children: Vec<Vec<Node>>,
}

/// All messages of one base subject are one thread, and children of its first.
fn ordered_subject(messages: &[Sortable]) -> Forest {
    let mut forest = Forest { roots: Vec::new(), children: vec![Vec::new(); messages.len()] };
    let mut first: HashMap<&str, Node> = HashMap::new();
    for (node, message) in messages.iter().enumerate() {
        let root = *first.entry(&message.facts.subject).or_insert(node);
        match root == node {
            true => forest.roots.push(node),
            false => forest.children[root].push(node),
        }
    }
    forest
}

fn references(messages: &[Sortable]) -> Forest {
    let links = Links::of(messages);
    let mut forest = prune(&links, messages.len());
    sort_by_date(&mut forest, messages.len());
    gather(&mut forest, messages);
    sort_by_date(&mut forest, messages.len());
    forest
}

/// Steps of all searches for loops together. A mailbox of real threads needs a few million; when
/// they are used up, links that would need more are not made.
const MAX_STEPS: usize = 50_000_000;

/// Step 1: who is whose parent.
struct Links {
    parents: Vec<Option<Node>>,
    /// How many children each has.
    degrees: Vec<u32>,
    steps: usize,
}

impl Links {
    fn of(messages: &[Sortable]) -> Self {
        let mut links = Self {
            parents: vec![None; messages.len()],
            degrees: vec![0; messages.len()],
            steps: 0,
        };
        // The first message with an identifier has it; another has one of its own.
        let mut order: Vec<Node> = (0..messages.len()).collect();
        order.sort_unstable_by_key(|node| messages[*node].position);
        let mut nodes: HashMap<&[u8], Node> = HashMap::new();
        for &node in &order {
            if let Some(id) = &messages[node].facts.message_id {
                nodes.entry(id).or_insert(node);
            }
        }
        for node in order {
            links.add(node, &messages[node].facts.references, &mut nodes);
        }
        links
    }

    fn add<'a>(
        &mut self,
        node: Node,
        references: &'a [Vec<u8>],
        nodes: &mut HashMap<&'a [u8], Node>,
    ) {
        let mut before = None;
        for reference in references {
            let next = *nodes.entry(reference).or_insert(self.parents.len());
            if next == self.parents.len() {
                self.parents.push(None);
                self.degrees.push(0);
            }
            // Step 1.A: links that are there stay.
            if let Some(parent) = before.filter(|_| self.parents[next].is_none()) {
                self.link(parent, next);
            }
            before = Some(next);
        }
        // Step 1.B: the message itself knows best.
        if let Some(old) = self.parents[node].take() {
            self.degrees[old] -= 1;
            if before.is_some_and(|parent| self.makes_loop(parent, node)) {
                self.parents[node] = Some(old);
                self.degrees[old] += 1;
                return;
            }
        }
        if let Some(parent) = before {
            self.link(parent, node);
        }
    }

    fn link(&mut self, parent: Node, child: Node) {
        if !self.makes_loop(parent, child) {
            self.parents[child] = Some(parent);
            self.degrees[parent] += 1;
        }
    }

    /// True when `child` is `parent` or above it.
    fn makes_loop(&mut self, parent: Node, child: Node) -> bool {
        let mut above = Some(parent);
        // Without children it is above nobody.
        while let Some(node) = above.filter(|_| parent == child || self.degrees[child] > 0) {
            self.steps += 1;
            if node == child || self.steps > MAX_STEPS {
                return true;
            }
            above = self.parents[node];
        }
        false
    }

    /// Every node after its parent.
    fn top_down(&self) -> Vec<Node> {
        let mut children: Vec<Vec<Node>> = vec![Vec::new(); self.parents.len()];
        let mut order = Vec::with_capacity(self.parents.len());
        for (node, parent) in self.parents.iter().enumerate() {
            match parent {
                Some(parent) => children[*parent].push(node),
                None => order.push(node),
            }
        }
        let mut next = 0;
        while let Some(&node) = order.get(next) {
            order.append(&mut children[node]);
            next += 1;
        }
        order
    }
}

/// Steps 2 and 3: drops what no message stands for; its children go one level up, except to the
/// root when there are several.
fn prune(links: &Links, messages: usize) -> Forest {
    let mut forest = Forest { roots: Vec::new(), children: vec![Vec::new(); links.parents.len()] };
    // The nearest message above, or the topmost dummy.
    let mut above: Vec<Option<Node>> = vec![None; links.parents.len()];
    for node in links.top_down() {
        let Some(parent) = links.parents[node] else {
            forest.roots.push(node);
            continue;
        };
        above[node] = if parent < messages { Some(parent) } else { above[parent].or(Some(parent)) };
        if let (Some(above), true) = (above[node], node < messages) {
            forest.children[above].push(node);
        }
    }
    let roots = std::mem::take(&mut forest.roots);
    for root in roots {
        match (root < messages, forest.children[root].as_slice()) {
            (false, []) => {}
            (false, [only]) => forest.roots.push(*only),
            _ => forest.roots.push(root),
        }
    }
    forest
}

/// Steps 4 and 6: siblings by date. A dummy, which is nobody's child, has the date of its first
/// child; places of messages are in the order of dates.
fn sort_by_date(forest: &mut Forest, messages: usize) {
    forest.children.iter_mut().for_each(|children| children.sort_unstable());
    let Forest { roots, children } = forest;
    roots.sort_unstable_by_key(|root| first_message(*root, children, messages));
}

/// The message that stands for a thread.
fn first_message(root: Node, children: &[Vec<Node>], messages: usize) -> Node {
    let first = if root < messages { None } else { children[root].first() };
    *first.unwrap_or(&root)
}

/// Step 5: threads of one base subject become one.
fn gather(forest: &mut Forest, messages: &[Sortable]) {
    let subjects: Vec<(Node, &str)> = forest
        .roots
        .iter()
        .map(|root| (*root, first_message(*root, &forest.children, messages.len())))
        .map(|(root, first)| (root, messages[first].facts.subject.as_str()))
        .collect();
    let is_dummy = |node: Node| node >= messages.len();
    let is_reply = |node: Node| messages.get(node).is_some_and(|message| message.facts.is_reply);
    let mut table: HashMap<&str, Node> = HashMap::new();
    for &(root, subject) in subjects.iter().filter(|(_, subject)| !subject.is_empty()) {
        let known = table.entry(subject).or_insert(root);
        let is_better = is_dummy(root) || (is_reply(*known) && !is_reply(root));
        if !is_dummy(*known) && is_better {
            *known = root;
        }
    }
    let mut gone: Vec<bool> = vec![false; forest.children.len()];
    let mut dummies = Vec::new();
    for (root, subject) in subjects {
        let Some(known) = table.get_mut(subject).filter(|known| **known != root) else { continue };
        gone[root] = true;
        if is_dummy(*known) && is_dummy(root) {
            let mut children = std::mem::take(&mut forest.children[root]);
            forest.children[*known].append(&mut children);
        } else if is_dummy(*known) || (is_reply(root) && !is_reply(*known)) {
            forest.children[*known].push(root);
        } else {
            gone[*known] = true;
            dummies.push(forest.children.len());
            forest.children.push(vec![*known, root]);
            *known = forest.children.len() - 1;
        }
    }
    forest.roots.retain(|root| !gone[*root]);
    forest.roots.extend(dummies);
}

/// `thread-list`: a message and its only child stand beside each other, several in parentheses.
fn render(messages: &[Sortable], forest: &Forest) -> String {
    enum Step {
        Thread(Node),
        Close,
    }
    let mut out = String::new();
    let mut steps: Vec<Step> = forest.roots.iter().rev().map(|root| Step::Thread(*root)).collect();
    while let Some(step) = steps.pop() {
        let Step::Thread(start) = step else {
            out.push(')');
            continue;
        };
        out.push('(');
        steps.push(Step::Close);
        let mut node = start;
        loop {
            if let Some(message) = messages.get(node) {
                if node != start && !out.ends_with('(') {
                    out.push(' ');
                }
                out.push_str(&message.number.to_string());
            }
            match forest.children[node].as_slice() {
                [] => break,
                [only] => node = *only,
                several => {
                    if !out.ends_with('(') {
                        out.push(' ');
                    }
                    steps.extend(several.iter().rev().map(|child| Step::Thread(*child)));
                    break;
                }
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::super::Facts;
    use super::*;

    /// Messages with those headers, numbered from 1, which arrived in this order.
    fn threads(algorithm: ThreadAlgorithm, headers: &[&str]) -> String {
        let numbered = headers.iter().zip(1_u32..);
        let messages = numbered.map(|(header, number)| Sortable {
            number,
            position: number,
            facts: Facts::of(format!("{header}\r\n\r\n").as_bytes()),
            arrival: OffsetDateTime::UNIX_EPOCH + time::Duration::days(number.into()),
            size: 0,
        });
        thread(algorithm, messages.collect())
    }

    fn by_references(headers: &[&str]) -> String {
        threads(ThreadAlgorithm::References, headers)
    }

    #[test]
    fn subjects_make_threads_of_two_levels() {
        let headers = [
            "Subject: a",
            "Subject: b",
            "Subject: re: a",
            "Subject: c",
            "Subject: A (fwd)",
            "Subject: fw: c",
            "X: y",
            "X: z",
        ];
        let found = threads(ThreadAlgorithm::OrderedSubject, &headers);
        assert_eq!(found, "(1 (3)(5))(2)(4 6)(7 8)");
        assert_eq!(threads(ThreadAlgorithm::OrderedSubject, &[]), "");
        let dated = [
            "Subject: a\r\nDate: 3 Jan 2024 00:00 +0000",
            "Subject: b\r\nDate: 2 Jan 2024 00:00 +0000",
            "Subject: a\r\nDate: 1 Jan 2024 00:00 +0000",
        ];
        assert_eq!(threads(ThreadAlgorithm::OrderedSubject, &dated), "(3 1)(2)");
    }

    #[test]
    fn references_make_trees() {
        for (headers, expected) in [
            (vec![], ""),
            (vec!["Message-ID: <a@b>"], "(1)"),
            // The example of RFC 5256 section 4.
            (
                vec![
                    "X: 1",
                    "Message-ID: <2@x>",
                    "Message-ID: <3@x>",
                    "Message-ID: <4@x>\r\nReferences: <3@x> <6@x>",
                    "X: 5",
                    "Message-ID: <6@x>\r\nReferences: <3@x>",
                    "Message-ID: <7@x>\r\nReferences: <3@x> <6@x> <44@x>",
                    "Message-ID: <23@x>\r\nReferences: <3@x> <6@x> <4@x>",
                    "Message-ID: <44@x>\r\nReferences: <3@x> <6@x>",
                    "Message-ID: <96@x>\r\nReferences: <3@x> <6@x> <44@x> <7@x>",
                ],
                "(1)(2)(3 6 (4 8)(9 7 10))(5)",
            ),
        ] {
            assert_eq!(by_references(&headers), expected, "{headers:#?}");
        }
    }

    #[test]
    fn contradictions_make_trees_too() {
        for (headers, expected) in [
            // A loop between them, and without the first.
            (
                vec![
                    "Message-ID: <a@b>",
                    "Message-ID: <b@b>\r\nReferences: <c@b> <a@b>",
                    "Message-ID: <c@b>\r\nReferences: <b@b>",
                ],
                "(3 1 2)",
            ),
            (
                vec![
                    "Message-ID: <b@b>\r\nReferences: <c@b> <a@b>",
                    "Message-ID: <c@b>\r\nReferences: <b@b>",
                ],
                "(2 1)",
            ),
            (vec!["Message-ID: <a@b>\r\nReferences: <a@b>"], "(1)"),
            (
                vec![
                    "Message-ID: <a@b>\r\nReferences: <b@b>",
                    "Message-ID: <b@b>\r\nReferences: <a@b>",
                ],
                "(2 1)",
            ),
            // Siblings of a message that is not there.
            (
                vec![
                    "Message-ID: <a@b>\r\nReferences: <x@x>",
                    "Message-ID: <b@b>\r\nReferences: <x@x>",
                ],
                "((1)(2))",
            ),
            (
                vec![
                    "Message-ID: <a@b>",
                    "References: <a@b> <gone@x> <gone2@x>",
                    "References: <a@b> <gone@x>",
                ],
                "(1 (2)(3))",
            ),
            (vec!["References: <x@x> <y@y> <z@z>"], "(1)"),
            // The same identifier twice; In-Reply-To; quotes.
            (
                vec!["Message-ID: <a@b>", "Message-ID: <a@b>", "In-Reply-To: yours of <\"a\"@b>"],
                "(1 3)(2)",
            ),
            // A message says itself who its parent is.
            (
                vec![
                    "Message-ID: <a@b>",
                    "Message-ID: <c@b>\r\nReferences: <a@b> <b@b>",
                    "Message-ID: <b@b>\r\nReferences: <d@b>",
                    "Message-ID: <d@b>",
                ],
                "(1)(4 3 2)",
            ),
            (
                vec![
                    "Message-ID: <c@b>\r\nReferences: <a@b> <b@b>",
                    "Message-ID: <b@b>",
                    "Message-ID: <a@b>",
                ],
                "(2 1)(3)",
            ),
        ] {
            assert_eq!(by_references(&headers), expected, "{headers:#?}");
        }
    }

    #[test]
    fn threads_of_one_subject_are_gathered() {
        for (headers, expected) in [
            (vec!["Subject: a", "Subject: Re: a", "Subject: b"], "(1 2)(3)"),
            (vec!["Subject: Re: a", "Subject: a"], "(2 1)"),
            (vec!["Subject: a", "Subject: a", "Subject: A"], "((1)(2)(3))"),
            (vec!["Subject: re: a", "Subject: fw: a"], "((1)(2))"),
            (vec!["X: y", "X: y"], "(1)(2)"),
            (
                vec![
                    "Subject: s\r\nReferences: <x@x>",
                    "Subject: t\r\nReferences: <x@x>",
                    "Subject: s",
                    "Subject: Re: s\r\nReferences: <y@x>",
                    "Subject: u\r\nReferences: <y@x>",
                ],
                "((1)(2)(3)(4)(5))",
            ),
            (
                vec!["Subject: s", "Subject: re: s\r\nMessage-ID: <a@b>", "References: <a@b>"],
                "(1 2 3)",
            ),
        ] {
            assert_eq!(by_references(&headers), expected, "{headers:#?}");
        }
    }

    #[test]
    fn siblings_are_sorted_by_date() {
        let headers = [
            "Message-ID: <a@b>\r\nDate: 9 Jan 2024 00:00:00 +0000",
            "References: <a@b>\r\nDate: 5 Jan 2024 00:00:00 +0000",
            "References: <a@b>\r\nDate: 4 Jan 2024 00:00:00 +0000",
            "References: <x@x>\r\nDate: 8 Jan 2024 00:00:00 +0000",
            "References: <x@x>\r\nDate: 10 Jan 2024 00:00:00 +0000",
            "References: <a@b>\r\nDate: 5 Jan 2024 01:00:00 +0200",
        ];
        assert_eq!(by_references(&headers), "((4)(5))(1 (3)(6)(2))");
    }

    #[test]
    fn long_chains_and_wide_threads_are_cheap() {
        let started = std::time::Instant::now();
        let mut chain: Vec<String> = (0..20_000)
            .map(|n| format!("Message-ID: <{n}@x>\r\nIn-Reply-To: <{}@x>\r\nSubject: s", n + 1))
            .collect();
        let numbers: Vec<String> = (1..=20_000).rev().map(|n: u32| n.to_string()).collect();
        let headers: Vec<&str> = chain.iter().map(String::as_str).collect();
        assert_eq!(by_references(&headers), format!("({})", numbers.join(" ")));
        chain.reverse();
        let headers: Vec<&str> = chain.iter().map(String::as_str).collect();
        assert!(by_references(&headers).starts_with("(1 2 3 "));
        let wide = vec!["Subject: same"; 20_000];
        assert!(by_references(&wide).starts_with("((1)(2)"));
        assert!(started.elapsed() < std::time::Duration::from_secs(20));
    }

    fn header() -> impl proptest::strategy::Strategy<Value = String> {
        use proptest::prelude::*;
        let id = (0..12_u8).prop_map(|id| format!("<{id}@x>"));
        let subject = prop::sample::select(vec!["", "a", "re: a", "b", "fwd: b"]);
        (id.clone(), prop::collection::vec(id, 0..5), subject, 1..20_u8).prop_map(
            |(id, references, subject, day)| {
                format!(
                    "Message-ID: {id}\r\nReferences: {}\r\nSubject: {subject}\r\n\
                     Date: {day} Jan 2024 00:00:00 +0000",
                    references.join(" ")
                )
            },
        )
    }

    proptest::proptest! {
        #[test]
        fn every_message_is_in_one_thread(headers in proptest::collection::vec(header(), 0..30)) {
            let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
            for algorithm in [ThreadAlgorithm::References, ThreadAlgorithm::OrderedSubject] {
                let found = threads(algorithm, &headers);
                let numbers = found.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty());
                let mut numbers: Vec<usize> = numbers.map(|n| n.parse().expect("digits")).collect();
                numbers.sort_unstable();
                proptest::prop_assert_eq!(numbers, (1..=headers.len()).collect::<Vec<_>>());
                let is_regular = ["()", "( ", " )", "  "].iter().all(|bad| !found.contains(bad));
                proptest::prop_assert!(is_regular, "{}", found);
                let depth = found.chars().try_fold(0_i32, |depth, c| match c {
                    '(' => Some(depth + 1),
                    ')' => (depth > 0).then_some(depth - 1),
                    _ => Some(depth),
                });
                proptest::prop_assert_eq!(depth, Some(0));
            }
        }
    }
}
