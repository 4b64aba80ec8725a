//! Everybody else's record seals: fetched when a message names one, judged, remembered with the verdict, reported
//! when they are bad. A seal that could not be judged for want of a key is judged again when keys become known.

use std::{collections::BTreeSet, time::Duration};

use sigilo_seal::KeyId;
use sigilo_wire::{
    ConversationId, DeviceNumber, ErrorCode, SealId, UserId,
    message::Message,
    seal::{ReportSeal, Seal, SealCopy},
};

use super::check::{Flaw, Judged, Judgement, Keys};
use crate::{
    Error, Result,
    comings::Comings,
    engine::Engine,
    event::{ClientEvent, TimelineNote},
    message::SealVerdict,
    profile::{
        Record as _, Step, history_keys,
        records::{
            Contact, ConversationRecord, SealReport, SecretBytes, SeenSeal, StoredMessage, UncheckedSeal,
            seen_seal_key,
        },
    },
    receive::Way,
};

/// Seals of a conversation are searched this many pages back.
const MAX_PAGES: usize = 100;
/// How far apart the clocks of two devices may be: the server takes two minutes of each.
const CLOCKS: Duration = Duration::from_secs(5 * 60);
/// A report that did not reach the server is sent again after about this long.
const REPORT_PAUSE: Duration = Duration::from_secs(60);

impl Engine {
    /// A seal of somebody's: opened and rechecked the first time, remembered after.
    ///
    /// # Errors
    /// Transient ones only; everything else is in the verdict.
    pub(crate) async fn seen_seal(
        &self,
        conversation: ConversationId,
        seal_id: SealId,
        sender: UserId,
        device: DeviceNumber,
        way: Way,
    ) -> Result<SeenSeal> {
        let key = seen_seal_key(conversation, seal_id, sender, device);
        if let Some(seen) = self.profile.get(&key).await? {
            return Ok(seen);
        }
        let problem = match self.find_seal(conversation, seal_id).await {
            Ok(Some(seal)) => match self.take_seal(&seal, (sender, device), Keys::Fetched, way).await {
                Err(error) if !error.is_for_later() => error.to_string(),
                taken => return taken,
            },
            Ok(None) => "the server does not have it".to_owned(),
            Err(error) if error.is_for_later() => return Err(error),
            Err(error) => error.to_string(),
        };
        // Not remembered: it may come, or be judged, later.
        Ok(SeenSeal {
            conversation,
            seal_id,
            sender,
            device,
            members: Vec::new(),
            archive_key: None,
            verdict: SealVerdict::Bad(problem),
        })
    }

    /// Opens and rechecks a seal that messages of this device name, and remembers the verdict.
    ///
    /// # Errors
    /// Transient ones, and what keeps it from being judged at all.
    pub(crate) async fn take_seal(
        &self,
        seal: &Seal,
        (sender, device): (UserId, DeviceNumber),
        keys: Keys,
        way: Way,
    ) -> Result<SeenSeal> {
        let mut unchecked = self.members_of_its_time(seal, sender, device, way).await?;
        let mut judged = self.judge(&unchecked, keys).await?;
        if keys == Keys::Fetched && judged.is_about_members() {
            // Perhaps this device has not heard yet who came and who left.
            self.look_for_moves(seal.conversation_id).await?;
            unchecked = self.members_of_its_time(seal, sender, device, way).await?;
            judged = self.judge(&unchecked, keys).await?;
        }
        self.show_excuse(&unchecked, &judged).await?;
        let step = self.profile.step();
        let (seen, note) = remember(&step, unchecked, judged)?;
        step.commit().await?;
        self.tell_of_seal(&seen, note).await?;
        Ok(seen)
    }

    /// Shows who came and who left by the server's word, when a seal is good for that reason and the user was not shown
    /// it before: otherwise a word in passing would excuse a seal that is for others than the user knows of.
    async fn show_excuse(&self, unchecked: &UncheckedSeal, judged: &Judged) -> Result<()> {
        if !matches!(judged.judgement, Judgement::Good) {
            return Ok(());
        }
        let UncheckedSeal { seal, departed, .. } = unchecked;
        let conversation = seal.conversation_id;
        let Comings { unseen, .. } = self.comings(conversation, seal.seal.created_at - CLOCKS).await?;
        let known: Option<ConversationRecord> = self.profile.get(conversation.as_bytes()).await?;
        let mut members: BTreeSet<UserId> = seal.seal.members.iter().map(|member| member.user_id).collect();
        members.extend(known.into_iter().flat_map(|known| known.shown_members));
        let mut notes = unseen
            .into_iter()
            .filter(|(user, _)| departed.contains(user) && members.contains(user))
            .map(|(_, note)| note)
            .peekable();
        if notes.peek().is_none() {
            return Ok(());
        }
        self.note_all(self.profile.step(), conversation, notes).await
    }

