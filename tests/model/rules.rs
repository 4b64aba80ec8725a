//! The clinic's rules as their description says them: a small model, written without a look at the policies. It knows
//! people by number, and days by minutes of the clinic's wall clock.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sigilo_wire::Role;

/// Somebody of the clinic, by place.
pub type Who = usize;
/// From when to when, in minutes after midnight; what ends at or before its beginning goes on into the next day.
pub type Window = (i64, i64);

pub const MICROS: i64 = 1_000_000;
pub const MINUTE: i64 = 60 * MICROS;
pub const DAY: i64 = 24 * 60;
/// How far ahead an opening is looked for: no window of a test is further away.
const AHEAD: i64 = 12 * DAY;

/// When somebody, or the clinic, is there.
#[derive(Clone, Debug, Default)]
pub struct Hours {
    /// Every day; `None`: at any hour.
    pub daily: Option<Vec<Window>>,
    /// Days with windows of their own, by their number since 1970.
    pub days: BTreeMap<i64, Vec<Window>>,
}

impl Hours {
    fn of_day(&self, day: i64) -> Vec<Window> {
        let daily = || self.daily.clone().unwrap_or_else(|| vec![(0, DAY)]);
        self.days.get(&day).cloned().unwrap_or_else(daily)
    }

    /// At a minute of the wall clock since 1970.
    fn open(&self, minute: i64) -> bool {
        let day = minute.div_euclid(DAY);
        [day - 1, day].iter().any(|start| {
            self.of_day(*start).iter().any(|(from, to)| {
                let to = if to <= from { to + DAY } else { *to };
                (from + start * DAY..to + start * DAY).contains(&minute)
            })
        })
    }
}

/// Why a message may not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum No {
    /// Whoever sends has no account any more.
    Suspended,
    /// They do not take part.
    Stranger,
    /// It is over.
    Closed,
    /// A patient and a clinician are in it between whom there is no care.
    Apart,
    /// A patient begins with a clinician to whom no appointment leads.
    Unbooked,
    /// One of two has blocked the other.
    Blocked,
    /// Nobody is left to read it.
    Nobody,
    /// The hour.
    Hour,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Direct,
    Consultation,
    Group,
    Administrative,
    Emergency,
}

/// A conversation.
#[derive(Clone, Debug)]
pub struct Talk {
    pub kind: Kind,
    pub members: BTreeSet<Who>,
    /// Tiers that were not called yet, in their order; they see nothing.
    pub tiers: Vec<Vec<Who>>,
    /// When the next tier is called, if nobody acknowledges.
    pub due: Option<i64>,
    pub acknowledged_by: Option<Who>,
    pub closed: bool,
}

impl Talk {
    pub fn of(kind: Kind, members: &[Who]) -> Self {
        let members = members.iter().copied().collect();
        Self { kind, members, tiers: Vec::new(), due: None, acknowledged_by: None, closed: false }
    }

    /// Everybody a message is encrypted for, called or not.
    pub fn sealed_for(&self) -> BTreeSet<Who> {
        self.members.iter().chain(self.tiers.iter().flatten()).copied().collect()
    }
}

/// A clinic.
#[derive(Clone, Debug)]
pub struct Facts {
    pub roles: Vec<Role>,
    pub suspended: HashSet<Who>,
    /// Appointments by their number: whose, and whether there is care by it.
    pub appointments: HashMap<u32, ((Who, Who), bool)>,
    /// Until when the glass is broken, of (patient, clinician).
    pub glass: HashMap<(Who, Who), i64>,
    pub blocks: HashSet<(Who, Who)>,
    pub clinic: Hours,
    pub own: HashMap<Who, Hours>,
    /// What the clinic's clock is ahead of UTC, in minutes.
    pub ahead: i64,
    pub talks: Vec<Talk>,
}

impl Facts {
    pub fn is(&self, who: Who, role: Role) -> bool {
        self.roles[who] == role
    }

    pub fn all(&self, role: Role) -> Vec<Who> {
        (0..self.roles.len()).filter(|who| self.is(*who, role)).collect()
    }

    /// The minute of the clinic's wall clock at an instant in microseconds.
    pub fn minute(&self, at: i64) -> i64 {
        at.div_euclid(MINUTE) + self.ahead
    }

    /// Whether there is care between a patient and a clinician.
    pub fn care(&self, patient: Who, doctor: Who, at: i64) -> bool {
        self.appointed(patient, doctor) || self.glass.get(&(patient, doctor)).is_some_and(|until| at < *until)
    }

    /// Whether an appointment relates a patient and a clinician.
    fn appointed(&self, patient: Who, doctor: Who) -> bool {
        self.appointments.values().any(|(pair, stands)| *stands && *pair == (patient, doctor))
    }

