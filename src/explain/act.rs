//! Which acts can be asked about, what each needs named, and the way to its decision.

use sigilo_wire::{ConversationId, Role, UserId, conversation::ConversationType, policy::ExplainPolicy};

use crate::{
    App, Ctx, Error, Result, anomalies, blocks, break_glass, conversations, keys,
    people::identity_resets,
    policy::{
        Action as _, AddParticipant, AnswerConsent, ArrangeConversation, BlockUser, CloseAnomaly,
        CloseConversation, Decide, ExplainDecisions, FetchKeys, HandOverFileKey, HandleEmergency,
        LeaveConversation, ListContacts, ListConversations, Looked, ManageClinic, ManageHours,
        ManageNetworks, ManageOnCall, ManageOwnAccount, ManagePeople, ManageQuarantine, ManageRelationships,
        OpenBreakGlass, OpenEmergency, PublishKeys, PublishSeal, ReadConversation, ReadFile, ReadSeals,
        ReleaseFile, RemoveParticipant, ReportSeal, RescanFile, ResetIdentity, ReviewAnomalies,
        ReviewBreakGlass, SearchMessages, SendMessage, ShowPresence, StartConversation, UploadFile,
        facts::{self, OwnAccount},
    },
    vault::quarantine,
};

/// What must be named beside an act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Nothing: it is about the clinic, or what is one's own.
    Nothing,
    /// A person.
    Person,
    /// People, and the type of a conversation with them.
    People,
    /// A conversation.
    Conversation,
    /// A conversation and one other person.
    ConversationAndPerson,
    /// A conversation and people.
    ConversationAndPeople,
}

/// What was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Nothing.
    Nothing,
    /// A person.
    Person(UserId),
    /// People, and the type of a conversation with them.
    People(ConversationType, Vec<UserId>),
    /// A conversation.
    Conversation(ConversationId),
    /// A conversation and people.
    Within(ConversationId, Vec<UserId>),
}

impl Names {
    /// What this act needs; `None` when it is no act that can be asked about. `use_tokens` and `connect` are none: they
    /// are asked at every request, and answered there.
    #[must_use]
    pub fn of(action: &str) -> Option<Self> {
        Some(match action {
            StartConversation::NAME => Self::People,
            ReadConversation::NAME
            | ReadSeals::NAME
            | SendMessage::NAME
            | UploadFile::NAME
            | ReadFile::NAME
            | HandOverFileKey::NAME
            | RescanFile::NAME
            | AnswerConsent::NAME
            | PublishSeal::NAME
            | ReportSeal::NAME
            | LeaveConversation::NAME
            | ArrangeConversation::NAME
            | CloseConversation::NAME
            | HandleEmergency::NAME => Self::Conversation,
            AddParticipant::NAME => Self::ConversationAndPeople,
            RemoveParticipant::NAME => Self::ConversationAndPerson,
            FetchKeys::NAME
            | BlockUser::NAME
            | ResetIdentity::NAME
            | CloseAnomaly::NAME
            | ReleaseFile::NAME
            | OpenBreakGlass::NAME
            | ExplainDecisions::NAME => Self::Person,
            PublishKeys::NAME
            | ManageOwnAccount::NAME
            | ShowPresence::NAME
            | ListConversations::NAME
            | ListContacts::NAME
            | SearchMessages::NAME
            | ManagePeople::NAME
            | ManageRelationships::NAME
            | ManageHours::NAME
            | ManageOnCall::NAME
            | ManageNetworks::NAME
            | ManageClinic::NAME
            | OpenEmergency::NAME
            | ManageQuarantine::NAME
            | ReviewAnomalies::NAME
            | ReviewBreakGlass::NAME => Self::Nothing,
            _ => return None,
        })
    }
}

impl Named {
    /// What a question names, when it names what its act needs and nothing else.
    ///
    /// # Errors
    /// `invalid_field`.
    pub fn of(asked: &ExplainPolicy) -> Result<Self> {
        let names = Names::of(&asked.action)
            .ok_or_else(|| Error::field("action", format!("'{}' is no act to ask about", asked.action)))?;
        if asked.r#type.is_some() && names != Names::People {
            return Err(Error::field("type", "is for start_conversation"));
        }
        let users = asked.user_ids.clone();
        let people = || match users.as_slice() {
            [] => Err(Error::field("user_ids", "name whom it is done to")),
            _ => Ok(users.clone()),
        };
        let one = || match users.as_slice() {
            [user] => Ok(*user),
            _ => Err(Error::field("user_ids", "name exactly one person")),
        };
        let conversation =
            || asked.conversation_id.ok_or_else(|| Error::field("conversation_id", "is missing"));
        if matches!(names, Names::Nothing | Names::Conversation) && !users.is_empty() {
            return Err(Error::field("user_ids", "this act is done to nobody"));
        }
        if matches!(names, Names::Nothing | Names::Person | Names::People) && asked.conversation_id.is_some()
        {
            return Err(Error::field("conversation_id", "this act is not inside a conversation"));
        }
        Ok(match names {
            Names::Nothing => Self::Nothing,
            Names::Person => Self::Person(one()?),
            Names::People => Self::People(asked.r#type.unwrap_or(ConversationType::Direct), people()?),
            Names::Conversation => Self::Conversation(conversation()?),
            Names::ConversationAndPerson => Self::Within(conversation()?, vec![one()?]),
            Names::ConversationAndPeople => Self::Within(conversation()?, people()?),
        })
    }

