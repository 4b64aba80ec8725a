//! What happens in a sequence, chosen by its dice.

use std::collections::HashSet;

use sigilo_wire::{Role, message::Deliver};

use crate::{
    house::{Dice, House},
    rules::{DAY, Hours, Kind, MINUTE, Who, Window},
    sends::Gateway,
};

impl Dice {
    pub fn gateway(&mut self) -> Gateway {
        if self.of_hundred(50) { Gateway::Http } else { Gateway::Socket }
    }

    fn deliver(&mut self) -> Deliver {
        if self.of_hundred(45) { Deliver::WhenOpen } else { Deliver::Now }
    }

    /// Windows of a day around a minute of it.
    fn windows(&mut self, minute: i64) -> Vec<Window> {
        let mut near = |from: i64, width: usize| (minute + from + self.below(width) as i64).rem_euclid(DAY);
        let (before, soon, later, last) = (near(-90, 80), near(1, 25), near(30, 40), near(80, 600));
        match self.below(8) {
            0 => vec![(0, DAY)],
            1 => Vec::new(),
            2 | 3 => vec![(before, soon)],
            4 => vec![(soon, later)],
            5 => vec![(before, soon), (later, last)],
            6 => vec![(soon, last), (before, minute)],
            _ => vec![(minute, later)],
        }
    }
}

impl House {
    /// One sequence, from the beginning.
    pub async fn sequence(&mut self, seed: u64) {
        self.begin(seed).await;
        let pairs = self.pairs();
        for (patient, doctor) in &pairs {
            if self.dice.of_hundred(if *doctor == 4 { 20 } else { 90 }) {
                self.did(format!("{patient} books with {doctor}"));
                self.book(*patient, *doctor, "booked").await;
            }
        }
        if self.dice.of_hundred(60) {
            self.change_hours().await;
        }
        let steps = 8 + self.dice.below(8);
        for _ in 0..steps {
            self.step().await;
        }
        self.race().await;
        self.settle(&HashSet::new()).await;
        for _ in 0..2 {
            self.speak().await;
        }
    }

    pub fn did(&mut self, what: String) {
        self.log.push(what);
    }

    fn pairs(&self) -> Vec<(Who, Who)> {
        let doctors = self.facts.all(Role::Doctor);
        let of = |patient: Who| doctors.iter().map(move |doctor| (patient, *doctor)).collect::<Vec<_>>();
        self.facts.all(Role::Patient).into_iter().flat_map(of).collect()
    }

    fn active(&self, role: Role) -> Vec<Who> {
        let all = self.facts.all(role).into_iter();
        all.filter(|who| !self.facts.suspended.contains(who)).collect()
    }

    async fn step(&mut self) {
        match self.dice.below(100) {
            0..50 => self.speak().await,
            50..63 => self.pass_time().await,
            63..71 => self.change_hours().await,
            71..77 => self.change_care().await,
            77..82 => self.change_block().await,
            82..86 => self.change_standing().await,
            86..89 => self.break_the_glass().await,
            89..95 => self.emergency().await,
            95..98 => self.take_one_back().await,
            _ => self.start_or_close().await,
        }
        self.settle(&HashSet::new()).await;
    }

    /// Somebody writes somewhere, most often where they take part.
    pub async fn speak(&mut self) {
        let place = self.dice.below(self.ids.len());
        let people: Vec<Who> = (0..self.people.len()).collect();
        let members: Vec<Who> = self.facts.talks[place].sealed_for().into_iter().collect();
        let stranger = self.dice.of_hundred(4);
        let Some(who) = self.dice.one(if stranger { &people } else { &members }) else { return };
        let (gateway, deliver) = (self.dice.gateway(), self.dice.deliver());
        let count = if deliver == Deliver::WhenOpen { 1 + self.dice.below(3) } else { 1 };
        for _ in 0..count {
            self.did(format!("{who} writes in {place} by {gateway:?}, {deliver:?}"));
            self.say(who, place, gateway, deliver).await;
        }
    }

