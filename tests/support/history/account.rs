//! What each client was told over all of its connections, held against the log: P1 to P5, P9
//! and P11.
//!
//! Of each topic it is known how far a client has everything. A gap moves that on: in memory
//! it stands where the last of the lost events of a topic stood, so it is of the topic of the
//! event that stood there. In a log that is kept elsewhere it may be of any.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::decode::Told;
use super::reach::{Reach, Sums};
use super::record::{Connection, Ended, Filter, History, Id, Kind, Outcome, Stamp, Start, uid};
use super::truth::{Known, Truth};
use super::{Promise, Violation};

pub(super) fn judge(
    history: &History,
    truth: &Truth<'_>,
    told: &[Vec<(Stamp, Told)>],
    found: &mut Vec<Violation>,
) {
    let mut chains: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, connection) in history.connections.iter().enumerate() {
        chains.entry(connection.chain).or_default().push(at);
    }
    for chain in chains.values() {
        let mut account = Account::new(history, truth, found);
        for &at in chain {
            account.begin(at);
            for (stamp, told) in told.get(at).into_iter().flatten() {
                account.check_live(*stamp, chain);
                account.hear(*stamp, told);
            }
        }
        account.check_live(Stamp::MAX, chain);
    }
}

struct Account<'a, 'b> {
    history: &'a History,
    truth: &'a Truth<'a>,
    found: &'b mut Vec<Violation>,
    connection: &'a Connection,
    at: usize,
    /// The log that it reads, once that is known.
    epoch: Option<String>,
    /// The position that it was told last, in that log.
    place: u64,
    /// What there is of topics that it has not been told anything of.
    floor: Reach,
    topics: HashMap<String, Reach>,
    /// The newest that it was told of topics of which that alone counts.
    values: HashMap<String, u64>,
    /// Told since it began, or was told that it began anew.
    seen: HashSet<Id>,
    /// Told something that is lost, and not told so yet.
    astray: bool,
    /// Nothing with an id was told on this connection yet.
    is_first: bool,
    /// What was told last on this connection, and whether it was a bookmark.
    order: Option<(Id, bool)>,
    is_checked: bool,
    /// Of this connection, in memory; if every gap has said how many.
    sums: Option<Sums>,
}

impl<'a, 'b> Account<'a, 'b> {
    fn new(history: &'a History, truth: &'a Truth<'a>, found: &'b mut Vec<Violation>) -> Self {
        Self {
            history,
            truth,
            found,
            connection: &history.connections[0],
            at: 0,
            epoch: None,
            place: 0,
            floor: Reach::default(),
            topics: HashMap::new(),
            values: HashMap::new(),
            seen: HashSet::new(),
            astray: false,
            is_first: true,
            order: None,
            is_checked: false,
            sums: None,
        }
    }

    fn broken(&mut self, promise: Promise, what: impl Into<String>) {
        self.found
            .push(Violation::new(promise, Some(self.at), what));
    }

    fn begin(&mut self, at: usize) {
        self.connection = &self.history.connections[at];
        self.at = at;
        self.is_first = true;
        self.order = None;
        let is_in_memory = self.history.rules.kind == Kind::Memory;
        let requested = self.requested().filter(|_| is_in_memory);
        self.sums = requested.map(|id| Sums::behind(id.offset));
        match self.requested() {
            None if self.connection.requested.is_none() => self.reset(None, Reach::default()),
            Some(id) if self.epoch.as_deref() != Some(&id.epoch) => {
                let floor = Reach::at(id.offset);
                self.reset(Some(&id), floor);
            }
            // What follows an id is everything behind it.
            Some(id) => {
                for reach in self.topics.values_mut().chain([&mut self.floor]) {
                    reach.reached.get_or_insert(id.offset);
                }
            }
            None => {}
        }
    }

    /// The id that it brought, if it is one.
    fn requested(&self) -> Option<Id> {
        self.connection.requested.as_deref().and_then(Id::parse)
    }

    /// It begins anew, there.
    fn reset(&mut self, id: Option<&Id>, floor: Reach) {
        self.epoch = id.map(|id| id.epoch.clone());
        self.place = id.map_or(0, |id| id.offset);
        self.floor = floor;
        self.topics.clear();
        self.values.clear();
        self.seen.clear();
        self.astray = false;
    }