    /// Whom a seal must be for, and whom it may be for, as far as this device was told who came and left. A seal of the
    /// history that is older than its knowledge of the conversation, or one from before the user left and came back, is
    /// measured by when the present members joined.
    async fn members_of_its_time(
        &self,
        seal: &Seal,
        sender: UserId,
        device: DeviceNumber,
        way: Way,
    ) -> Result<UncheckedSeal> {
        let conversation = match self.conversation(seal.conversation_id).await {
            // The user has left, and this device never knew it.
            Err(error) if error.code() == Some(ErrorCode::NotFound) => None,
            known => Some(known?),
        };
        let made = seal.seal.created_at;
        // Others may have heard of it sooner or later than this device, by clocks that are not the same.
        let Comings { moved, away, .. } = self.comings(seal.conversation_id, made - CLOCKS).await?;
        let known_since = conversation.as_ref().and_then(|conversation| conversation.known_since);
        let before = way == Way::History && known_since.is_some_and(|since| made < since);
        let unseen = before || away || conversation.is_none();
        let mut later = moved.clone();
        if unseen {
            let participants = conversation.iter().flat_map(|known| &known.conversation.participants);
            later.extend(participants.filter(|p| p.joined_at > made).map(|p| p.user_id));
        }
        let shown = conversation.into_iter().flat_map(|known| known.shown_members);
        Ok(UncheckedSeal {
            seal: seal.clone(),
            sender,
            device,
            shown_members: shown.filter(|user| !later.contains(user)).collect(),
            departed: moved.into_iter().collect(),
            unseen,
        })
    }

    async fn tell_of_seal(&self, seen: &SeenSeal, note: Option<TimelineNote>) -> Result<()> {
        if let Some(note) = note {
            self.note(seen.conversation, note).await?;
            self.upkeep_soon();
        }
        Ok(())
    }

    /// Judges the seals again that could not be judged, by the keys that are known by now. The messages under them
    /// get the new verdict.
    pub(crate) async fn recheck_seals(&self) -> Result<()> {
        for mut unchecked in self.profile.all::<UncheckedSeal>(b"").await? {
            self.refresh_due_members(&unchecked.seal).await?;
            let judged = match self.judge_again(&mut unchecked).await {
                Ok(Judged { judgement: Judgement::Unchecked(_), .. }) => continue,
                Ok(judged) => judged,
                Err(error @ Error::Profile(_)) => return Err(error),
                // Its maker's keys or the clinic's cannot be had now.
                Err(_) => continue,
            };
            self.show_excuse(&unchecked, &judged).await?;
            let conversation = unchecked.seal.conversation_id;
            let step = self.profile.step();
            let (seen, note) = remember(&step, unchecked, judged)?;
            for mut message in self.profile.all::<StoredMessage>(conversation.as_bytes()).await? {
                if is_under(&message, &seen) {
                    message.seal = seen.verdict.clone();
                    step.put(&message)?;
                }
            }
            step.commit().await?;
            self.tell_of_seal(&seen, note).await?;
            self.tell(ClientEvent::ConversationUpdated { conversation });
        }
        Ok(())
    }

    /// Judges a seal by what is known now, also of who came and left.
    async fn judge_again(&self, unchecked: &mut UncheckedSeal) -> Result<Judged> {
        let judged = self.judge(unchecked, Keys::Known).await?;
        if !judged.is_about_members() {
            return Ok(judged);
        }
        let conversation = unchecked.seal.conversation_id;
        self.look_for_moves(conversation).await?;
        let made = unchecked.seal.seal.created_at;
        let Comings { moved, away, .. } = self.comings(conversation, made - CLOCKS).await?;
        unchecked.shown_members.retain(|user| !moved.contains(user));
        unchecked.departed = moved.into_iter().collect();
        unchecked.unseen |= away;
        self.judge(unchecked, Keys::Known).await
    }

