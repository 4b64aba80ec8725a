//! Authorization as a value: a capability that takes a [`Grant`] cannot be called without a decision.

use std::{fmt, marker::PhantomData, sync::Arc};

use sigilo_wire::{ConversationId, ErrorCode, FileId, TenantId, UserId};

use super::facts::{InConversation, People};

/// Something a person may be allowed to do. The types below are never made; they name the act in signatures.
pub trait Action {
    /// The act's name in policies and in the audit log.
    const NAME: &'static str;
    /// The code of the answer when it is denied, unless the rule names one.
    const DENIED: ErrorCode;
    /// What the grant is for: it cannot be used for anything else.
    type Resource: Clone + fmt::Debug + Send + Sync;
}

macro_rules! actions {
    ($($(#[$meta:meta])* $name:ident($act:literal, $resource:ty, $denied:ident);)*) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}
        impl Action for $name {
            const NAME: &'static str = $act;
            const DENIED: ErrorCode = ErrorCode::$denied;
            type Resource = $resource;
        }
    )*
        /// Every act's name, as policies write it.
        pub const ACTION_NAMES: &[&str] = &[$($act),*];
    };
}

actions! {
    /// Start a conversation with these people.
    StartConversation("start_conversation", Vec<UserId>, ConversationNotAllowed);
    /// Read a conversation: its details and messages.
    ReadConversation("read_conversation", ConversationId, Forbidden);
    /// Read a conversation's record seals: all of them, or those for the caller.
    ReadSeals("read_seals", SealsOf, Forbidden);
    /// Send a message. The version is that of the facts the decision was made on.
    SendMessage("send_message", SendResource, MessageNotAllowed);
    /// Put a file into a conversation.
    UploadFile("upload_file", SendResource, Forbidden);
    /// Read what is known of a file, and the file.
    ReadFile("read_file", FileId, Forbidden);
    /// Say whether others may open files of this conversation that need the patient's consent.
    AnswerConsent("answer_consent", ConversationId, Forbidden);
    /// Hand the key of a file one uploaded over to the scan.
    HandOverFileKey("hand_over_file_key", FileId, Forbidden);
    /// Have a file looked into again.
    RescanFile("rescan_file", FileId, Forbidden);
    /// Publish a record seal.
    PublishSeal("publish_seal", ConversationId, MessageNotAllowed);
    /// Report a record seal that is not as it must be.
    ReportSeal("report_seal", ConversationId, Forbidden);
    /// Bring these people into a conversation that has begun.
    AddParticipant("add_participant", Joining, Forbidden);
    /// Take somebody out of a conversation.
    RemoveParticipant("remove_participant", Leaving, Forbidden);
    /// Take part in a conversation no longer.
    LeaveConversation("leave_conversation", Leaving, Forbidden);
    /// Change how one sees a conversation oneself: put it away, mute it.
    ArrangeConversation("arrange_conversation", ConversationId, Forbidden);
    /// Close a conversation for everybody.
    CloseConversation("close_conversation", ConversationId, Forbidden);
    /// Fetch a person's key bundles.
    FetchKeys("fetch_keys", UserId, Forbidden);
    /// Publish the own identity, manifest and prekeys.
    PublishKeys("publish_keys", UserId, Forbidden);
    /// Read and change the own account and devices.
    ManageOwnAccount("manage_own_account", UserId, Forbidden);
    /// Be let in from where the request comes: log in, renew tokens, use them.
    Connect("connect", UserId, Forbidden);
    /// Use an access token for anything but enrolling a second factor.
    UseTokens("use_tokens", UserId, Forbidden);
    /// Let others notice that one is there, and notice who else is.
    ShowPresence("show_presence", UserId, Forbidden);
    /// Want no messages from this person.
    BlockUser("block_user", UserId, Forbidden);
    /// Ask for, or approve, a new identity of this person.
    ResetIdentity("reset_identity", UserId, Forbidden);
    /// List the own conversations.
    ListConversations("list_conversations", UserId, Forbidden);
    /// Search the messages of the own conversations by what the server sees of them.
    SearchMessages("search_messages", UserId, Forbidden);
    /// List the people one may start a conversation with.
    ListContacts("list_contacts", UserId, Forbidden);
    /// Invite, list and change people.
    ManagePeople("manage_people", (), Forbidden);
    /// Import appointments and change relationships.
    ManageRelationships("manage_relationships", (), Forbidden);
    /// Change when conversations with patients are open.
    ManageHours("manage_hours", (), Forbidden);
    /// Change who is on call, and see which emergencies there were.
    ManageOnCall("manage_on_call", (), Forbidden);
    /// Change from which networks people may come.
    ManageNetworks("manage_networks", (), Forbidden);
    /// Call the clinicians on call.
    OpenEmergency("open_emergency", TenantId, Forbidden);
    /// Acknowledge an emergency, call the next tier, close it.
    HandleEmergency("handle_emergency", ConversationId, Forbidden);
    /// Talk to this patient for some hours without treating them.
    OpenBreakGlass("open_break_glass", UserId, Forbidden);
    /// See and close the uses of break-glass.
    ReviewBreakGlass("review_break_glass", (), Forbidden);
    /// See what was out of the ordinary in the clinic.
    ReviewAnomalies("review_anomalies", (), Forbidden);
    /// Close an anomaly of this person.
    CloseAnomaly("close_anomaly", UserId, Forbidden);
    /// See and destroy files that were found infected.
    ManageQuarantine("manage_quarantine", (), Forbidden);
    /// Call a finding on a file of this person false.
    ReleaseFile("release_file", UserId, Forbidden);
    /// Create clinics and install their keys.
    ManageClinic("manage_clinic", (), Forbidden);
    /// Ask what this person would be allowed to do, and why.
    ExplainDecisions("explain_decisions", UserId, Forbidden);
}

/// Where a message or a file goes, and the version of the facts it was decided on: the writer refuses the grant when
/// they have changed by commit time, and the decision is made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendResource {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// `conversations.facts_version` at the decision.
    pub facts_version: i64,
}