    /// What it comes to, and the patient it concerns.
    ///
    /// # Errors
    /// What the act would be answered but for a rule's denial: 404 for what does not exist for the caller,
    /// `invalid_field` for what makes no sense.
    pub(super) async fn look(self, app: &App, ctx: &Ctx, action: &str) -> Result<(Looked, Option<UserId>)> {
        let impossible = || Error::internal(format!("{action} was asked about without what it needs"));
        match self {
            Self::Nothing => clinic_or_own(app, ctx, action)?.ok_or_else(impossible),
            Self::People(kind, others) => conversations::look_start(app, ctx, kind, &others).await,
            Self::Person(user) => match action {
                FetchKeys::NAME => keys::look_fetch(app, ctx, user).await,
                BlockUser::NAME => blocks::look(app, ctx, user).await,
                ResetIdentity::NAME => identity_resets::look(app, ctx, user).await,
                ReleaseFile::NAME => quarantine::look_release(app, ctx, user).await,
                CloseAnomaly::NAME => anomalies::look_close(app, ctx, user).await,
                OpenBreakGlass::NAME => break_glass::look(app, ctx, user).await,
                ExplainDecisions::NAME => super::ask::look(app, ctx, user).await,
                _ => Err(impossible()),
            },
            Self::Conversation(id) => match action {
                ReadConversation::NAME => conversations::look_in::<ReadConversation>(app, ctx, id).await,
                SendMessage::NAME => conversations::look_in::<SendMessage>(app, ctx, id).await,
                UploadFile::NAME => conversations::look_in::<UploadFile>(app, ctx, id).await,
                AnswerConsent::NAME => conversations::look_in::<AnswerConsent>(app, ctx, id).await,
                ReadFile::NAME => conversations::look_file(app, ctx, id).await,
                HandOverFileKey::NAME => conversations::look_of_file::<HandOverFileKey>(app, ctx, id).await,
                RescanFile::NAME => conversations::look_of_file::<RescanFile>(app, ctx, id).await,
                PublishSeal::NAME => conversations::look_in::<PublishSeal>(app, ctx, id).await,
                ReportSeal::NAME => conversations::look_in::<ReportSeal>(app, ctx, id).await,
                ArrangeConversation::NAME => {
                    conversations::look_in::<ArrangeConversation>(app, ctx, id).await
                }
                CloseConversation::NAME => conversations::look_in::<CloseConversation>(app, ctx, id).await,
                HandleEmergency::NAME => conversations::look_in::<HandleEmergency>(app, ctx, id).await,
                ReadSeals::NAME => conversations::look_seals(app, ctx, id).await,
                LeaveConversation::NAME => {
                    let user = ctx.caller()?.user_id;
                    conversations::look_leave::<LeaveConversation>(app, ctx, id, user).await
                }
                _ => Err(impossible()),
            },
            Self::Within(id, users) => match (action, users.as_slice()) {
                (AddParticipant::NAME, users) => conversations::look_join(app, ctx, id, users).await,
                (RemoveParticipant::NAME, [user]) => {
                    conversations::look_leave::<RemoveParticipant>(app, ctx, id, *user).await
                }
                _ => Err(impossible()),
            },
        }
    }
}

/// Acts that need no facts but who asks.
fn clinic_or_own(app: &App, ctx: &Ctx, action: &str) -> Result<Option<(Looked, Option<UserId>)>> {
    fn own<A: Decide<Facts = OwnAccount>>(app: &App, ctx: &Ctx) -> Result<Looked> {
        app.policy.look::<A>(ctx, &OwnAccount::of(ctx)?)
    }
    fn clinic<A: Decide<Facts = facts::Clinic>>(app: &App, ctx: &Ctx) -> Result<Looked> {
        app.policy.look::<A>(ctx, &facts::Clinic { tenant: ctx.tenant })
    }
    let looked = match action {
        PublishKeys::NAME => own::<PublishKeys>(app, ctx)?,
        ManageOwnAccount::NAME => own::<ManageOwnAccount>(app, ctx)?,
        ShowPresence::NAME => own::<ShowPresence>(app, ctx)?,
        ListConversations::NAME => own::<ListConversations>(app, ctx)?,
        ListContacts::NAME => own::<ListContacts>(app, ctx)?,
        SearchMessages::NAME => own::<SearchMessages>(app, ctx)?,
        ManagePeople::NAME => clinic::<ManagePeople>(app, ctx)?,
        ManageRelationships::NAME => clinic::<ManageRelationships>(app, ctx)?,
        ManageHours::NAME => clinic::<ManageHours>(app, ctx)?,
        ManageOnCall::NAME => clinic::<ManageOnCall>(app, ctx)?,
        ManageNetworks::NAME => clinic::<ManageNetworks>(app, ctx)?,
        OpenEmergency::NAME => clinic::<OpenEmergency>(app, ctx)?,
        ManageQuarantine::NAME => clinic::<ManageQuarantine>(app, ctx)?,
        ReviewAnomalies::NAME => clinic::<ReviewAnomalies>(app, ctx)?,
        ReviewBreakGlass::NAME => clinic::<ReviewBreakGlass>(app, ctx)?,
        ManageClinic::NAME => clinic::<ManageClinic>(app, ctx)?,
        _ => return Ok(None),
    };
    let caller = ctx.caller()?;
    Ok(Some((looked, (caller.role == Role::Patient).then_some(caller.user_id))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ACTION_NAMES;

    #[test]
    fn every_act_can_be_asked_about_but_those_of_every_request() {
        let mut cannot: Vec<&str> =
            ACTION_NAMES.iter().copied().filter(|action| Names::of(action).is_none()).collect();
        cannot.sort_unstable();
        assert_eq!(cannot, ["connect", "use_tokens"]);
    }
}