    /// Some minutes, or until just before or at the next opening or closing of some conversation.
    async fn pass_time(&mut self) {
        // Most often where something waits for it.
        let mut waiting: Vec<usize> = self.held.keys().map(|(_, place)| *place).collect();
        waiting.sort_unstable();
        let place = match self.dice.one(&waiting) {
            Some(place) if self.dice.of_hundred(75) => place,
            _ => self.dice.below(self.ids.len()),
        };
        let now = self.now();
        let edge = self.facts.next_change(&self.facts.talks[place], now);
        let by = match edge.map(|edge| edge - now) {
            Some(by) if by <= 240 * MINUTE && self.dice.of_hundred(60) => by - self.dice.below(2) as i64,
            _ => (1 + self.dice.below(20) as i64) * MINUTE,
        };
        self.did(format!("{by} microseconds pass"));
        self.advance(by);
    }

    async fn change_hours(&mut self) {
        let doctors = self.facts.all(Role::Doctor);
        let whose = if self.dice.of_hundred(55) { None } else { self.dice.one(&doctors) };
        let now = self.facts.minute(self.now());
        let (day, minute) = (now.div_euclid(DAY), now.rem_euclid(DAY));
        let windows = self.dice.windows(minute);
        if self.dice.of_hundred(30) {
            let day = day + self.dice.below(2) as i64;
            self.did(format!("hours of {whose:?} on {day}: {windows:?}"));
            self.set_day(whose, day, windows).await;
        } else {
            self.did(format!("hours of {whose:?}: {windows:?}"));
            self.set_hours(whose, None, Hours { daily: Some(windows), ..Hours::default() }).await;
        }
    }

    async fn change_care(&mut self) {
        let pairs = self.pairs();
        let Some(pair) = self.dice.one(&pairs) else { return };
        let mut standing: Vec<u32> =
            self.facts.appointments.iter().filter(|(_, (_, cares))| *cares).map(|(n, _)| *n).collect();
        standing.sort_unstable();
        match (self.dice.below(4), self.dice.one(&standing)) {
            (0, _) => {
                self.did(format!("care of {pair:?} is revoked"));
                self.revoke(pair.0, pair.1).await;
            }
            (1 | 2, Some(number)) => {
                let words = ["arrived", "checked-in", "fulfilled", "cancelled", "noshow", "entered-in-error"];
                let status = words[self.dice.below(words.len())];
                let pair = self.facts.appointments[&number].0;
                self.did(format!("appointment {number} of {pair:?} is {status}"));
                self.import(number, pair, status).await;
            }
            _ => {
                let words = ["booked", "booked", "fulfilled", "pending", "waitlist", "cancelled"];
                let status = words[self.dice.below(words.len())];
                self.did(format!("an appointment of {pair:?}: {status}"));
                self.book(pair.0, pair.1, status).await;
            }
        }
    }

    async fn change_block(&mut self) {
        let mut standing: Vec<(Who, Who)> = self.facts.blocks.iter().copied().collect();
        standing.retain(|(who, _)| !self.facts.suspended.contains(who));
        standing.sort_unstable();
        if self.dice.of_hundred(40)
            && let Some((who, whom)) = self.dice.one(&standing)
        {
            self.did(format!("{who} takes the block of {whom} back"));
            self.unblock(who, whom).await;
            return;
        }
        let place = self.dice.below(self.ids.len());
        let members: Vec<Who> = self.facts.talks[place].members.iter().copied().collect();
        let able: Vec<Who> =
            members.iter().copied().filter(|who| !self.facts.suspended.contains(who)).collect();
        let Some(who) = self.dice.one(&able) else { return };
        let others: Vec<Who> = members.into_iter().filter(|other| *other != who).collect();
        let Some(whom) = self.dice.one(&others) else { return };
        if !self.facts.blocks.contains(&(who, whom)) {
            self.did(format!("{who} blocks {whom}"));
            self.block(who, whom).await;
        }
    }