/// Who joins which conversation, and what was known of everyone together: whoever uses the grant looks whether it
/// still holds.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The conversation, its facts those of one version, and the caller.
    pub base: InConversation,
    /// Who joins, in order of ids.
    pub joining: Vec<UserId>,
    /// Everyone as they would be together.
    pub people: People,
}

/// Who takes part in which conversation no longer.
#[derive(Clone, Copy, Debug)]
pub struct Leaving {
    /// The conversation.
    pub conversation_id: ConversationId,
    /// `conversations.facts_version` at the decision.
    pub facts_version: i64,
    /// Who.
    pub user: UserId,
}

/// Which record seals are read.
#[derive(Clone, Copy, Debug)]
pub struct SealsOf {
    /// Of which conversation.
    pub conversation_id: ConversationId,
    /// Of somebody who takes part no longer, whose seals alone are meant.
    pub only: Option<UserId>,
}

/// Why something was allowed: which policies decided, of which set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// The determining policies' ids.
    pub policies: Arc<[String]>,
    /// SHA-256 of the policy set in force.
    pub policy_set: [u8; 32],
}

/// Permission to do one act on one resource. Only [`crate::policy`] can make one.
#[derive(Clone, Debug)]
pub struct Grant<A: Action> {
    resource: A::Resource,
    basis: Basis,
    action: PhantomData<fn() -> A>,
}

impl<A: Action> Grant<A> {
    /// Only the decision makes grants.
    pub(super) const fn new(resource: A::Resource, basis: Basis) -> Self {
        Self { resource, basis, action: PhantomData }
    }

    /// What it is for.
    pub const fn resource(&self) -> &A::Resource {
        &self.resource
    }

    /// Why it was given; goes into the audit entry.
    pub const fn basis(&self) -> &Basis {
        &self.basis
    }
}