    fn known(&self) -> Option<&'a Known<'a>> {
        self.truth.log(self.epoch.as_deref()?)
    }

    /// The topics that it wants every event of.
    fn wanted(&self) -> Vec<&'a str> {
        let Some(known) = self.known() else {
            return Vec::new();
        };
        let wants = |topic: &&str| {
            self.connection.filter.wants(topic) && !self.history.rules.is_latest(topic)
        };
        known.topics().filter(wants).collect()
    }

    fn reach(&mut self, topic: &str) -> &mut Reach {
        let floor = self.floor;
        self.topics.entry(topic.to_owned()).or_insert(floor)
    }

    fn hear(&mut self, stamp: Stamp, told: &Told) {
        let Some(id) = told.id() else {
            return self.without_id(told);
        };
        if let Told::Event {
            prev: Some(prev), ..
        } = told
            && let Some((last, _)) = &self.order
            && last != prev
        {
            let what = format!("{id} is said to follow {prev}, not {last}");
            self.broken(Promise::Reliable, what);
        }
        match told {
            Told::Gap {
                reason,
                missed,
                from,
                resume,
                ..
            } => {
                if resume.as_ref() != Some(id) {
                    self.broken(Promise::Honest, format!("{resume:?} is not {id}"));
                }
                if let Some(from) = from {
                    self.check_from(id, reason, from);
                }
                self.gap(stamp, id, reason, *missed);
            }
            Told::Event { data, .. } => {
                self.check_ahead(stamp, id);
                self.event(id, data);
            }
            _ => {
                self.check_ahead(stamp, id);
                self.bookmark(id);
            }
        }
        self.is_first = false;
        self.order = Some((id.clone(), matches!(told, Told::Bookmark(_))));
        self.place = id.offset;
    }

    /// Who brings an id that a log in memory has not given is told so before anything else.
    fn check_ahead(&mut self, stamp: Stamp, id: &Id) {
        let brought = self.requested().filter(|_| self.is_first);
        if let Some(brought) = brought
            && self.history.rules.kind == Kind::Memory
            && (brought.epoch == id.epoch && brought.offset > 0)
            && let Some(known) = self.truth.log(&id.epoch)
            && !known.was_at(&brought, stamp, self.truth)
        {
            let what = format!("{id} without a gap, and {brought} is ahead of the log");
            self.broken(Promise::Resumable, what);
        }
    }

    /// Where it begins that begins by policy there. Who wants newest values begins with those
    /// that there are, which may stand long before what comes next.
    fn live(&self, id: &Id) -> Reach {
        let latest = &self.history.rules.latest;
        let log = self.truth.log(&id.epoch);
        let mut topics = log.into_iter().flat_map(Known::topics);
        let wants_values = !latest.is_empty()
            && topics.any(|topic| {
                self.connection.filter.wants(topic) && self.history.rules.is_latest(topic)
            });
        match self.connection.start {
            Start::Live if !wants_values => Reach::at(id.offset),
            _ if self.is_plain() => Reach::at(id.offset),
            _ => Reach::default(),
        }
    }

    /// Without topics everything behind where it begins comes, wherever that is.
    fn is_plain(&self) -> bool {
        self.history.rules.kind == Kind::Memory && self.connection.filter == Filter::All
    }

    /// After an id that is ahead of the log everything follows that is kept.
    fn check_oldest(&mut self, stamp: Stamp, id: &Id) {
        let (Some(known), Some(keeps)) = (self.known(), self.history.rules.keeps) else {
            return;
        };
        for topic in self.wanted() {
            let left_out = known.between(topic, 0, id.offset + 1);
            let Some(last) = left_out.last() else {
                continue;
            };
            let newer = known.behind(topic, *last, stamp);
            if newer < keeps {
                let what = format!(
                    "it begins behind {id}, and {last} of {topic:?} has {newer} behind it: \
                     {keeps} are kept"
                );
                self.broken(Promise::Resumable, what);
            }
        }
    }

    /// Only a newest value whose place is past is told without its id.
    fn without_id(&mut self, told: &Told) {
        let Told::Event { data, .. } = told else {
            if let Told::Gap { .. } = told {
                self.broken(
                    Promise::Resumable,
                    format!("{} without an id", told.short()),
                );
            }
            return;
        };
        let stored = self.truth.place(uid(data));
        match stored {
            Some(stored) if self.seen.contains(&stored.id) => {
                self.broken(Promise::Unique, format!("{} again", stored.id));
            }
            Some(stored) if self.history.rules.is_latest(&stored.topic) => {
                self.seen.insert(stored.id.clone());
                self.values.insert(stored.topic.clone(), stored.id.offset);
            }
            _ => self.broken(
                Promise::Resumable,
                format!("{} without an id", told.short()),
            ),
        }
    }

    /// Goes on in the log of this id, if it may.
    fn enter(&mut self, id: &Id) {
        let is_malformed = self.connection.requested.is_some() && self.requested().is_none();
        let is_other = self.epoch.as_ref().is_some_and(|epoch| *epoch != id.epoch);
        if self.epoch.is_some() && !is_other && !(is_malformed && self.is_first) {
            return;
        }
        let floor = match is_other || is_malformed {
            true => Reach::default(),
            false => self.live(id),
        };
        let before = self.epoch.clone();
        self.reset(Some(id), floor);
        if (is_other || is_malformed && self.is_first) && !self.wanted().is_empty() {
            let promise = match self.is_first {
                true => Promise::Resumable,
                false => Promise::Reliable,
            };
            let what = format!("{id} without a gap, in another log than {before:?}");
            self.broken(promise, what);
        }
    }

    fn event(&mut self, id: &Id, data: &str) {
        self.enter(id);
        if !self.seen.insert(id.clone()) {
            return self.broken(Promise::Unique, format!("{id} again"));
        }
        if let Some((last, is_bookmark)) = &self.order
            && id.epoch == last.epoch
            && id.offset <= last.offset
        {
            let promise = match is_bookmark {
                true => Promise::Bookmarks,
                false => Promise::Ordered,
            };
            let what = format!("{id} behind {last}");
            return self.broken(promise, what);
        }
        let Some(known) = self.known() else {
            return;
        };
        let opened = self.connection.opened;
        if let Some(brought) = self.requested().filter(|_| self.is_first)
            && brought.epoch == id.epoch
            && id.offset <= brought.offset
            // In memory an id is one of the past, or ahead of the log and told so.
            && (self.history.rules.kind == Kind::Memory
                || known.was_at(&brought, opened, self.truth))
        {
            self.broken(Promise::Resumable, format!("{id} to who brought {brought}"));
        }
        let Some(stored) = known.at(id) else {
            // Of a newest value nobody is told that it is lost.
            let lost = self.truth.at(id);
            self.astray |= lost.is_some_and(|of| !self.history.rules.is_latest(&of.topic));
            return;
        };
        if std::mem::take(&mut self.astray) {
            let what = format!("no gap before {id}, behind what was lost");
            self.broken(Promise::Reliable, what);
        }
        let submit = self.truth.submits.get(uid(data));
        let topic = submit.map_or(stored.topic.as_str(), |submit| submit.topic.as_str());
        if self.history.rules.is_latest(topic) {
            self.values.insert(topic.to_owned(), id.offset);
            return;
        }
        if let Some(Outcome::Ok(ended, _)) = submit.map(|submit| &submit.outcome)
            && *ended < opened
            && self.history.rules.kind == Kind::Memory
            && (self.connection.start == Start::Live && self.connection.requested.is_none())
        {
            let what = format!("{id} to who began with what comes next, and had no id");
            self.broken(Promise::Resumable, what);
        }
        let Reach {
            reached,
            excused,
            excused_to,
            excused_by,
        } = *self.reach(topic);
        *self.reach(topic) = Reach::at(id.offset);
        let is_told = reached.is_none_or(|reached| {
            let missing = known.between(topic, reached.max(excused_to), id.offset);
            missing.is_empty()
        });
        match is_told {
            true => self.check_sums(known, topic, id),
            false => self.sums = None,
        }
        let Some(reached) = reached else {
            return;
        };
        let missing = known.between(topic, reached.max(excused_to), id.offset);
        let (Some(first), Some(last)) = (missing.first(), missing.last()) else {
            return self.check_excuse(excused, 0, id);
        };
        // Elsewhere no gap tells of what is submitted behind it.
        let is_late = |offset: &u64| known.invoked(topic, *offset) > excused_by;
        let late = missing.iter().find(|offset| is_late(offset));
        if let (Some(_), Some(late)) = (excused, late) {
            let what = format!("{late} of {topic:?}, behind every gap, is missing before {id}");
            return self.broken(Promise::Reliable, what);
        }
        match excused {
            None => {
                let brought = self.is_first && self.connection.requested.is_some();
                let promise = match brought {
                    true => Promise::Resumable,
                    false => Promise::Reliable,
                };
                let what = format!("{first} to {last} of {topic:?} are missing before {id}");
                self.broken(promise, what);
            }
            Some(_) => self.check_excuse(excused, missing.len() as u64, id),
        }
    }

    /// Received and missed are all that there was, of every topic up to what it has had.
    fn check_sums(&mut self, known: &Known<'_>, topic: &str, id: &Id) {
        let Some(sums) = &mut self.sums else {
            return;
        };
        let (missing, missed) = (sums.count(known, topic, id.offset), sums.missed);
        if missing > missed {
            self.sums = None;
            let what = format!("{missing} were missing before {id}, and it was told of {missed}");
            self.broken(Promise::Honest, what);
        }
    }

    /// How many were missing of the only topic that is wanted, of a log elsewhere.
    fn check_excuse(&mut self, excused: Option<Option<u64>>, missing: u64, id: &Id) {
        if let Some(Some(missed)) = excused
            && missed != missing
            && self.wanted().len() == 1
        {
            let what = format!("{missing} were missing before {id}, not {missed}");
            self.broken(Promise::Honest, what);
        }
    }

    fn bookmark(&mut self, id: &Id) {
        self.enter(id);
        if let Some((last, _)) = &self.order
            && id.epoch == last.epoch
            && id.offset < last.offset
        {
            let what = format!("the position {id} behind {last}");
            self.broken(Promise::Bookmarks, what);
        }
        let begins = self.is_first && self.connection.requested.is_none();
        if begins && self.history.rules.kind == Kind::Memory {
            self.sums = self.live(id).reached.map(Sums::behind);
        }
        let Some(known) = self.known() else {
            return;
        };
        // Who comes back is told the position that it has brought.
        let is_echo = self.is_first && self.requested().is_some_and(|brought| brought == *id);
        let is_sure = id.offset == 0 || known.at(id).is_some();
        if !is_sure || is_echo || self.astray {
            return;
        }
        for topic in self.wanted() {
            let Reach {
                reached,
                excused,
                excused_to,
                excused_by,
            } = *self.reach(topic);
            // Where it begins it may be said where that is; later it has everything before.
            let Some(reached) = reached else {
                if !self.is_first {
                    *self.reach(topic) = Reach::at(id.offset);
                }
                continue;
            };
            let missing = known.between(topic, reached.max(excused_to), id.offset + 1);
            let is_late = |offset: &u64| known.invoked(topic, *offset) > excused_by;
            let is_excused = excused.is_some() && !missing.iter().any(is_late);
            if let (Some(first), Some(last), false) = (missing.first(), missing.last(), is_excused)
            {
                let what = format!("{first} to {last} of {topic:?} are missing before {id}");
                self.broken(Promise::Bookmarks, what);
            }
            if reached < id.offset {
                *self.reach(topic) = Reach::at(id.offset);
            }
        }
    }

    fn gap(&mut self, stamp: Stamp, id: &Id, reason: &str, missed: Option<u64>) {
        match reason {
            "epoch" | "ahead" | "diverged" | "malformed" => {
                if let Some(what) = self.is_false(id, reason) {
                    self.broken(Promise::Honest, format!("{reason}: {what}"));
                }
                if missed.is_some() {
                    self.broken(Promise::Honest, format!("{reason} with a number"));
                }
                // Who is in the middle of it goes on with all that the other log retains.
                let floor = match reason {
                    "epoch" | "malformed" if self.is_first => self.live(id),
                    _ if self.is_plain() => Reach::at(id.offset),
                    _ => Reach::default(),
                };
                self.reset(Some(id), floor);
                self.sums = None;
                if reason == "ahead" {
                    self.check_oldest(stamp, id);
                }
            }
            "evicted" | "slow" | "corrupt" => {
                if self.epoch.is_none() {
                    self.reset(Some(id), Reach::default());
                }
                if self.epoch.as_deref() != Some(&id.epoch) {
                    self.broken(Promise::Reliable, format!("{reason} in another log: {id}"));
                    return self.reset(Some(id), Reach::default());
                }
                match self.history.rules.kind {
                    Kind::Memory => self.lost(stamp, id, reason, missed),
                    Kind::Latest => self.broken(Promise::Honest, format!("a gap, {reason}")),
                    Kind::Elsewhere => self.lost_elsewhere(stamp, reason, missed),
                }
            }
            other => self.broken(Promise::Honest, format!("a gap of reason {other:?}")),
        }
    }

    /// In memory what is missing is behind what the client had, and before where it goes on.
    fn check_from(&mut self, id: &Id, reason: &str, from: &Id) {
        let is_lost = matches!(reason, "evicted" | "slow");
        if !is_lost || self.history.rules.kind != Kind::Memory {
            return;
        }
        let had = match self.is_first {
            true => self.requested().map_or(0, |brought| brought.offset),
            false => self.place,
        };
        if from.epoch != id.epoch || from.offset < had || from.offset >= id.offset {
            let what = format!("{reason} from {from} to {id}, and it had {had}");
            self.broken(Promise::Honest, what);
        }
    }

    /// Why there is no reason to say so, if there is none.
    fn is_false(&self, id: &Id, reason: &str) -> Option<String> {
        let requested = self.requested();
        if self.history.rules.kind != Kind::Elsewhere {
            // Of a log in memory it is said of what a client has brought, and of that alone.
            if !self.is_first || self.connection.requested.is_none() {
                return Some("nobody has brought an id".into());
            }
            if reason == "diverged" || requested.is_none() && reason != "malformed" {
                return Some(format!("{:?} was brought", self.connection.requested));
            }
        }
        let known = self.truth.log(&id.epoch)?;
        let last = match self.is_first {
            true => requested.clone(),
            false => self.order.as_ref().map(|(id, _)| id.clone()),
        };
        let last = last.filter(|last| last.epoch == id.epoch);
        let is_there = last
            .as_ref()
            .is_some_and(|last| known.was_at(last, self.connection.opened, self.truth));
        match reason {
            "epoch" if last.is_some() => Some(format!("{last:?} is of this log")),
            "malformed" if requested.is_some() => Some(format!("{requested:?} is an id")),
            "ahead" if is_there => Some(format!("{last:?} is in the log")),
            "diverged" if is_there && known.log.lost.is_empty() => {
                Some(format!("{last:?} is in the log, which has lost nothing"))
            }
            _ if self.history.rules.kind == Kind::Latest => Some("of a log of one".into()),
            _ => None,
        }
    }

    /// A gap in memory: up to where it goes on, everything of the topic that stood there.
    fn lost(&mut self, stamp: Stamp, id: &Id, reason: &str, missed: Option<u64>) {
        match (missed, &mut self.sums) {
            (Some(missed), Some(sums)) => sums.missed = sums.missed.saturating_add(missed),
            _ => self.sums = None,
        }
        let Some(known) = self.known() else {
            return;
        };
        let rules = &self.history.rules;
        if missed.is_none() && self.connection.filter == Filter::All {
            let what = format!("{reason} at {id}: without a number");
            self.broken(Promise::Honest, what);
        }
        let is_wanted =
            |topic: &&str| self.connection.filter.wants(topic) && !rules.is_latest(topic);
        let stood = known
            .at_offset(id.offset)
            .map(|stored| stored.topic.as_str());
        let Some(topic) = stood.filter(is_wanted) else {
            return self.broken(
                Promise::Honest,
                format!("{reason} at {id}: not of its topics"),
            );
        };
        // Whatever else is missing before that place has been told, too, and may be counted.
        let mut total = 0;
        for other in self.wanted() {
            let reach = self.reach(other);
            reach.excused_to = id.offset;
            let reached = reach.reached.unwrap_or(id.offset);
            let missing = known.between(other, reached, id.offset + 1);
            total += missing.len() as u64;
            // Of whatever topic the gap is, what is kept of the others is told before it.
            let newer = missing.last().map(|last| known.behind(other, *last, stamp));
            if let Some((newer, keeps)) = newer.zip(rules.keeps)
                && newer < keeps
            {
                let what = format!(
                    "{reason} at {id}: of {other:?} the last one missing has {newer} behind it, \
                     and {keeps} are kept"
                );
                self.broken(Promise::Honest, what);
            }
        }
        let Some(reached) = self.reach(topic).reached else {
            *self.reach(topic) = Reach::at(id.offset);
            return;
        };
        *self.reach(topic) = Reach::at(id.offset.max(reached));
        let missing = known.between(topic, reached, id.offset + 1);
        if missing.is_empty() {
            return self.broken(
                Promise::Honest,
                format!("{reason} at {id}: nothing is missing"),
            );
        }
        // Who comes back is told of what is behind its id.
        let brought = self
            .requested()
            .map_or(reached, |id| id.offset.max(reached));
        let behind = known.between(topic, brought, id.offset + 1).len();
        let is_exact = |missed| [missing.len() as u64, behind as u64, total].contains(&missed);
        if missed.is_some_and(|missed| !is_exact(missed)) {
            let what = format!(
                "{reason} at {id}: {} are missing, not {missed:?}",
                missing.len()
            );
            self.broken(Promise::Honest, what);
        }
        if missed == Some(total) {
            for other in self.wanted() {
                let reach = self.reach(other);
                reach.reached = reach.reached.map(|reached| reached.max(id.offset));
            }
        }
    }

    /// A gap of a log elsewhere: of any topic, and it may be that nothing is missing.
    fn lost_elsewhere(&mut self, stamp: Stamp, reason: &str, missed: Option<u64>) {
        let was_astray = std::mem::take(&mut self.astray);
        // What cannot be read is not in what it is held against.
        if reason == "corrupt" {
            return;
        }
        for topic in self.wanted() {
            let reach = self.reach(topic);
            reach.excused_by = stamp;
            reach.excused = match reach.excused.unwrap_or(Some(0)).zip(missed) {
                Some((before, now)) if !was_astray => Some(Some(before + now)),
                _ => Some(None),
            };
        }
    }

    /// P9: everybody who stays has reached the end by then.
    fn check_live(&mut self, stamp: Stamp, chain: &[usize]) {
        let (Some(by), Some(last)) = (self.history.live_by, chain.last()) else {
            return;
        };
        if stamp <= by || std::mem::replace(&mut self.is_checked, true) {
            return;
        }
        if !self.history.connections[*last].stays {
            return;
        }
        if self.at != *last || self.connection.ended != Ended::Open {
            return self.broken(Promise::Live, "it is not there at the end");
        }
        let Some(known) = self.known() else {
            return self.broken(Promise::Live, format!("it is in no log: {:?}", self.epoch));
        };
        if !known.log.is_last {
            self.broken(Promise::Live, "it is in a log that is gone");
        }
        if self.astray {
            self.broken(Promise::Live, "it was not told what was lost");
        }
        let end = known.end();
        if self.history.rules.kind == Kind::Memory && self.place > end {
            let what = format!("it is at {}, and the log ends at {end}", self.place);
            self.broken(Promise::Live, what);
        }
        let topics = known.topics();
        let topics: Vec<_> = topics
            .filter(|of| self.connection.filter.wants(of))
            .collect();
        for topic in topics {
            let last = known.last(topic);
            let has = match self.history.rules.is_latest(topic) {
                true => self.values.get(topic).copied().unwrap_or_default(),
                // Who is to have what comes next has had nothing since its place.
                false => self.reach(topic).reached.unwrap_or(self.place),
            };
            if has < last {
                let what = format!("it has {topic:?} up to {has}, not {last}");
                self.broken(Promise::Live, what);
            }
        }
    }
}