    async fn change_standing(&mut self) {
        let mut out: Vec<Who> = self.facts.suspended.iter().copied().collect();
        out.sort_unstable();
        if self.dice.of_hundred(50)
            && let Some(who) = self.dice.one(&out)
        {
            self.did(format!("{who} is resumed"));
            self.suspend(who, false).await;
            return;
        }
        // The staff stays.
        let able: Vec<Who> =
            [Role::Patient, Role::Doctor].into_iter().flat_map(|role| self.active(role)).collect();
        if let Some(who) = self.dice.one(&able) {
            self.did(format!("{who} is suspended"));
            self.suspend(who, true).await;
        }
    }

    async fn break_the_glass(&mut self) {
        let (doctors, patients) = (self.active(Role::Doctor), self.facts.all(Role::Patient));
        if let (Some(doctor), Some(patient)) = (self.dice.one(&doctors), self.dice.one(&patients)) {
            self.did(format!("{doctor} breaks the glass of {patient}"));
            self.break_glass(doctor, patient).await;
        }
    }

    async fn emergency(&mut self) {
        let open: Vec<usize> =
            (0..self.ids.len()).filter(|place| self.facts.talks[*place].kind == Kind::Emergency).collect();
        let patients = self.active(Role::Patient);
        let doctors = self.active(Role::Doctor);
        match (self.dice.one(&open), self.dice.one(&doctors)) {
            (Some(place), Some(who)) if self.dice.of_hundred(70) => {
                let steps = ["ack", "escalate", "escalate", "close"];
                let step = steps[self.dice.below(steps.len())];
                self.did(format!("{who}: {step} in {place}"));
                self.handle(who, place, step).await;
            }
            _ => {
                let Some(patient) = self.dice.one(&patients) else { return };
                self.did(format!("{patient} calls for help"));
                let place = self.call(patient).await;
                self.did(format!("{patient} writes in {place}"));
                self.say(patient, place, Gateway::Http, Deliver::Now).await;
            }
        }
    }

    async fn take_one_back(&mut self) {
        let mut waiting: Vec<(Who, usize)> = self.held.keys().copied().collect();
        waiting.retain(|(who, _)| !self.facts.suspended.contains(who));
        waiting.sort_unstable();
        let Some((who, place)) = self.dice.one(&waiting) else { return };
        let index = self.dice.below(self.held[&(who, place)].len());
        self.did(format!("{who} takes the held message {index} in {place} back"));
        self.take_back(who, place, index).await;
    }

    async fn start_or_close(&mut self) {
        let consultations: Vec<usize> = (0..self.ids.len())
            .filter(|place| *place >= self.lasting() && !self.facts.talks[*place].closed)
            .filter(|place| self.facts.talks[*place].kind == Kind::Consultation)
            .collect();
        if let Some(place) = self.dice.one(&consultations)
            && let Some(who) = self.doctor_of(place)
        {
            self.did(format!("{who} closes {place}"));
            self.close(who, place).await;
            return;
        }
        let pairs = self.pairs();
        let Some((patient, doctor)) = self.dice.one(&pairs) else { return };
        let (who, other) = if self.dice.of_hundred(50) { (patient, doctor) } else { (doctor, patient) };
        if self.facts.suspended.contains(&who) {
            return;
        }
        self.did(format!("{who} starts a consultation with {other}"));
        self.start(who, other).await;
        if self.facts.is(who, Role::Patient) {
            self.start_with_patient(who, 1 - who).await;
        }
    }

    pub fn doctor_of(&self, place: usize) -> Option<Who> {
        let mut members = self.facts.talks[place].members.iter().copied();
        members.find(|who| self.facts.is(*who, Role::Doctor) && !self.facts.suspended.contains(who))
    }
}