    fn blocked(&self, a: Who, b: Who) -> bool {
        self.blocks.contains(&(a, b)) || self.blocks.contains(&(b, a))
    }

    fn patients(&self, people: &BTreeSet<Who>) -> bool {
        people.iter().any(|who| self.is(*who, Role::Patient))
    }

    /// Whether a conversation of these people is open: the clinic is, and any of its clinicians is there.
    fn open(&self, people: &BTreeSet<Who>, minute: i64) -> bool {
        if !self.patients(people) {
            return true;
        }
        let there = |who: &&Who| self.is(**who, Role::Doctor) && !self.suspended.contains(who);
        let doctors: Vec<&Who> = people.iter().filter(there).collect();
        let available = |who: &Who| self.own.get(who).is_none_or(|hours| hours.open(minute));
        self.clinic.open(minute) && (doctors.is_empty() || doctors.iter().any(|who| available(who)))
    }

    /// When a conversation that is closed opens, in microseconds.
    pub fn next_opening(&self, talk: &Talk, at: i64) -> Option<i64> {
        let minute = self.minute(at);
        let opens = (minute + 1..minute + AHEAD).find(|minute| self.open(&talk.members, *minute))?;
        Some((opens - self.ahead) * MINUTE)
    }

    /// The first instant after this one at which a conversation opens or closes.
    pub fn next_change(&self, talk: &Talk, at: i64) -> Option<i64> {
        let minute = self.minute(at);
        let now = self.open(&talk.members, minute);
        let then = (minute + 1..minute + 2 * DAY).find(|minute| self.open(&talk.members, *minute) != now)?;
        Some((then - self.ahead) * MINUTE)
    }

    /// Everything that stands against a message.
    pub fn against(&self, who: Who, talk: &Talk, at: i64) -> BTreeSet<No> {
        let mut no = BTreeSet::new();
        if self.suspended.contains(&who) {
            no.insert(No::Suspended);
        }
        if !talk.members.contains(&who) {
            no.insert(No::Stranger);
            return no;
        }
        if talk.closed {
            no.insert(No::Closed);
        }
        if !talk.members.iter().any(|other| *other != who && !self.suspended.contains(other)) {
            no.insert(No::Nobody);
        }
        if talk.kind == Kind::Emergency {
            return no;
        }
        no.extend(self.against_meeting(&talk.members, at));
        if let [a, b] = *talk.members.iter().copied().collect::<Vec<_>>()
            && self.blocked(a, b)
        {
            no.insert(No::Blocked);
        }
        if !self.open(&talk.members, self.minute(at)) {
            no.insert(No::Hour);
        }
        no
    }

    /// Whether these people may be in one conversation at all.
    fn against_meeting(&self, people: &BTreeSet<Who>, at: i64) -> Option<No> {
        let of = |role| people.iter().copied().filter(move |who| self.roles[*who] == role);
        let apart = of(Role::Patient).any(|p| of(Role::Doctor).any(|d| !self.care(p, d, at)));
        apart.then_some(No::Apart)
    }

    /// Whether somebody may start a conversation of the two with somebody, patient and clinician.
    pub fn against_start(&self, who: Who, other: Who, at: i64) -> BTreeSet<No> {
        let mut no: BTreeSet<No> =
            self.against_meeting(&BTreeSet::from([who, other]), at).into_iter().collect();
        if no.is_empty() && self.is(who, Role::Patient) && !self.appointed(who, other) {
            no.insert(No::Unbooked);
        }
        if self.blocked(who, other) {
            no.insert(No::Blocked);
        }
        if self.suspended.contains(&other) {
            no.insert(No::Nobody);
        }
        no
    }

    /// Somebody is suspended: an emergency that only they looked after is the next tier's.
    pub fn suspend(&mut self, who: Who, now: i64) {
        self.suspended.insert(who);
        let (roles, suspended) = (self.roles.clone(), self.suspended.clone());
        for talk in self.talks.iter_mut().filter(|talk| talk.kind == Kind::Emergency && !talk.closed) {
            let cares = |other: &Who| roles[*other] == Role::Doctor && !suspended.contains(other);
            let nobody = !talk.members.iter().any(cares);
            if talk.members.contains(&who) && (talk.acknowledged_by == Some(who) || nobody) {
                talk.acknowledged_by = None;
                talk.due = Some(now);
            }
        }
    }

    /// The tiers whose time has come are called.
    pub fn escalate(&mut self, now: i64, wait: i64) {
        for talk in self.talks.iter_mut().filter(|talk| !talk.closed) {
            while talk.due.is_some_and(|due| due <= now) {
                talk.due = None;
                if !talk.tiers.is_empty() {
                    talk.members.extend(talk.tiers.remove(0));
                    talk.due = Some(now + wait);
                }
            }
        }
    }
}