    /// Asks for the keys of a seal's members of whom something said that they have changed.
    async fn refresh_due_members(&self, seal: &Seal) -> Result<()> {
        for member in &seal.seal.members {
            let contact: Option<Contact> = self.profile.get(member.user_id.as_bytes()).await?;
            if contact.is_some_and(|contact| contact.refresh_due && contact.pending.is_none()) {
                // What fails is asked for again with the next look.
                if let Err(error @ Error::Profile(_)) = self.refresh_manifest(member.user_id).await {
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Tells the server of the bad seals it has not been told of. Each report waits on disk until it is answered.
    pub(crate) async fn report_seals(&self) -> Result<()> {
        for report in self.profile.all::<SealReport>(b"").await? {
            let request = ReportSeal { problem: report.problem };
            match self.api.report_seal(report.conversation, report.seal_id, request).await {
                Err(error) if error.is_for_later() => {
                    self.upkeep_in(self.env.jitter(error.retry_after().unwrap_or(REPORT_PAUSE)));
                    return if matches!(error, Error::Profile(_)) { Err(error) } else { Ok(()) };
                }
                // The server will not have it, now or ever.
                Err(error) => {
                    let reason = format!("a bad record seal could not be reported: {error}");
                    self.tell(ClientEvent::Warning { reason });
                }
                Ok(()) => {}
            }
            let step = self.profile.step();
            step.delete::<SealReport>(&report.key());
            step.commit().await?;
        }
        Ok(())
    }

    async fn find_seal(&self, conversation: ConversationId, seal_id: SealId) -> Result<Option<Seal>> {
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let page = match self.api.seals(conversation, cursor.as_deref()).await {
                Err(error) if error.code() == Some(ErrorCode::NotFound) => return Ok(None),
                other => other?,
            };
            let wanted = |seal: &Seal| seal.conversation_id == conversation && seal.seal.seal_id == seal_id;
            if let Some(seal) = page.results.into_iter().find(wanted) {
                return Ok(Some(seal));
            }
            cursor = page.next_cursor.filter(|_| page.has_more);
            if cursor.is_none() {
                break;
            }
        }
        Ok(None)
    }

    /// Takes the seals that messages of the history name and this device has not seen, reading on from `cursor`, newest
    /// first; and those it comes by on the way, because older messages will name them. Gives where it stopped. One
    /// that is not found before the end is left to [`Engine::seen_seal`].
    pub(crate) async fn take_seals(
        &self,
        conversation: ConversationId,
        messages: &[Message],
        cursor: Option<String>,
    ) -> Result<Option<String>> {
        let mut wanted = BTreeSet::new();
        for message in messages {
            let (seal, sender) = (message.seal_id, &message.sender);
            let key = seen_seal_key(conversation, seal, sender.user_id, sender.device_id);
            if self.profile.get::<SeenSeal>(&key).await?.is_none() {
                wanted.insert((seal, sender.user_id, sender.device_id));
            }
        }
        let mut at = cursor;
        for _ in 0..MAX_PAGES {
            if wanted.is_empty() {
                break;
            }
            let page = self.api.seals(conversation, at.as_deref()).await?;
            for seal in page.results.iter().filter(|seal| seal.conversation_id == conversation) {
                self.take_in_passing(seal).await?;
                wanted.remove(&(seal.seal.seal_id, seal.sender_id, seal.device_id));
            }
            match page.next_cursor.filter(|_| page.has_more) {
                Some(next) if !wanted.is_empty() => at = Some(next),
                _ => break,
            }
        }
        Ok(at)
    }

    /// Takes a seal that is new to this device and has a copy for it; the others are those of other times.
    async fn take_in_passing(&self, seal: &Seal) -> Result<()> {
        let by = (seal.sender_id, seal.device_id);
        let key = seen_seal_key(seal.conversation_id, seal.seal.seal_id, by.0, by.1);
        if self.profile.get::<SeenSeal>(&key).await?.is_some() {
            return Ok(());
        }
        let own = history_keys::all(&self.profile).await?;
        let for_us = |copy: &SealCopy| own.iter().any(|own| KeyId::from(copy.key_id) == own.key_id);
        if !seal.seal.copies.iter().any(for_us) {
            return Ok(());
        }
        match self.take_seal(seal, by, Keys::Fetched, Way::History).await {
            Err(error) if error.is_for_later() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Keeps a verdict, and with it what is still to be done: a seal to judge again, a report to send. Gives the line
/// for the timeline when the seal is bad.
fn remember(
    step: &Step,
    unchecked: UncheckedSeal,
    judged: Judged,
) -> Result<(SeenSeal, Option<TimelineNote>)> {
    let (conversation, seal_id) = (unchecked.seal.conversation_id, unchecked.seal.seal.seal_id);
    let (sender, device) = (unchecked.sender, unchecked.device);
    let (mut note, mut waits) = (None, false);
    let verdict = match judged.judgement {
        Judgement::Good => SealVerdict::Good,
        Judgement::Unchecked(problem) => {
            waits = true;
            SealVerdict::Unchecked(problem)
        }
        Judgement::Unknowable(problem) => SealVerdict::Unchecked(problem),
        Judgement::Bad(Flaw { problem, text }) => {
            if let Some(problem) = problem {
                step.put(&SealReport { conversation, seal_id, problem })?;
            }
            note = Some(TimelineNote::SealInvalid { user: sender, problem: text.clone() });
            SealVerdict::Bad(text)
        }
    };
    let seen = SeenSeal {
        conversation,
        seal_id,
        sender,
        device,
        members: unchecked.seal.seal.members.clone(),
        archive_key: judged.archive.map(|archive| SecretBytes(archive.as_bytes().to_vec())),
        verdict,
    };
    step.put(&seen)?;
    if waits {
        step.put(&unchecked)?;
    } else {
        step.delete::<UncheckedSeal>(&seen_seal_key(conversation, seal_id, sender, device));
    }
    Ok((seen, note))
}

fn is_under(message: &StoredMessage, seal: &SeenSeal) -> bool {
    let StoredMessage { message, .. } = message;
    let named = (message.seal_id, message.sender.user_id, message.sender.device_id);
    named == (seal.seal_id, seal.sender, seal.device)
}
